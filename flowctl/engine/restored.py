"""A store restored from a copy: lets it send again, with what may have left since the copy in doubt rather than sent twice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from flowctl.engine.claims import OPEN
from flowctl.engine.runtime import IN_DOUBT, KIND
from flowctl.failure import Failure, UsageFailure
from flowctl.store.database import transaction
from flowctl.store.locking import exclusive
from flowctl.store.sending import NotTheNewest, SendingRecord, Sent

if TYPE_CHECKING:
    import sqlite3

    from flowctl.store.database import Store

Resend = Literal["none", "transactional", "all"]
REASON = "restored"
_MAY_HAVE_LEFT = "may have left after the copy of the store was made"


@dataclass(frozen=True, kw_only=True, slots=True)
class Adopted:
    """What adopting did. The copy knows what happened up to `known_until`; messages may have left until `sent_until`. UTC ms."""

    known_until: int
    sent_until: int
    in_doubt: int  # messages of the copy that may have left
    due: int  # enrollments whose next step was due meanwhile: what they send until then is in doubt, too


def adopt(store: Store, *, resend: Resend, until: int | None, now: int) -> Adopted:
    """Vouch for a store that is older than its sending record, came without it, or is a copy beside the store it was made of.

    Messages that were to leave until the record's last time may have left after the copy was made. They are in doubt, with
    those that the next ticks find should have left by then, and their contacts move on; `resend` lets them leave all the same.
    `until` (UTC ms) says when the lost store sent last, where no record tells; else that is taken to be now.

    Raises:
        UsageFailure: the store knows everything that it sent, or `until` lies ahead.
        Busy: a tick runs.
    """
    record = SendingRecord(store)
    with exclusive(store):
        said = _vouched(record)
        if until is not None and until > now:
            message = "--until lies in the future"
            raise UsageFailure(message, help="say when the lost store sent last")
        records = [each for each in (said, _beside(record)) if each is not None and each.uuid == store.uuid]
        last_at = max((each.at for each in records), default=None)
        sent_until = until if until is not None else last_at if last_at is not None else now
        connection = store.connection
        with transaction(connection):
            known_until, due = connection.execute(
                "SELECT max(coalesce((SELECT value FROM cursors WHERE name = 'tick'), 0), coalesce((SELECT max(counted_at) FROM outbox), 0)), "
                "(SELECT count(*) FROM enrollments WHERE due_at <= ?)",
                (sent_until,),
            ).fetchone()
            connection.execute(
                "INSERT INTO adoptions (at, sent_until, resend) VALUES (?, ?, ?)", (now, sent_until, resend)
            )
            # What was in hand when the copy was made went its way; an interrupted tick's rule, that claimed is ready again, is not for it.
            connection.execute(f"UPDATE outbox SET state = 0, ready_at = counted_at WHERE {OPEN}")
            doubtful = doubt(connection, now)
            batch = max([record.batch, *(each.batch for each in records)]) + 1
            connection.execute("UPDATE store SET sent_batch = ?", (batch,))
        try:
            record.write(batch, max(sent_until, last_at or 0))
        finally:
            record.close()
    return Adopted(known_until=known_until, sent_until=sent_until, in_doubt=doubtful, due=due)


def _beside(record: SendingRecord) -> Sent | None:
    """What the store says that this is a copy of, where it is still there."""
    try:
        return record.elsewhere()
    except NotTheNewest:  # its own record is damaged
        return None


def _vouched(record: SendingRecord) -> Sent | None:
    try:
        record.check()
    except NotTheNewest:
        try:
            return record.read()
        except NotTheNewest:  # damaged: it tells nothing
            return None
    message = "the store knows everything that it sent: there is nothing to adopt"
    raise UsageFailure(message, help="`flowctl tick` runs it")


def doubt(connection: sqlite3.Connection, now: int) -> int:
    """Put in doubt what was to leave before a restored copy was adopted, unless its resend was ordered; how many. One transaction."""
    marketing = _until(connection, "('none', 'transactional')")
    transactional = _until(connection, "('none')")
    either = max(marketing, transactional)
    alerts = _doubt_alerts(connection, transactional, now) if transactional else 0
    if (
        not either
        or connection.execute("SELECT 1 FROM outbox WHERE ready_at <= ? LIMIT 1", (either,)).fetchone() is None
    ):
        return alerts
    with transaction(connection):
        connection.execute("CREATE TEMP TABLE IF NOT EXISTS restored (id INTEGER PRIMARY KEY)")
        connection.execute("DELETE FROM restored")
        found = connection.execute(
            "INSERT INTO restored SELECT id FROM outbox WHERE ready_at <= ? AND ready_at <= CASE marketing WHEN 1 THEN ? ELSE ? END",
            (either, marketing, transactional),
        ).rowcount
        _settle(connection, now)
    return found + alerts


def _doubt_alerts(connection: sqlite3.Connection, until: int, now: int) -> int:
    """Alerts to the own people are as little to leave twice as what is transactional."""
    due = "SELECT 1 FROM notices WHERE ready_at <= ? LIMIT 1"
    if connection.execute(due, (until,)).fetchone() is None:
        return 0
    with transaction(connection):
        return connection.execute(
            "UPDATE notices SET state = 4, ready_at = NULL, settled_at = ?, reply = ? WHERE ready_at <= ?",
            (now, _MAY_HAVE_LEFT, until),
        ).rowcount


def _until(connection: sqlite3.Connection, resends: str) -> int:
    row = connection.execute(f"SELECT coalesce(max(sent_until), 0) FROM adoptions WHERE resend IN {resends}").fetchone()
    return int(row[0])


def _settle(connection: sqlite3.Connection, now: int) -> None:
    """In doubt counts as left, at the time at which it was to leave."""
    connection.execute(
        f"UPDATE outbox SET state = {IN_DOUBT}, counted_at = ready_at, settled_at = :now, doubts = doubts + 1, reason = :reason, "
        "reply = :reply, ready_at = NULL, "
        "key = coalesce(key, message_key(enrollment_id, pc, visit, channel, CAST(recipient AS BLOB))) WHERE id IN (SELECT id FROM restored)",
        {"now": now, "reason": REASON, "reply": _MAY_HAVE_LEFT},
    )
    connection.execute(
        "INSERT INTO journal (contact_id, enrollment_id, version_id, pc, at, kind, detail) "
        f"SELECT o.contact_id, o.enrollment_id, o.version_id, o.pc, ?, {KIND['in_doubt']}, "
        "json_object('reason', ?, 'message', m.name, 'channel', ch.name, 'key', o.key) "
        "FROM restored r CROSS JOIN outbox o ON o.id = r.id JOIN names ch ON ch.id = o.channel JOIN names m ON m.id = o.message",
        (now, REASON),
    )
    rows = "SELECT o.enrollment_id, o.pc FROM restored r CROSS JOIN outbox o ON o.id = r.id"
    connection.execute(
        f"UPDATE enrollments AS e SET due_at = :now FROM ({rows}) x WHERE e.id = x.enrollment_id AND e.pc = x.pc "
        f"AND e.ended_at IS NULL AND e.until_at IS NOT NULL AND e.id IN (SELECT enrollment_id FROM ({rows}))",
        {"now": now},
    )


def guarded(store: Store) -> Failure | None:
    """Why the store refuses to send, or None."""
    try:
        SendingRecord(store).check()
    except NotTheNewest as refusal:
        return refusal
    return None
