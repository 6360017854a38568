"""Which messages are to leave, left, or did not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowctl.store.database import Store

STATES = ("ready", "claimed", "transmitting", "sent", "failed", "in_doubt", "skipped", "cancelled")


@dataclass(frozen=True, kw_only=True, slots=True)
class OutboxRow:
    """One message. `at` is when it settled, or when the gate looks at it next; UTC ms."""

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


def outbox(store: Store, *, states: Sequence[str], limit: int) -> list[OutboxRow]:
    """The newest messages in some states."""
    numbers = [STATES.index(state) for state in states]
    rows = store.connection.execute(
        "SELECT o.key, o.state, coalesce(o.settled_at, o.ready_at, o.counted_at), coalesce(c.key, c.email, '#' || c.id), o.recipient, ch.name, "
        "m.name, v.workflow, o.attempts, o.reason, o.reply FROM outbox o JOIN contacts c ON c.id = o.contact_id "
        "JOIN names ch ON ch.id = o.channel JOIN names m ON m.id = o.message JOIN workflow_versions v ON v.id = o.version_id "
        f"WHERE o.state IN ({', '.join('?' * len(numbers))}) ORDER BY o.id DESC LIMIT ?",
        (*numbers, limit),
    ).fetchall()
    return [
        OutboxRow(
            key=row[0], state=STATES[row[1]], at=row[2], contact=row[3], recipient=row[4], channel=row[5], message=row[6], workflow=row[7],
            attempts=row[8], reason=row[9], reply=row[10],
        )
        for row in rows
    ]  # fmt: skip
