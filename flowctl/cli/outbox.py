"""`flowctl outbox`: messages to leave, and those in doubt."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from flowctl import clock
from flowctl.cli import render
from flowctl.cli.invocation import invocation
from flowctl.failure import UsageFailure

EXAMPLES = """\
flowctl outbox list                          what is to leave, failed or in doubt
flowctl outbox list --state in_doubt
flowctl outbox resolve 43ac30d4 --sent       the beginning of a key is enough
flowctl outbox retry 9f01
flowctl outbox retry --channel email         its provider refused everything, and is mended
"""
_WHERE_KNOWN = ("segments", "cost")  # columns that are shown where some message has them
app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="List messages to leave; settle those in doubt.")


@app.callback()
def _group() -> None:
    """List messages to leave; settle those in doubt."""


@app.command("list")
def list_(
    ctx: typer.Context,
    state: Annotated[
        str,
        typer.Option(
            "--state", help="Only this state: ready, sent, failed, in_doubt, skipped, cancelled.", show_default=False
        ),
    ] = "",
    limit: Annotated[int, typer.Option("--limit", help="At most so many rows.", min=1)] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="Write versioned JSON.")] = False,
) -> int:
    """List messages, the newest first: ready, failed and in doubt, unless a state is said.

    Of what left or may have, the segments of an SMS and what the message cost are shown where they are known.
    """
    from flowctl.cli.store import opened
    from flowctl.cli.times import iso
    from flowctl.report.outbox import STATES, outbox

    if state and state not in STATES:
        message = f"no state {state!r}"
        raise UsageFailure(message, help=f"states are {', '.join(STATES)}")
    with opened(invocation(ctx)) as store:
        rows = outbox(store, states=[state] if state else ["ready", "failed", "in_doubt"], limit=limit)
    if as_json:
        render.document("outbox", {"messages": [{**asdict(row), "at": iso(row.at)} for row in rows]})
        return 0
    table: list[tuple[str, list[object]]] = [
        ("key", [row.key for row in rows]),
        ("state", [row.state for row in rows]),
        ("at", [iso(row.at) for row in rows]),
        ("contact", [row.contact for row in rows]),
        ("channel", [row.channel for row in rows]),
        ("message", [row.message for row in rows]),
        ("workflow", [row.workflow for row in rows]),
        ("attempts", [row.attempts for row in rows]),
        ("segments", [row.segments for row in rows]),
        ("cost", [row.cost for row in rows]),
        ("reason", [row.reply or row.reason for row in rows]),
    ]
    shown = [(name, cells) for name, cells in table if name not in _WHERE_KNOWN or any(cells)]
    columns = [name for name, _ in shown]
    right = [name for name in ("attempts", *_WHERE_KNOWN) if name in columns]
    render.table(columns, list(zip(*(cells for _, cells in shown), strict=True)), right=right)
    return 0


@app.command("resolve")
def resolve_(
    ctx: typer.Context,
    key: Annotated[str, typer.Argument(metavar="KEY", show_default=False)],
    sent: Annotated[bool, typer.Option("--sent", help="It arrived.")] = False,
    resend: Annotated[bool, typer.Option("--resend", help="Send it again: it may arrive twice.")] = False,
    drop: Annotated[bool, typer.Option("--drop", help="Give it up.")] = False,
) -> int:
    """Settle a message in doubt, as a person found out or decides."""
    from flowctl.cli.store import opened
    from flowctl.engine.by_hand import How, resolve

    chosen: list[How] = [how for how, said in (("sent", sent), ("resend", resend), ("drop", drop)) if said]  # type: ignore[misc]  # the three words of How
    if len(chosen) != 1:
        message = "say one of --sent, --resend, --drop"
        raise UsageFailure(message)
    with opened(invocation(ctx)) as store:
        resolve(store.connection, key, chosen[0], now=clock.now())
    print(f"{key}: {'leaves at the next tick' if resend else 'sent' if sent else 'dropped'}")
    return 0


@app.command("retry")
def retry_(
    ctx: typer.Context,
    key: Annotated[str, typer.Argument(metavar="[KEY]", show_default=False)] = "",
    channel: Annotated[
        str,
        typer.Option(
            "--channel", metavar="NAME", help="Try this channel's provider now, though it refused.", show_default=False
        ),
    ] = "",
) -> int:
    """Send a failed message after all, at the next tick; or try a provider again that refused everything."""
    from flowctl.cli.store import opened
    from flowctl.engine.by_hand import retry, retry_channel

    if bool(key) == bool(channel):
        message = "say a KEY, or --channel NAME"
        raise UsageFailure(message, help="`flowctl outbox list` shows the keys, `flowctl status` providers that refuse")
    with opened(invocation(ctx)) as store:
        if channel:
            waiting = retry_channel(store.connection, channel, now=clock.now())
            print(f"{channel}: one message is tried at the next tick, and {waiting} wait for it")
            return 0
        retry(store.connection, key, now=clock.now())
    print(f"{key}: leaves at the next tick")
    return 0
