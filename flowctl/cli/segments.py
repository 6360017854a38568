"""`flowctl segments`: who is in."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from flowctl.cli import render
from flowctl.cli.invocation import invocation
from flowctl.cli.times import iso

EXAMPLES = """\
flowctl segments list
flowctl segments count lapsed
flowctl segments members lapsed --limit 20
"""
app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="List segments, count and list who is in.")
Json = Annotated[bool, typer.Option("--json", help="Write versioned JSON.")]


@app.command("list")
def list_(ctx: typer.Context, as_json: Json = False) -> int:
    """List the segments with their members, as the last tick left them."""
    from flowctl.cli.store import opened
    from flowctl.report.segments import segments

    with opened(invocation(ctx)) as store:
        found = segments(store)
    if as_json:
        render.document(
            "segments", {"segments": [{**asdict(each), "changed_at": iso(each.changed_at)} for each in found]}
        )
        return 0
    rows = [(each.name, each.members, each.entered, each.left, iso(each.changed_at)) for each in found]
    render.table(["segment", "members", "entered", "left", "last change"], rows, right=["members", "entered", "left"])
    return 0


@app.command()
def count(
    ctx: typer.Context, segment: Annotated[str, typer.Argument(help="The segment's name.")], as_json: Json = False
) -> int:
    """Count who is in a segment."""
    from flowctl.cli.store import opened
    from flowctl.report.segments import members

    with opened(invocation(ctx)) as store:
        number = sum(1 for _ in members(store, segment))
    if as_json:
        render.document("segment-count", {"segment": segment, "members": number})
    else:
        print(number)
    return 0


@app.command()
def members(
    ctx: typer.Context,
    segment: Annotated[str, typer.Argument(help="The segment's name.")],
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="At most so many.")] = None,
    as_json: Json = False,
) -> int:
    """List who is in a segment, and since when."""
    from flowctl.cli.store import opened
    from flowctl.report.segments import members as found_members

    with opened(invocation(ctx)) as store:
        found = found_members(store, segment, limit=limit)
        if as_json:
            listed = [{**asdict(each), "since": iso(each.since)} for each in found]
            render.document("segment-members", {"segment": segment, "members": listed})
        else:
            render.table(
                ["id", "key", "email", "since"],
                ((each.contact_id, each.key, each.email, iso(each.since)) for each in found),
            )
    return 0
