"""`flowctl releases`: what was applied."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from flowctl.cli import render
from flowctl.cli.invocation import invocation

EXAMPLES = """\
flowctl releases
flowctl releases --json | jq '.releases[0].commit'
"""


def command(
    ctx: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="Write versioned JSON.")] = False
) -> int:
    """List what was applied, when, from which commit; the newest first."""
    from flowctl.cli.store import opened
    from flowctl.cli.times import iso
    from flowctl.report.releases import releases

    with opened(invocation(ctx)) as store:
        found = releases(store)
    if as_json:
        render.document("releases", {"releases": [{**asdict(each), "applied_at": iso(each.applied_at)} for each in found]})
        return 0
    rows = [(each.id, iso(each.applied_at), each.commit, each.files, ", ".join(each.workflows)) for each in found]
    render.table(["release", "applied", "commit", "files", "new versions of"], rows, right=["release", "files"])
    return 0
