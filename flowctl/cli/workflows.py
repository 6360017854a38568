"""`flowctl workflows`: what the store runs, and orders by hand."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Annotated

import typer

from flowctl import clock
from flowctl.cli import render
from flowctl.cli.importing import example
from flowctl.cli.invocation import invocation
from flowctl.failure import UsageFailure

EXAMPLES = """\
flowctl workflows list
flowctl workflows list --json | jq '.workflows[] | select(.active > 0)'
flowctl workflows pause cart-recovery
flowctl workflows resume cart-recovery
"""
_HELP = "List workflows with state, version and contacts in flight; pause, resume, drain, stop them by hand."
app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help=_HELP)
_Name = Annotated[str, typer.Argument(metavar="WORKFLOW", show_default=False)]


@app.callback()
def _group() -> None:
    """List workflows with state, version and contacts in flight; pause, resume, drain, stop them by hand."""


@app.command("list", epilog=example("flowctl workflows list"))
def list_(
    ctx: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="Write versioned JSON.")] = False
) -> int:
    """List the workflows of the newest release, and those that drain."""
    from flowctl.cli.store import opened
    from flowctl.report.workflows import workflows

    with opened(invocation(ctx)) as store:
        found = workflows(store)
    if as_json:
        render.document("workflows", {"workflows": [asdict(each) for each in found]})
        return 0
    rows = [
        (
            each.name,
            each.state,
            each.version,
            each.active,
            each.old_versions,
            each.entered,
            f"{each.path}@{each.commit}" if each.path else "",
        )
        for each in found
    ]
    right = ["version", "inside", "in old versions", "entered"]
    render.table(["workflow", "state", "version", "inside", "in old versions", "entered", "where"], rows, right=right)
    for each in found:
        if each.note:
            invocation(ctx).say(f"{each.name}: {each.note}")
    return 0


@app.command(epilog=example("flowctl workflows pause cart-recovery"))
def pause(ctx: typer.Context, workflow: _Name) -> int:
    """Stand still: nobody enters, nobody moves, nothing leaves, until `resume`; applying does not wake it.

    What is about to leave is held; a message that expires meanwhile is skipped.
    """
    from flowctl.cli.store import opened
    from flowctl.engine import by_hand

    with opened(invocation(ctx)) as store:
        by_hand.pause(store.connection, workflow)
    print(f"{workflow} is paused by hand")
    return 0


@app.command(epilog=example("flowctl workflows resume cart-recovery"))
def resume(ctx: typer.Context, workflow: _Name) -> int:
    """Take back a pause, drain or stop by hand, or by a guard; held messages are ready at once."""
    from flowctl.cli.store import opened
    from flowctl.engine import by_hand

    with opened(invocation(ctx)) as store:
        state, held = by_hand.resume(store.connection, workflow, now=clock.now())
    print(f"{workflow} is {state}, as applied" + (f"; {render.plural(held, 'held message')} ready" if held else ""))
    return 0


@app.command(epilog=example("flowctl workflows drain cart-recovery"))
def drain(ctx: typer.Context, workflow: _Name) -> int:
    """Let nobody enter any more, until `resume`; those inside finish."""
    from flowctl.cli.store import opened
    from flowctl.engine import by_hand

    with opened(invocation(ctx)) as store:
        by_hand.drain(store.connection, workflow)
    print(f"{workflow} drains by hand: nobody enters, those inside finish")
    return 0


@app.command(epilog=example("flowctl workflows stop cart-recovery --yes"))
def stop(
    ctx: typer.Context, workflow: _Name, yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False
) -> int:
    """Take everybody out at once, with their messages that have not left, and let nobody enter until `resume`."""
    from flowctl.cli.store import opened
    from flowctl.engine import by_hand

    if not yes:
        if not sys.stdin.isatty():
            message = f"stopping {workflow} takes everybody out of it for good"
            raise UsageFailure(message, help="confirm with --yes")
        if not typer.confirm(f"Take everybody out of {workflow}, for good?"):
            return 1
    with opened(invocation(ctx)) as store:
        ended = by_hand.stop(store.connection, workflow, now=clock.now())
    print(f"{workflow} is stopped by hand; {render.plural(ended, 'contact')} left it")
    return 0
