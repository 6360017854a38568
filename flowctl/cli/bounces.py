"""`flowctl bounces`: read the mailbox to which bounces and complaints come."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowctl.cli import render
from flowctl.cli.importing import JsonOption
from flowctl.cli.invocation import invocation
from flowctl.cli.store import opened

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.engine.bounces import Outcome

UNREADABLE_SHOWN_MAX = 10
EXAMPLES = """\
flowctl bounces import /var/mail/bounces/Maildir
flowctl bounces import bounces.mbox --json
"|flowctl -C /srv/shop -q bounces import -"      in /etc/aliases: each as it comes
"""
app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Import bounces and complaints from a mailbox.")


@app.callback()
def _group() -> None:
    """Import bounces and complaints from a mailbox."""


@app.command("import")
def import_(
    ctx: typer.Context,
    mailbox: Annotated[
        str,
        typer.Argument(
            metavar="MAILBOX",
            help="A Maildir, a folder of .eml files, an mbox file, or - for standard input.",
            show_default=False,
        ),
    ],
    json: JsonOption = False,
) -> int:
    """Import what became of messages; the mailbox is left as it is, and importing it again changes nothing.

    A mail is about the message whose Message-ID, unsubscribe link or VERP address it bears; without one, about the newest
    that left to the address it names. Bounces settle messages in doubt. An address that is refused for good, or whose
    owner complains, is suppressed; so is one after 3 soft bounces in a row (full, too big, blocked, expired) within 14
    days, none delivered between. Conditions, triggers, guards and reports see `message_bounced` and
    `message_complained`. Delays, automatic replies and read receipts are passed over. The exit status is 1 where a mail
    could not be read.
    """
    from flowctl import clock
    from flowctl.engine.bounces import BounceImport
    from flowctl.engine.links import Links
    from flowctl.engine.mailboxes import mails, split

    said = invocation(ctx)
    found: Iterator[tuple[str, bytes | None]]
    found = split(sys.stdin.buffer, "-") if mailbox == "-" else mails(said.directory / mailbox)
    with opened(said) as store:
        importer = BounceImport(store.connection, links=Links(secret=store.secret, public_url=""), now=clock.now())
        importer.take(found)
    done = importer.outcome
    if json:
        render.document("bounces-import", _counts(done))
    for name, reason in done.unreadable[:UNREADABLE_SHOWN_MAX]:
        print(f"{render.printable(name)}: {reason}", file=sys.stderr)
    if len(done.unreadable) > UNREADABLE_SHOWN_MAX:
        print(f"… and {len(done.unreadable) - UNREADABLE_SHOWN_MAX} more", file=sys.stderr)
    said.say(f"{mailbox}: {_line(done)}")
    return 1 if done.unreadable else 0


_KINDS = ("hard", "soft", "complained", "unsubscribed", "delivered", "address", "known", "unknown", "delayed", "reply", "other")  # fmt: skip


def _counts(done: Outcome) -> dict[str, Any]:
    return {
        "mails": done.mails,
        **{kind: done.counts[kind] for kind in _KINDS},
        "settled": done.settled,
        "suppressed": done.suppressed,
        "unreadable": [{"mail": name, "reason": reason} for name, reason in done.unreadable],
    }


def _line(done: Outcome) -> str:
    """`5 mails: 2 hard bounces, 1 complaint, 2 passed over; 3 addresses suppressed`."""
    count = done.counts
    words = [
        (count["hard"], "hard bounce", ""),
        (count["soft"], "soft bounce", ""),
        (count["complained"], "complaint", ""),
        (count["unsubscribed"], "unsubscription", ""),
        (count["delivered"], "delivery", "deliveries"),
        (count["address"], "address without a message of ours", "addresses without a message of ours"),
        (count["known"], "known already", "known already"),
        (count["unknown"], "about nobody here", "about nobody here"),
        (count["delayed"] + count["reply"] + count["other"], "passed over", "passed over"),
        (count["unreadable"], "unreadable", "unreadable"),
    ]
    parts = [render.plural(number, one, many) for number, one, many in words if number]
    line = render.plural(done.mails, "mail") + (f": {', '.join(parts)}" if parts else "")
    if done.suppressed:
        line += f"; {render.plural(done.suppressed, 'address', 'addresses')} suppressed"
    if done.settled:
        line += f"; {render.plural(done.settled, 'message')} in doubt settled"
    return line
