"""`flowctl pressure`: the most that one contact can be sent, and what contacts were really sent."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowctl.cli import render
from flowctl.cli.invocation import invocation
from flowctl.failure import ProblemsFound, UsageFailure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowctl.cli.invocation import Invocation
    from flowctl.lint.curves import PressureCurve
    from flowctl.report.pressure import SentPressure

EXAMPLES = """\
flowctl pressure                        every workflow, channel and all together
flowctl pressure cart-recovery          one workflow
flowctl pressure --channel email        one channel
flowctl pressure --store --since 90d    and what was really sent, per segment
flowctl pressure --json | jq '.curves[] | select(.over != [])'
"""
TOGETHER = "all together"
ROWS = 8  # of a plot
BLOCKS = " ▁▂▃▄▅▆▇█"
SPARK = 15  # points of a curve in its table


def command(
    ctx: typer.Context,
    workflow: Annotated[str, typer.Argument(help="One workflow; all where it is left out.", show_default=False)] = "",
    channel: Annotated[
        str, typer.Option("--channel", metavar="CHANNEL", help="One channel, or all.", show_default=False)
    ] = "",
    store: Annotated[bool, typer.Option("--store", help="Show what was really sent too, per segment.")] = False,
    since: Annotated[str, typer.Option("--since", metavar="SPAN", help="How far back to look in the store.")] = "60d",
    plot: Annotated[bool, typer.Option("--plot", help="Draw the curves though no terminal shows them.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write versioned JSON.")] = False,
) -> int:
    """Show the most marketing messages that one contact can be sent within any day, week and month: a proved bound.

    Every wait is taken at its shortest, every event to come at once. `!` marks what exceeds a cap, which then holds it back. With
    --store it shows what left, and the signs that people tire.
    """
    from flowctl.lint.curves import pressure_curves

    said = invocation(ctx)
    project = said.project()
    if project.errors:
        raise ProblemsFound(project.errors)
    if workflow and workflow not in project.workflows:
        raise _unknown(workflow, list(project.workflows))
    curves = [one for one in pressure_curves(project, workflow=workflow) if not channel or one.channel == channel]
    sent = _really_sent(said, since) if store else None
    if as_json:
        content: dict[str, Any] = {"curves": [_as_data(one) for one in curves]}
        if sent is not None:
            content["sent"] = [_sent_data(one) for one in sent]
        render.document("pressure", content)
        return 0
    if curves:
        _show(curves)
    else:
        said.say("nothing here sends marketing" + (f" on {channel}" if channel else ""))
    if curves and (plot or render.is_terminal()):
        last = curves[-1]
        print("\n" + drawn(last))
    if sent is not None:
        print()
        _show_sent(sent, said)
    return 0


def drawn(curve: PressureCurve) -> str:
    """A curve as a plot: windows of 12 h to 30 days from left to right, messages upwards, caps as `+`."""
    from flowctl.lint.curves import POINTS, STEP_MS, TOLD_MAX

    title = f"{curve.workflow or TOGETHER}, {curve.channel}: the most marketing messages in a window"
    if curve.unbounded:
        return f"{title}: no bound"
    top = max([*curve.most, *(limit.count for limit in curve.limits), 1])
    caps = {min(POINTS, max(1, limit.window_ms // STEP_MS)) - 1: limit.count for limit in curve.limits}
    lines = [title]
    for row in range(ROWS, 0, -1):
        low, high = top * (row - 1) / ROWS, top * row / ROWS
        cells = [
            "+" if at in caps and low < caps[at] <= high else _cell(count, low, high)
            for at, count in enumerate(curve.most)
        ]
        lines.append(f"{_height(row, top):>4} │{''.join(cells)}".rstrip())
    lines.append(f"{0:>4} └{'─' * POINTS}")
    axis = [" "] * (POINTS + 4)
    for days in (1, 7, 14, 21, 30):
        text, at = f"{days}d", days * 2 - 1
        axis[at : at + len(text)] = text
    lines.append(f"      {''.join(axis).rstrip()}")
    notes = ["+ cap" if any(limit.is_cap for limit in curve.limits) else "+ default budget"] if caps else []
    notes += [f"counted up to {TOLD_MAX} a workflow"] if max(curve.most) >= TOLD_MAX else []
    return "\n".join([*lines, f"      {'; '.join(notes)}"] if notes else lines)


def _cell(count: int, low: float, high: float) -> str:
    filled = (count - low) / (high - low)
    return BLOCKS[max(0, min(len(BLOCKS) - 1, round(filled * (len(BLOCKS) - 1))))]


def _height(row: int, top: int) -> str:
    """What a row stands for, where that is a whole number."""
    value = top * row / ROWS
    return f"{value:g}" if value == int(value) or row == ROWS else ""


def _spark(curve: PressureCurve) -> str:
    """The curve in one line."""
    if not curve.most:
        return ""
    every = len(curve.most) // SPARK
    points = curve.most[every - 1 :: every]
    top = max(points) or 1
    return "".join(BLOCKS[max(1, round(count / top * (len(BLOCKS) - 1)))] if count else " " for count in points)


def _show(curves: Sequence[PressureCurve]) -> None:
    from flowctl.lint.curves import DAYS_SHOWN

    columns = ["workflow", "channel", *(f"in {days}d" for days in DAYS_SHOWN), "over", "curve"]
    rows = []
    for one in curves:
        counts = ["no bound"] * len(DAYS_SHOWN) if one.unbounded else [_count(one, days) for days in DAYS_SHOWN]
        name = (one.workflow or TOGETHER) + (f" (each {one.key})" if one.key else "")
        rows.append((name, one.channel, *counts, _over(one), _spark(one)))
    render.table(columns, rows, right=columns[2:-2])


def _count(curve: PressureCurve, days: int) -> str:
    from flowctl.lint.curves import TOLD_MAX, WINDOWS_SHOWN

    count = curve.within(WINDOWS_SHOWN[days])
    return f"{count}+" if count == TOLD_MAX else str(count)


def _over(curve: PressureCurve) -> str:
    return ", ".join(f"! {_span(limit.window_ms)} ({limit.count})" for limit in curve.exceeded)


def _span(ms: int) -> str:
    hours = ms // 3_600_000
    return f"{hours // 24}d" if hours % 24 == 0 and hours > 24 else f"{hours}h"  # noqa: PLR2004 - "24h", as caps say it


def _as_data(curve: PressureCurve) -> dict[str, Any]:
    from flowctl.lint.curves import DAYS_SHOWN, STEP_MS, WINDOWS_SHOWN

    return {
        "workflow": curve.workflow or None,
        "channel": curve.channel,
        "key": curve.key or None,
        "unbounded": curve.unbounded,
        "most": {f"{days}d": curve.within(WINDOWS_SHOWN[days]) for days in DAYS_SHOWN},
        "curve": [{"hours": STEP_MS // 3_600_000 * at, "most": most} for at, most in enumerate(curve.most, start=1)],
        "limits": [asdict(limit) for limit in curve.limits],
        "over": [asdict(limit) for limit in curve.exceeded],
    }


def _really_sent(said: Invocation, since: str) -> list[SentPressure]:
    from flowctl import clock
    from flowctl.cli.store import opened
    from flowctl.language.durations import parse
    from flowctl.report.pressure import really_sent

    try:
        period = parse(since)
    except ValueError as fault:
        message = f"--since: {fault}"
        raise UsageFailure(message) from None
    with opened(said) as store:
        return really_sent(store, now=clock.now(), period_ms=period.elapsed_ms)


def _show_sent(sent: Sequence[SentPressure], said: Invocation) -> None:
    if not sent:
        said.say("no marketing message left in this time")
        return
    from flowctl.report.pressure import WINDOWS_DAYS

    most = [f"most in {days}d" for days in WINDOWS_DAYS]
    shares = ("opened", "clicked", "unsubscribed", "complained")
    columns = ["segment", "contacts", "sent", "each", *most, *shares, "signs of fatigue"]
    rows = [
        (
            one.segment,
            one.contacts,
            one.sent,
            f"{one.sent / one.contacts:.1f}",
            *(one.most[days] for days in WINDOWS_DAYS),
            *(f"{one.share(name) or 0:.2%}" for name in shares),
            "; ".join(one.signs),
        )
        for one in sent
    ]
    render.table(columns, rows, right=columns[1:-1])


def _sent_data(one: SentPressure) -> dict[str, Any]:
    shares = {name: one.share(name) for name in ("opened", "clicked", "unsubscribed", "complained")}
    return {
        "segment": one.segment,
        "contacts": one.contacts,
        "sent": one.sent,
        "most": {f"{days}d": count for days, count in one.most.items()},
        **shares,
        "earlier": asdict(one.earlier),
        "later": asdict(one.later),
        "signs": list(one.signs),
    }


def _unknown(name: str, known: list[str]) -> UsageFailure:
    from flowctl.language.faults import nearest

    near = nearest(name, known)
    message = f"there is no workflow `{name}`"
    return UsageFailure(message, help=f"did you mean `{near}`?" if near else "`flowctl pressure` shows all")
