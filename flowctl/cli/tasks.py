"""`flowctl tasks`: what people are asked to do, and saying that it is done."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from flowctl import clock
from flowctl.cli import render
from flowctl.cli.invocation import invocation
from flowctl.failure import UsageFailure

EXAMPLES = """\
flowctl tasks list --team sales
flowctl tasks done 12 --outcome called
"""
app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="List what people are asked to do; say it is done.")


@app.callback()
def _group() -> None:
    """List what people are asked to do; say it is done."""


@app.command("list")
def list_(
    ctx: typer.Context,
    team: Annotated[str, typer.Option("--team", help="Only this team's.", show_default=False)] = "",
    state: Annotated[str, typer.Option("--state", help="open, done, timed_out, cancelled, or all.")] = "open",
    limit: Annotated[int, typer.Option("--limit", help="At most so many rows.", min=1)] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="Write versioned JSON.")] = False,
) -> int:
    """List tasks, the most urgent first."""
    from flowctl.cli.store import opened
    from flowctl.cli.times import iso
    from flowctl.store.tasks import STATES, tasks

    if state not in (*STATES, "all"):
        message = f"no state {state!r}"
        raise UsageFailure(message, help=f"states are {', '.join(STATES)}, all")
    with opened(invocation(ctx)) as store:
        found = tasks(store.connection, state=None if state == "all" else state, team=team or None, limit=limit)
    if as_json:
        times = ("at", "until_at", "done_at")
        rows = [{**asdict(each), **{name: iso(getattr(each, name)) for name in times}} for each in found]
        render.document("tasks", {"tasks": rows})
        return 0
    columns = ["id", "state", "until", "team", "contact", "title", "outcomes", "workflow"]
    table = [
        (
            each.id,
            each.state,
            iso(each.until_at),
            each.team,
            each.contact,
            each.title,
            each.outcome or ", ".join(each.outcomes),
            each.workflow,
        )
        for each in found
    ]
    render.table(columns, table, right=["id"])
    return 0


@app.command("done")
def done_(
    ctx: typer.Context,
    task: Annotated[
        int, typer.Argument(metavar="ID", help="Of the task, as `tasks list` shows it.", show_default=False)
    ],
    outcome: Annotated[
        str,
        typer.Option(
            "--outcome", metavar="WORD", help="One of the task's; needed where it has several.", show_default=False
        ),
    ] = "",
) -> int:
    """Say that a task is done, and how it went; the contact goes on at the next tick."""
    from flowctl.cli.store import opened
    from flowctl.store.tasks import done

    said = invocation(ctx)
    with opened(said) as store:
        found = done(store.connection, task, outcome or None, now=clock.now())
    said.say(f"task {task}: {found.title}: {outcome or found.outcomes[0]}; {found.contact} goes on at the next tick")
    return 0
