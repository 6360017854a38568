"""`flowctl simulate`: what will happen, before it does."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowctl import clock
from flowctl.cli import render
from flowctl.cli.invocation import Invocation, invocation
from flowctl.cli.times import iso
from flowctl.failure import Failure, ProblemsFound, UsageFailure

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowctl.language.assumptions import Assumptions
    from flowctl.project.project import Project
    from flowctl.simulate.result import SimulationResult

EXAMPLES = """\
flowctl simulate --days 30
flowctl simulate --days 30 --seed 7 --assume assumptions/december.yaml
flowctl simulate --days 14 --contact amy@example.com
flowctl simulate --days 90 --json | jq '.workflows[] | {workflow, entered, goal}'
"""


def command(
    ctx: typer.Context,
    days: Annotated[int, typer.Option("--days", min=1, max=3660, help="How many days to live through.")] = 30,
    seed: Annotated[int, typer.Option("--seed", help="The same seed gives the same result.")] = 1,
    assume: Annotated[
        str,
        typer.Option(
            "--assume", metavar="NAME|FILE", help="How contacts behave; the settings' `assumptions:` unless said."
        ),
    ] = "",
    contact: Annotated[str, typer.Option("--contact", metavar="X", help="Tell this person's story too.")] = "",
    applied: Annotated[
        bool, typer.Option("--applied", help="Run what was applied, not the files as they are now.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write versioned JSON.")] = False,
) -> int:
    """Run all workflows on a copy with a virtual clock; nothing leaves.

    The files as they are now run on the store's contacts, with the engine that `tick` uses. The store is only read.
    """
    from flowctl.cli.store import opened
    from flowctl.simulate.simulation import simulate

    said = invocation(ctx)
    project = said.project()
    if project.errors:
        raise ProblemsFound(project.errors)
    chosen = _assumptions(said, project, assume)
    with opened(said) as store:
        if applied and store.connection.execute("SELECT 1 FROM releases LIMIT 1").fetchone() is None:
            message = "nothing was applied yet"
            raise Failure(message, help="leave out --applied to run the files")
        on_day, done = _progress(said, days)
        try:
            found = simulate(
                store,
                project,
                days=days,
                seed=seed,
                now=clock.now(),
                assumptions=chosen,
                applied=applied,
                contact=contact or None,
                on_day=on_day,
            )
        finally:
            done()
    if as_json:
        render.document("simulation", _as_data(found))
        return 0
    _show(found, said)
    return 0


def _assumptions(said: Invocation, project: Project, wanted: str) -> Assumptions:
    """The assumptions of a name, or of a file in the project; else those the settings name, else the only ones, else none."""
    from flowctl.simulate.simulation import NOTHING

    known = project.assumptions
    if not wanted:
        if project.settings.assumptions in known:
            return known[project.settings.assumptions]
        return next(iter(known.values())) if len(known) == 1 else NOTHING
    if wanted in known:
        return known[wanted]
    path = (said.directory / wanted).resolve()
    for each in known.values():
        if (project.root / each.place.path).resolve() == path:
            return each
    message = f"there are no assumptions `{wanted}`"
    names = ", ".join(known) or "none"
    raise UsageFailure(message, help=f"name them or their file, below the project's folder; there are: {names}")


def _progress(said: Invocation, days: int) -> tuple[Callable[[int], None] | None, Callable[[], None]]:
    """A line on stderr that counts the days, on a terminal only."""
    if said.quiet or not sys.stderr.isatty():
        return None, lambda: None

    def on_day(day: int) -> None:
        print(f"\rday {day} of {days}", end="", file=sys.stderr, flush=True)

    return on_day, lambda: print("\r\033[K", end="", file=sys.stderr, flush=True)


def _show(found: SimulationResult, said: Invocation) -> None:
    said.say(
        f"{render.plural(found.days, 'day')} from {iso(found.start)}, {render.plural(found.contacts, 'contact')}, seed {found.seed}, "
        f"assumptions {found.assumptions}: {render.plural(found.sent, 'message')} would leave; nothing left, nothing was written"
    )
    _show_sends(found)
    print()
    columns = ["workflow", "entered", "goal", "completed", "exited", "failed", "inside at the end", "sent"]
    rows = [
        (each.workflow, each.entered, each.goal, each.completed, each.exited, each.failed, each.active, each.sent)
        for each in found.workflows
    ]
    render.table(columns, rows, right=columns[1:])
    if found.costs:
        print()
        costs = [(each.channel, each.messages, each.segments, each.amount) for each in found.costs]
        render.table(["channel", "messages", "segments", "cost"], costs, right=["messages", "segments", "cost"])
    print()
    people = [
        (messages, count, f"{count / found.contacts:.1%}" if found.contacts else "")
        for messages, count in found.per_contact.items()
    ]
    render.table(["messages", "contacts", "share"], people, right=["messages", "contacts", "share"])
    print()
    why = [("held back", reason, count) for reason, count in found.held.items()]
    why += [("skipped", reason, count) for reason, count in found.skipped.items()]
    why += [("happened", fact, count) for fact, count in found.facts.items()]
    why += [("answered", answer, count) for answer, count in found.answers.items()]
    render.table(["what", "which", "count"], why, right=["count"])
    if found.timeline is not None:
        from flowctl.cli.explain import show

        print()
        show(found.timeline, said.say)


def _show_sends(found: SimulationResult) -> None:
    """Sends by day: a column a workflow and channel on a terminal, a row each where it is piped."""
    if not render.is_terminal():
        render.table(
            ["day", "workflow", "channel", "sent"],
            [(each.day, each.workflow, each.channel, each.count) for each in found.sends],
        )
        return
    lanes = sorted({(each.workflow, each.channel) for each in found.sends})
    counts = {(each.day, each.workflow, each.channel): each.count for each in found.sends}
    days = sorted({each.day for each in found.sends})
    rows = []
    for day in days:
        total = sum(each.count for each in found.sends if each.day == day)
        rows.append((day, *(counts.get((day, *lane), 0) or "" for lane in lanes), total, "▇" * _bar(total, found)))
    render.table(
        ["day", *(f"{workflow} {channel}" for workflow, channel in lanes), "all", ""],
        rows,
        right=["all", *(" ".join(lane) for lane in lanes)],
    )


BAR_COLUMNS = 30


def _bar(total: int, found: SimulationResult) -> int:
    by_day: dict[str, int] = {}
    for each in found.sends:
        by_day[each.day] = by_day.get(each.day, 0) + each.count
    most = max(by_day.values(), default=1)
    return max(1, round(total * BAR_COLUMNS / most)) if total else 0


def _as_data(found: SimulationResult) -> dict[str, Any]:
    from flowctl.cli.explain import as_data

    plain = asdict(found)
    plain.pop("timeline")
    plain |= {"start": iso(found.start), "end": iso(found.end), "sent": found.sent}
    if found.timeline is not None:
        plain["timeline"] = as_data(found.timeline)
    return plain
