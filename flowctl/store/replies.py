"""Replies to SMS: who wrote STOP withdraws the consent to marketing there, from the moment the reply is stored.

START and the like grant nothing: consent is given where a person can read what for, and a workflow that takes a START for it
says so itself (`wait_for: {event: sms_received, where: {text: START}}`, then `consent: {grant: sms}`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowctl.store import consents, statuses, suppressions

if TYPE_CHECKING:
    import sqlite3

EVENT = "sms_received"
_CHANNEL = "sms"
_NEW = (
    "SELECT e.contact_id, e.at, e.props ->> 'text', c.phone FROM events e JOIN contacts c ON c.id = e.contact_id "
    "WHERE e.id > ? AND e.type = (SELECT t.id FROM event_types t WHERE t.name = ?) ORDER BY e.at, e.id"
)
# What it answers: the contact's newest SMS that left before it, for the reports and guards that count who unsubscribed.
_ANSWERED = (
    "SELECT o.key FROM outbox o JOIN names n ON n.id = o.channel WHERE o.contact_id = ? AND n.kind = 'channel' AND n.name = ? "
    "AND o.counted_at <= ? AND o.marketing = 1 ORDER BY o.counted_at DESC, o.id DESC LIMIT 1"
)


def record(connection: sqlite3.Connection, after: int, *, now: int) -> int:
    """Heed the replies among the events after an id; how many said stop. Inside the transaction that stored them."""
    from flowctl.language.sms import says_stop  # noqa: PLC0415 - only where replies are imported

    rows = connection.execute(_NEW, (after, EVENT)).fetchall()
    stops = [(contact_id, at, phone) for contact_id, at, text, phone in rows if text and says_stop(str(text))]
    for contact_id, at, phone in stops:
        said = consents.Statement(contact_id=contact_id, channel=_CHANNEL, granted=False, at=at, source=f"{EVENT} STOP")
        consents.record(connection, [said], now=now)
        if _granted_since(connection, contact_id):
            continue  # an old reply, imported late: the contact has agreed anew since
        if phone:
            # The gate asks for consent when it claims; a suppression also stops what is claimed already.
            suppressions.suppress(
                connection, _CHANNEL, [phone], reason="unsubscribed", source=f"{EVENT} STOP", at=at, now=now
            )
        _count(connection, contact_id, at, now)
    return len(stops)


def _granted_since(connection: sqlite3.Connection, contact_id: int) -> bool:
    row = connection.execute(
        "SELECT granted FROM consents WHERE contact_id = ? AND channel = ? AND purpose = ?",
        (contact_id, _CHANNEL, consents.MARKETING),
    ).fetchone()
    return bool(row and row[0])


def _count(connection: sqlite3.Connection, contact_id: int, at: int, now: int) -> None:
    row = connection.execute(_ANSWERED, (contact_id, _CHANNEL, at)).fetchone()
    sending = statuses.by_key(connection, row[0]) if row else None
    if sending is not None:
        statuses.record(connection, [statuses.Status(sending=sending, status=statuses.UNSUBSCRIBED, at=at)], now=now)
