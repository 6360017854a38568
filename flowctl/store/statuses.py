"""What became of messages, as reported from outside: which message it is about, what it settles, whom it suppresses."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowctl.store import consents, suppressions

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

# `message_events.status`
SENT, DELIVERED, OPENED, CLICKED, DISMISSED, BOUNCED, COMPLAINED, UNSUBSCRIBED = range(8)
NAMES = ("sent", "delivered", "opened", "clicked", "dismissed", "bounced", "complained", "unsubscribed")
EVENTS = {f"message_{name}": status for status, name in enumerate(NAMES) if status != SENT}
_SUPPRESSING: dict[int, suppressions.Reason] = {
    BOUNCED: "bounced",
    COMPLAINED: "complained",
    UNSUBSCRIBED: "unsubscribed",
}
# `outbox.state`
_STATE_READY, _STATE_TRANSMITTING, _STATE_SENT, _STATE_IN_DOUBT = 0, 2, 3, 5
_JOURNAL_RESOLVED = 20
_OUTBOX = (
    "SELECT o.id, o.contact_id, o.enrollment_id, o.channel, ch.name, o.message, m.name, o.recipient, o.key "
    "FROM outbox o JOIN names ch ON ch.id = o.channel JOIN names m ON m.id = o.message "
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sending:
    """A message that left, or may have."""

    outbox_id: int
    contact_id: int
    enrollment_id: int
    channel_id: int
    channel: str
    message_id: int
    message: str
    recipient: str
    key: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Status:
    """What became of a sending, at an instant (UTC milliseconds)."""

    sending: Sending
    status: int
    at: int
    link: str | None = None
    detail: str | None = None  # JSON: what a bounce said
    suppresses: bool = True  # a soft bounce does not


def by_key(connection: sqlite3.Connection, key: str) -> Sending | None:
    """The message with this idempotency key."""
    return _sending(connection.execute(_OUTBOX + "WHERE o.key = ?", (key,)).fetchone())


def newest(connection: sqlite3.Connection, contact_id: int, message: str) -> Sending | None:
    """The contact's newest message of this name that left."""
    row = connection.execute(
        # The index on what counts against caps holds exactly what left; there is none by message.
        _OUTBOX + "WHERE o.contact_id = ? AND o.counted_at IS NOT NULL AND m.kind = 'message' AND m.name = ? "
        f"AND o.state IN ({_STATE_TRANSMITTING}, {_STATE_SENT}, {_STATE_IN_DOUBT}) ORDER BY o.counted_at DESC, o.id DESC LIMIT 1",
        (contact_id, message),
    ).fetchone()
    return _sending(row)


def record(connection: sqlite3.Connection, reported: Sequence[Status], *, now: int) -> None:
    """Store reports that were not known before, with all that follows from them. Inside a write transaction.

    Messages in doubt are settled. Bounces and complaints suppress the address on the channel; unsubscribing does too, and
    withdraws the consent to marketing there.
    """
    settle(connection, reported, now=now)
    connection.executemany(
        "INSERT INTO message_events (contact_id, message, status, at, outbox_id, enrollment_id, channel, link, detail) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                s.contact_id,
                s.message_id,
                each.status,
                each.at,
                s.outbox_id,
                s.enrollment_id,
                s.channel_id,
                each.link,
                each.detail,
            )
            for each in reported
            for s in (each.sending,)
        ],
    )
    withdrawn = []
    for each in reported:
        said = each.sending
        source = f"message_{NAMES[each.status]} {said.key}"
        if each.status == UNSUBSCRIBED:
            withdrawn.append(
                consents.Statement(
                    contact_id=said.contact_id, channel=said.channel, granted=False, at=each.at, source=source
                )
            )
        reason = _SUPPRESSING.get(each.status)
        if reason and each.suppresses:
            suppressions.suppress(
                connection, said.channel, [said.recipient], reason=reason, source=source, at=each.at, now=now
            )
    consents.record(connection, withdrawn, now=now)


def note(connection: sqlite3.Connection, status: Status, *, identity: str | None = None) -> bool:
    """Store the event that a report is, for conditions and triggers; whether it is new. Inside a write transaction.

    `identity` is by what it is known when it comes again: unless said, contact, status, time, message and link.
    """
    from flowctl.store.events import dedupe, type_id  # noqa: PLC0415 - it brings casting, which a tick does without

    said = status.sending
    event = f"message_{NAMES[status.status]}"
    content = {"key": said.key, "message": said.message, "link": status.link}
    text = json.dumps({name: value for name, value in content.items() if value is not None}, ensure_ascii=False)
    known = identity if identity is not None else f"{said.contact_id}\0{event}\0{status.at}\0{text}"
    row = connection.execute(
        "INSERT INTO events (contact_id, type, at, props, dedupe) VALUES (?, ?, ?, ?, ?) "
        "ON CONFLICT (contact_id, dedupe) WHERE dedupe IS NOT NULL DO NOTHING RETURNING id",
        (said.contact_id, type_id(connection, event), status.at, text, dedupe(known)),
    ).fetchone()
    return row is not None


def settle(connection: sqlite3.Connection, reported: Sequence[Status], *, now: int) -> int:
    """Settle messages in doubt by what was reported of them; how many. Inside a write transaction.

    Whatever it says, the message was sent: it bounces only where a server took it. What is not in doubt stays as it is.
    """
    settled = 0
    for each in reported:
        row = connection.execute(
            # One that waits to be sent once more is in doubt too, and need not be.
            f"UPDATE outbox SET state = {_STATE_SENT}, reason = NULL, counted_at = coalesce(counted_at, ?1), "
            "ready_at = NULL, settled_at = coalesce(settled_at, ?1) "
            f"WHERE id = ?2 AND (state = {_STATE_IN_DOUBT} OR state = {_STATE_READY} AND doubts > 0) "
            "RETURNING contact_id, enrollment_id, version_id, pc, counted_at",
            (now, each.sending.outbox_id),
        ).fetchone()
        if row is None:
            continue
        settled += 1
        contact_id, enrollment_id, version_id, pc, counted_at = row
        detail = json.dumps({"state": "sent", "by": f"message_{NAMES[each.status]}"})
        connection.execute(
            "INSERT INTO journal (contact_id, enrollment_id, version_id, pc, at, kind, detail) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (contact_id, enrollment_id, version_id, pc, now, _JOURNAL_RESOLVED, detail),
        )
        _note_sent(connection, each.sending, counted_at)
        connection.execute(
            "UPDATE enrollments SET due_at = ? WHERE id = ? AND pc = ? AND ended_at IS NULL AND until_at IS NOT NULL AND due_at IS NULL",
            (now, enrollment_id, pc),
        )
    return settled


def _note_sent(connection: sqlite3.Connection, said: Sending, at: int) -> None:
    connection.execute(
        "INSERT INTO message_events (contact_id, message, status, at, outbox_id, enrollment_id, channel) "
        "SELECT ?1, ?2, ?7, ?3, ?4, ?5, ?6 WHERE NOT EXISTS "
        "(SELECT 1 FROM message_events WHERE contact_id = ?1 AND message = ?2 AND status = ?7 AND outbox_id = ?4)",
        (said.contact_id, said.message_id, at, said.outbox_id, said.enrollment_id, said.channel_id, SENT),
    )


def _sending(row: tuple[int, int, int, int, str, int, str, str, str] | None) -> Sending | None:
    if row is None:
        return None
    outbox_id, contact_id, enrollment_id, channel_id, channel, message_id, message, recipient, key = row
    return Sending(
        outbox_id=outbox_id,
        contact_id=contact_id,
        enrollment_id=enrollment_id,
        channel_id=channel_id,
        channel=channel,
        message_id=message_id,
        message=message,
        recipient=recipient,
        key=key,
    )
