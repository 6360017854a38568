"""`flowctl releases`: what was applied."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from flowctl.cli import render
from flowctl.cli.invocation import invocation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.report.releases import ReleaseRow

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
        render.document(
            "releases", {"releases": [{**asdict(each), "applied_at": iso(each.applied_at)} for each in found]}
        )
        return 0
    rows = [
        (each.id, iso(each.applied_at), each.commit, each.files, ", ".join(each.workflows), "; ".join(_orders(each)))
        for each in found
    ]
    render.table(
        ["release", "applied", "commit", "files", "new versions of", "orders"], rows, right=["release", "files"]
    )
    return 0


def _orders(release: ReleaseRow) -> Iterator[str]:
    said = release.orders
    if "rollback" in said:
        yield f"back to release {said['rollback']}"
    exited = said.get("exited", {})
    for name, order in said.get("in_flight", {}).items():
        yield f"{name}: {order}" + (f" ({exited.get(name, 0)} left)" if order == "exit" else "")
    for name, steps in said.get("moved", {}).items():
        yield f"{name}: {sum(steps.values())} moved"
