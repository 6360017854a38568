"""`flowctl audiences`: advertising audiences, exported hashed."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Annotated

import typer

from flowctl.cli import render, sheets
from flowctl.cli.invocation import invocation
from flowctl.cli.times import iso

EXAMPLES = """\
flowctl audiences list
flowctl audiences export meta-retargeting > upload.csv
"""
app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="List advertising audiences; export one, hashed.")
Json = Annotated[bool, typer.Option("--json", help="Write versioned JSON.")]


@app.callback()
def _group() -> None:
    """List advertising audiences; export one, hashed."""


@app.command("list")
def list_(ctx: typer.Context, as_json: Json = False) -> int:
    """List the audiences that somebody is in."""
    from flowctl.cli.store import opened
    from flowctl.store.audiences import audiences

    with opened(invocation(ctx)) as store:
        found = audiences(store.connection)
    if as_json:
        render.document(
            "audiences", {"audiences": [{**asdict(each), "changed_at": iso(each.changed_at)} for each in found]}
        )
        return 0
    rows = [(each.name, each.members, iso(each.changed_at)) for each in found]
    render.table(["audience", "members", "last joined"], rows, right=["members"])
    return 0


@app.command()
def export(
    ctx: typer.Context,
    audience: Annotated[str, typer.Argument(help="The audience's name.", show_default=False)],
    as_json: Json = False,
) -> int:
    """Write SHA-256 of the members' e-mail addresses and phone numbers, as advertising platforms ask.

    Addresses are trimmed and in lower case, phone numbers E.164, before they are hashed. Suppressed addresses and those
    whose consent was withdrawn are left out.
    """
    from flowctl.cli.store import opened
    from flowctl.store.audiences import hashed_members

    with opened(invocation(ctx)) as store:
        found = hashed_members(store.connection, audience)
        if as_json:
            render.document("audience", {"audience": audience, "members": [asdict(each) for each in found]})
            return 0
        writer = sheets.writer(sys.stdout)
        writer.writerow(["email", "phone", "country"])
        writer.writerows((each.email, each.phone, each.country) for each in found)
    return 0
