"""`flowctl workflows`: what the store runs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from flowctl.cli import render
from flowctl.cli.invocation import invocation

EXAMPLES = """\
flowctl workflows list
flowctl workflows list --json | jq '.workflows[] | select(.active > 0)'
"""
app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="List workflows with state, version and contacts in flight."
)


@app.callback()
def _group() -> None:
    """List workflows with state, version and contacts in flight."""


@app.command("list")
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
    return 0
