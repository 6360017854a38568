"""`flowctl backup`: a checked copy of the store while it is in use."""

from __future__ import annotations

from typing import Annotated

import typer

from flowctl.cli.invocation import invocation
from flowctl.cli.store import opened

EXAMPLES = """\
flowctl backup /backup/flowctl.db                   replaced only by a copy that was checked
flowctl backup "/backup/flowctl-$(date +%F).db"     one a day, from cron
"""


def command(
    ctx: typer.Context,
    target: Annotated[str, typer.Argument(metavar="FILE", help="Where the copy goes.", show_default=False)],
) -> int:
    """Copy the store while it is in use: consistent, compact, checked, readable for you alone.

    A restored copy is older than what was sent since: `flowctl store adopt` says that you know.
    """
    from flowctl.store.backup import backup

    said = invocation(ctx)
    with opened(said) as store:
        size = backup(store, said.directory / target)
    said.say(f"{target}: {size / 1e6:.1f} MB, checked")
    return 0
