"""Which messages are to leave, left, or did not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowctl.report.costs import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowctl.store.database import Store

STATES = ("ready", "claimed", "transmitting", "sent", "failed", "in_doubt", "skipped", "cancelled")


@dataclass(frozen=True, kw_only=True, slots=True)
class OutboxRow:
    """One message. `at` is when it settled, or when the gate looks at it next; UTC ms.

    Known of what left or may have: the `segments` of an SMS, and the `cost` (`0.0450 EUR`) where the channel says a `cost:`.
    """

    key: str | None
    state: str
    at: int | None
    contact: str
    recipient: str
    channel: str
    message: str
    workflow: str
    attempts: int
    reason: str | None
    reply: str | None
    segments: int | None
    cost: str | None


def outbox(store: Store, *, states: Sequence[str], limit: int) -> list[OutboxRow]:
    """The newest messages in some states."""
    numbers = [STATES.index(state) for state in states]
    rows = store.connection.execute(
        "SELECT o.key, o.state, coalesce(o.settled_at, o.ready_at, o.counted_at), coalesce(c.key, c.email, '#' || c.id), o.recipient, ch.name, "
        "m.name, v.workflow, o.attempts, o.reason, o.reply, k.segments, k.micros, k.currency FROM outbox o JOIN contacts c ON c.id = o.contact_id "
        "JOIN names ch ON ch.id = o.channel JOIN names m ON m.id = o.message JOIN workflow_versions v ON v.id = o.version_id "
        "LEFT JOIN message_costs k ON k.outbox_id = o.id "
        f"WHERE o.state IN ({', '.join('?' * len(numbers))}) ORDER BY o.id DESC LIMIT ?",
        (*numbers, limit),
    ).fetchall()
    return [
        OutboxRow(
            key=row[0], state=STATES[row[1]], at=row[2], contact=row[3], recipient=row[4], channel=row[5], message=row[6], workflow=row[7],
            attempts=row[8], reason=row[9], reply=row[10], segments=row[11] if row[5] == "sms" else None, cost=shown(row[12], row[13]) if row[13] else None,
        )
        for row in rows
    ]  # fmt: skip
