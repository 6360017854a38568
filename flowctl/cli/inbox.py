"""`flowctl inbox`: what a contact is shown in the app or on the site."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from flowctl import clock
from flowctl.cli import render
from flowctl.cli.invocation import invocation
from flowctl.failure import UsageFailure

EXAMPLES = """\
flowctl inbox ana@example.com --json           what the app shows her next
flowctl inbox C-1042 --seen 43ac30d4…          she saw it: it counts as opened
flowctl inbox C-1042 --all --channel on_site
"""


def command(
    ctx: typer.Context,
    contact: Annotated[str, typer.Argument(metavar="CONTACT", help="Key, address or #id.", show_default=False)],
    seen: Annotated[
        list[str] | None,
        typer.Option("--seen", metavar="KEY", help="Mark a message as seen; may be given again.", show_default=False),
    ] = None,
    channel: Annotated[str, typer.Option("--channel", help="Only in_app, or on_site …", show_default=False)] = "",
    every: Annotated[bool, typer.Option("--all", help="Those seen already, too.")] = False,
    limit: Annotated[int, typer.Option("--limit", help="At most so many rows.", min=1)] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="Write versioned JSON.")] = False,
) -> int:
    """List what waits to be shown to a contact by `adapter: inbox`, the newest first; mark what was seen.

    A message that was seen counts as opened. The app's own program may also read the table `inbox` of the store.
    """
    from flowctl.cli.store import opened
    from flowctl.cli.times import iso
    from flowctl.store import inbox
    from flowctl.store.consents import CHANNELS
    from flowctl.store.contacts import resolve

    said = invocation(ctx)
    if channel and channel not in CHANNELS:
        message = f"no channel {channel!r}"
        raise UsageFailure(message, help=f"there are {', '.join(CHANNELS)}")
    with opened(said) as store:
        number = resolve(store.connection, contact)
        for key in seen or []:
            if not inbox.seen(store.connection, number, key, now=clock.now()):
                said.say(f"{key}: was seen before")
        if seen:
            return 0
        found = inbox.items(store.connection, number, channel=channel or None, every=every, limit=limit)
    if as_json:
        items = [{**asdict(each), "at": iso(each.at), "seen_at": iso(each.seen_at)} for each in found]
        render.document("inbox", {"contact": contact, "messages": items})
        return 0
    columns = ["key", "at", "seen", "channel", "message", "title", "text", "url"]
    parts = ("title", "text", "url")
    rows = [
        (
            each.key,
            iso(each.at),
            iso(each.seen_at),
            each.channel,
            each.message,
            *(each.content.get(part, "") for part in parts),
        )
        for each in found
    ]
    render.table(columns, rows)
    return 0
