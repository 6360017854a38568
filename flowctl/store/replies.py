"""Replies to SMS: who wrote STOP withdraws the consent to marketing there, from the moment the reply is stored; START takes a STOP back.

START gives back what the contact's own STOP took, and nothing else: carriers in the United States subscribe the number again, and in
Europe consent is given where a person can read what for (GDPR, articles 4(11) and 7), which was there before the STOP or is not there
at all. A workflow that takes a START for more says so itself (`wait_for: {event: sms_received, where: {text: START}}`, then
`consent: {grant: sms}`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowctl.store import consents, statuses, suppressions

if TYPE_CHECKING:
    import sqlite3

EVENT = "sms_received"
_CHANNEL = "sms"
_STOP, _START = f"{EVENT} STOP", f"{EVENT} START"  # as sources of consent
_NEW = (
    "SELECT e.contact_id, e.at, e.props ->> 'text', c.phone FROM events e JOIN contacts c ON c.id = e.contact_id "
    "WHERE e.id > ? AND e.type = (SELECT t.id FROM event_types t WHERE t.name = ?) ORDER BY e.at, e.id"
)
_LATER = (
    "SELECT e.at, e.props ->> 'text' FROM events e WHERE e.contact_id = ? AND e.type = (SELECT t.id FROM event_types t WHERE t.name = ?) "
    "AND e.at > ? AND e.id <= ? ORDER BY e.at, e.id"
)
# What was said of consent there, the newest word first: only what held at its time is in the log.
_SAID = (
    "SELECT at, granted, source FROM consent_log WHERE contact_id = ? AND channel = ? AND purpose = ? ORDER BY id DESC"
)
# What it answers: the contact's newest SMS that left before it, for the reports and guards that count who unsubscribed.
_ANSWERED = (
    "SELECT o.key FROM outbox o JOIN names n ON n.id = o.channel WHERE o.contact_id = ? AND n.kind = 'channel' AND n.name = ? "
    "AND o.counted_at <= ? AND o.marketing = 1 ORDER BY o.counted_at DESC, o.id DESC LIMIT 1"
)


def record(connection: sqlite3.Connection, after: int, *, now: int) -> int:
    """Heed the replies among the events after an id; how many said stop. Inside the transaction that stored them."""
    from flowctl.language.sms import says_start, says_stop  # noqa: PLC0415 - only where replies are imported

    stops = 0
    for contact_id, at, text, phone in connection.execute(_NEW, (after, EVENT)).fetchall():
        if text and says_stop(str(text)):
            stops += 1
            _stop(connection, contact_id, phone, at, now)
            later = connection.execute(_LATER, (contact_id, EVENT, at, after)).fetchall()
            for known_at, known in later:  # an old reply, imported late: what was said since counts
                if known and says_start(str(known)):
                    _start(connection, contact_id, known_at, now)
        elif text and says_start(str(text)):
            _start(connection, contact_id, at, now)
    return stops


def _stop(connection: sqlite3.Connection, contact_id: int, phone: str | None, at: int, now: int) -> None:
    said = consents.Statement(contact_id=contact_id, channel=_CHANNEL, granted=False, at=at, source=_STOP)
    consents.record(connection, [said], now=now)
    if _granted_since(connection, contact_id):
        return  # an old reply, imported late: the contact has agreed anew since
    if phone:
        # The gate asks for consent when it claims; a suppression also stops what is claimed already.
        suppressions.suppress(connection, _CHANNEL, [phone], reason="unsubscribed", source=_STOP, at=at, now=now)
        # Who answers has a number that works: it was refused because the provider heard the STOP first.
        suppressions.restate(connection, _CHANNEL, phone, was="refused", reason="unsubscribed", source=_STOP, at=at)
    _count(connection, contact_id, at, now)


def _start(connection: sqlite3.Connection, contact_id: int, at: int, now: int) -> None:
    """Give back what a STOP took, if it is a STOP that stands."""
    said = connection.execute(_SAID, (contact_id, _CHANNEL, consents.MARKETING)).fetchall()
    if not said or said[0][1:] != (0, _STOP) or said[0][0] >= at:
        return
    before = next(((granted, source) for _, granted, source in said if (granted, source) != (0, _STOP)), (0, ""))
    if before[0]:
        given = consents.Statement(contact_id=contact_id, channel=_CHANNEL, granted=True, at=at, source=_START)
        consents.record(connection, [given], now=now)
    suppressions.lift(connection, contact_id, _CHANNEL, now=now, source=_STOP)


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
