"""`flowctl store`: what concerns the store's file as a whole."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from flowctl import clock
from flowctl.cli import render
from flowctl.cli.invocation import invocation
from flowctl.failure import UsageFailure

EXAMPLES = """\
flowctl store adopt                           after restoring a backup: nothing that may have left leaves again
flowctl store adopt --resend transactional    receipts and the like leave all the same, and may arrive twice
flowctl store adopt --until 2026-12-01T09:00  the lost store sent last then
"""
RESENDS = ("none", "transactional", "all")
app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Let a restored store send again.")


@app.callback()
def _group() -> None:
    """Let a restored store send again."""


@app.command("adopt")
def adopt_(
    ctx: typer.Context,
    resend: Annotated[
        str,
        typer.Option(
            "--resend", metavar="WHICH", help="Let these leave, though they may arrive twice: none, transactional, all."
        ),
    ] = "none",
    until: Annotated[
        str,
        typer.Option(
            "--until",
            metavar="TIME",
            help="When the lost store sent last, where its record is lost too.",
            show_default=False,
        ),
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Write versioned JSON.")] = False,
) -> int:
    """Let a store send again that is older than its own sending record, as a restored backup is.

    What was to leave between the copy and the last message of the lost store may have left: it is in doubt, its contacts move on, and
    `flowctl outbox resolve` settles each. What was stored meanwhile is lost: import it again first, unsubscribes above all.
    """
    from flowctl.cli.store import opened
    from flowctl.cli.times import iso
    from flowctl.engine.restored import adopt

    if resend not in RESENDS:
        message = f"--resend {resend!r}"
        raise UsageFailure(message, help=f"say one of {', '.join(RESENDS)}")
    said = invocation(ctx)
    with opened(said) as store:
        done = adopt(store, resend=resend, until=_time(until), now=clock.now())  # type: ignore[arg-type]  # one of RESENDS
    if as_json:
        times = {"known_until": iso(done.known_until), "sent_until": iso(done.sent_until)}
        render.document("adopt", {**asdict(done), **times})
        return 0
    said.say(
        f"the store knows what happened until {iso(done.known_until)}; messages may have left until {iso(done.sent_until)}"
    )
    said.say(f"{done.in_doubt} messages are in doubt: `flowctl outbox list --state in_doubt`")
    if done.due:
        said.say(
            f"{done.due} contacts had a step due by then: what the next tick finds they should have been sent is "
            f"{'sent' if resend == 'all' else 'in doubt, too'}"
        )
    said.say("import again what was stored meanwhile before the next tick: unsubscribes, bounces, contacts, events")
    return 0


def _time(said: str) -> int | None:
    if not said:
        return None
    try:
        return clock.parse(said)
    except UsageFailure:
        message = f"--until {said!r} is no time"
        raise UsageFailure(message, help="write it as 2026-12-01T09:00:00Z") from None
