"""`flowctl report`: how the workflows do."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowctl.cli import render
from flowctl.cli.invocation import invocation
from flowctl.failure import UsageFailure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flowctl.report.funnel import Funnel, MessageCount, Share

EXAMPLES = """\
flowctl report                          one line a workflow
flowctl report second-purchase          its steps and messages
flowctl report second-purchase --version 2
flowctl report second-purchase --compare 1 2
flowctl report --json | jq '.workflows[] | {workflow, entered, goal}'
"""
_COMPARED = ("delivered", "opened", "clicked", "unsubscribed")
_ANSWERS = ("sent", "opened", "clicked", "unsubscribed")


def command(
    ctx: typer.Context,
    workflow: Annotated[
        str,
        typer.Argument(
            help="One workflow, step by step; all of them in one line each where it is left out.", show_default=False
        ),
    ] = "",
    version: Annotated[
        int | None, typer.Option("--version", min=1, help="Only those who entered this version.")
    ] = None,
    compare: Annotated[
        tuple[int, int] | None,
        typer.Option("--compare", metavar="V1 V2", help="Two versions side by side.", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write versioned JSON.")] = False,
) -> int:
    """Show funnel, conversion and messages of the workflows.

    Conversion is goals by people who had not met the goal when they entered, with its 95 % interval (Wilson). Who was
    carried over to another version by `move:` counts there.
    """
    from flowctl.cli.store import opened
    from flowctl.report.funnel import funnel, workflow_names

    if (version or compare) and not workflow:
        message = f"--{'version' if version else 'compare'} needs a workflow"
        raise UsageFailure(message, help="flowctl report WORKFLOW --version 2, or --compare 1 2")
    with opened(invocation(ctx)) as store:
        names = workflow_names(store)
        if workflow and workflow not in names:
            raise _unknown(workflow, names)
        wanted = compare or (version,)
        funnels = [funnel(store, name, version=one) for name in ([workflow] if workflow else names) for one in wanted]
    if compare:
        _check_versions(funnels, compare)
    if as_json:
        render.document("report", {"workflows": [_as_data(each) for each in funnels]})
    elif compare:
        _show_beside(*funnels)
    elif workflow:
        _show_one(funnels[0])
    else:
        _show_all(funnels)
    return 0


def share(said: Share) -> str:
    """`12.5 % (5.0–27.5)`; '' where there was nothing to divide."""
    if said.of is None or said.interval is None:
        return ""
    low, high = said.interval
    return f"{said.of:.1%} ({low * 100:.1f}–{high * 100:.1f})"


def _show_all(funnels: list[Funnel]) -> None:
    columns = [
        "workflow",
        "entered",
        "inside",
        "goal",
        "conversion",
        "completed",
        "exited",
        "failed",
        "sent",
        "opened",
        "clicked",
        "unsubscr.",
        "skipped",
    ]
    rows = [
        (
            each.workflow,
            each.entered,
            each.active,
            each.goal,
            "" if each.conversion.of is None else f"{each.conversion.of:.1%}",
            each.completed,
            each.exited,
            each.failed,
            *(
                sum(getattr(message, name) for message in each.messages)
                for name in ("sent", "opened", "clicked", "unsubscribed")
            ),
            sum(sum(message.skipped.values()) for message in each.messages),
        )
        for each in funnels
    ]
    _table(columns, rows, always={"workflow", "entered", "inside", "goal", "conversion", "sent"}, right=columns[1:])


def _because(count: int, reasons: Mapping[str, int]) -> str:
    """`3 (moved away 2, bought 1)`."""
    told = ", ".join(f"{reason} {times}" for reason, times in reasons.items())
    return f"{count} ({told})" if told else str(count)


def _show_one(found: Funnel) -> None:
    numbers = ", ".join(str(number) for number in found.versions)
    facts: list[tuple[str, object]] = [
        ("versions", numbers),
        ("entered", found.entered),
        ("inside", found.active),
        ("goal", found.goal),
        ("conversion", share(found.conversion)),
        ("completed", found.completed),
        ("exited", _because(found.exited, found.exits)),
        ("failed", _because(found.failed, found.failures)),
    ]
    facts[5:5] = [(f"also: {name}", share(met)) for name, met in found.secondary.items()]
    if found.already:
        facts.append(("goal already met", found.already))
    render.table(["what", "value"], facts, title=found.workflow)
    print()
    steps = [(each.step, each.reached, each.here, each.where) for each in found.steps]
    render.table(["step", "reached", "here now", "where"], steps, right=["reached", "here now"])
    print()
    columns = [
        "message",
        "channel",
        "sent",
        "opened",
        "clicked",
        "unsubscribed",
        "bounced",
        "waiting",
        "in doubt",
        "failed",
        "cancelled",
        "segments",
        "cost",
        "skipped",
    ]
    always = {"message", "channel", "sent", "opened", "clicked", "unsubscribed"}
    _table(columns, [_message(each) for each in found.messages], always=always, right=columns[2:-1])
    _show_variants(found)


def _show_variants(found: Funnel) -> None:
    """The arms of messages with variants beside each other, each share with its interval."""
    rows = [
        (each.message, each.channel, arm.variant, arm.sent, *(share(getattr(arm, name)) for name in _COMPARED))
        for each in found.messages
        for arm in each.variants
    ]
    if rows:
        print()
        columns = ["message", "channel", "variant", "sent", *_COMPARED]
        render.table(columns, rows, right=columns[3:])


def _check_versions(funnels: list[Funnel], wanted: tuple[int, int]) -> None:
    for found, number in zip(funnels, wanted, strict=True):
        if not found.versions:
            message = f"{found.workflow} has no version {number}"
            raise UsageFailure(message, help=f"`flowctl report {found.workflow}` lists its versions")


def _show_beside(first: Funnel, second: Funnel) -> None:
    """Two versions: what became of people, then steps and messages by name."""
    titles = [f"version {found.versions[0]}" for found in (first, second)]
    facts = ("entered", "active", "goal", "completed", "exited", "failed")
    rows: list[tuple[object, ...]] = [
        ("inside" if name == "active" else name, getattr(first, name), getattr(second, name)) for name in facts
    ]
    rows.insert(3, ("conversion", share(first.conversion), share(second.conversion)))
    render.table(["what", *titles], rows, title=first.workflow, right=titles)
    print()
    reached = [{step.step: step.reached for step in found.steps} for found in (first, second)]
    names = dict.fromkeys([*reached[0], *reached[1]])
    render.table(
        ["step reached", *titles], [(name, *(each.get(name) for each in reached)) for name in names], right=titles
    )
    print()
    sent = [{(each.message, each.channel): each for each in found.messages} for found in (first, second)]
    columns = [f"{name} {found.versions[0]}" for name in _ANSWERS for found in (first, second)]
    lines = [
        (*key, *(getattr(each[key], name) if key in each else None for name in _ANSWERS for each in sent))
        for key in dict.fromkeys([*sent[0], *sent[1]])
    ]
    render.table(["message", "channel", *columns], lines, right=columns)


def _table(columns: list[str], rows: list[tuple[object, ...]], *, always: set[str], right: list[str]) -> None:
    """A table; on a terminal, where room is scarce, without the columns that hold nothing, but for those always shown."""
    if render.is_terminal():
        kept = [at for at, name in enumerate(columns) if name in always or any(row[at] for row in rows)]
        columns, rows = [columns[at] for at in kept], [tuple(row[at] for at in kept) for row in rows]
    render.table(columns, rows, right=right)


def _message(each: MessageCount) -> tuple[object, ...]:
    skipped = ", ".join(f"{reason} {count}" for reason, count in each.skipped.items())
    counts = (
        each.sent,
        each.opened,
        each.clicked,
        each.unsubscribed,
        each.bounced,
        each.waiting,
        each.in_doubt,
        each.failed,
        each.cancelled,
        each.segments or "",
        each.cost,
    )
    return (each.message, each.channel, *counts, skipped)


def _as_data(found: Funnel) -> dict[str, Any]:
    data: dict[str, Any] = {**asdict(found), "conversion": _share_data(found.conversion)}
    data["secondary"] = {name: _share_data(met) for name, met in found.secondary.items()}
    for written, message in zip(data["messages"], found.messages, strict=True):
        for said, arm in zip(written["variants"], message.variants, strict=True):
            said.update({name: _share_data(getattr(arm, name)) for name in _COMPARED})
    return data


def _share_data(said: Share) -> dict[str, Any]:
    return {**asdict(said), "share": said.of, "interval": said.interval}


def _unknown(name: str, known: list[str]) -> UsageFailure:
    from difflib import get_close_matches

    near = get_close_matches(name, known, n=1)
    message = f"the store has no workflow `{name}`"
    return UsageFailure(message, help=f"did you mean `{near[0]}`?" if near else "`flowctl workflows list` shows them")
