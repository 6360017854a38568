"""`flowctl status`: the store at a glance."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowctl import clock
from flowctl.cli import render
from flowctl.cli.invocation import invocation
from flowctl.cli.times import iso

if TYPE_CHECKING:
    from flowctl.report.status import Status

EXAMPLES = """\
flowctl status
flowctl status --json | jq .in_doubt
"""
_TIMES = frozenset({"applied_at", "last_tick_at", "next_due_at"})


def command(
    ctx: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Write versioned JSON.")] = False,
) -> int:
    """Show the store at a glance: in flight, due, last tick, trouble."""
    from flowctl.cli.store import opened
    from flowctl.report.status import status

    with opened(invocation(ctx)) as store:
        found = status(store, now=clock.now())
    if as_json:
        render.document(
            "status", {name: iso(value) if name in _TIMES else value for name, value in asdict(found).items()}
        )
    else:
        render.table(["what", "value"], _rows(found))
    return 0


def _rows(found: Status) -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = [
        (
            "release",
            f"{found.commit}, applied {iso(found.applied_at)}"
            if found.commit
            else "nothing was applied yet: `flowctl apply`",
        ),
        ("last tick", iso(found.last_tick_at) or "none yet"),
        ("contacts", found.contacts),
        ("events", found.events),
        ("in flight", found.active),
        ("due now", found.due),
        ("due next", iso(found.next_due_at) or ""),
        ("messages ready", found.ready),
        *((f"messages held: {reason}", count) for reason, count in found.held.items()),
        ("messages in hand", found.claimed),
        ("messages in doubt", f"{found.in_doubt}: `flowctl outbox list --state in_doubt`" if found.in_doubt else 0),
        ("messages failed", found.failed),
        ("addresses suppressed", found.suppressed),
    ]
    if found.paused:
        rows.append(("paused", ", ".join(found.paused)))
    if found.refusal:
        rows.append(("does not send", f"{found.refusal}; `flowctl doctor` says what to do"))
    if found.backlog:
        rows.append(
            ("more due than usual", f"{found.backlog} marketing messages wait: `flowctl tick --confirm-backlog`")
        )
    rows.extend((f"provider of {channel} refuses", reply) for channel, reply in found.refusing.items())
    rows.extend((f"guard on {workflow}", note.removeprefix("guard: ")) for workflow, note in found.guarded.items())
    return rows
