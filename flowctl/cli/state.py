"""`flowctl state`: what a plan needs to know of a store, without the store."""

from __future__ import annotations

from typing import Annotated

import typer

from flowctl import clock
from flowctl.cli import render
from flowctl.cli.importing import example
from flowctl.cli.invocation import invocation

EXAMPLES = """\
flowctl state export state.json
flowctl plan --state state.json --format markdown
"""
_HELP = "Export counts, to plan in CI without the store."
app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help=_HELP)


@app.callback()
def _group() -> None:
    """Export counts, to plan in CI without the store."""


@app.command(epilog=example("flowctl state export state.json"))
def export(
    ctx: typer.Context,
    file: Annotated[
        str, typer.Argument(metavar="[FILE]", help="Where to; stdout unless said.", show_default=False)
    ] = "",
) -> int:
    """Write the newest release's files and how many contacts are on each step and in each segment, as JSON.

    Numbers only: no contact, no address, no event.
    """
    from flowctl.cli.reviewed import write_file
    from flowctl.cli.store import opened
    from flowctl.cli.times import iso
    from flowctl.engine.stateless import export as exported

    with opened(invocation(ctx)) as store:
        content = {"exported_at": iso(clock.now()), **exported(store)}
    if file and file != "-":
        write_file(file, "state", content)
    else:
        render.document("state", content)
    return 0
