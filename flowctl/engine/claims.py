"""Claimed rows of the outbox as delivering sees them: taken up after a crash, put in doubt, and the bytes kept for a resend."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from flowctl.engine.runtime import CLAIMED, IN_DOUBT, KIND, READY, SENT, TRANSMITTING
from flowctl.store import inbox
from flowctl.store.database import transaction

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

    from flowctl.channels.channel import Letter, Receipt

RESEND_MS = (
    5 * 60_000
)  # before a transactional message in doubt is sent once more: time for a bounce or status to settle it
DOUBTS_MAX = 2
ATTEMPTS_MAX = 8  # with the backoff of delivering the last one is two and a half hours after the first
# How long providers know a message again by its key: 24 hours is what is common, https://docs.stripe.com/api/idempotent_requests
KEY_KEPT_MS = 24 * 3_600_000
WAKE = "UPDATE enrollments SET due_at = ? WHERE id = ? AND ended_at IS NULL AND until_at IS NOT NULL AND pc = ?"
# The + keeps the planner from reading all that are in flight, by an index that holds only those.
_WAKE_MANY = (
    "UPDATE enrollments SET due_at = ? WHERE id IN (SELECT value FROM json_each(?)) AND +ended_at IS NULL "
    "AND until_at IS NOT NULL AND pc = ?"
)

# Those of a round that may not leave, nearly always none: taken over, cancelled, forgotten, or suppressed since they were claimed.
BARRED = (
    "SELECT j.value FROM json_each(?) j LEFT JOIN outbox o ON o.id = j.value "
    # By the contact: the planner would read all that are suppressed on the channel.
    "LEFT JOIN suppressions s INDEXED BY suppressions_contact ON s.contact_id = o.contact_id AND (o.marketing = 1 OR s.reason != 'unsubscribed') "
    f"AND +s.channel = (SELECT n.name FROM names n WHERE n.id = o.channel) WHERE o.state IS NOT {CLAIMED} OR s.channel IS NOT NULL"
)
# One statement for all of a round: each row costs half of what a statement of its own does.
MARK_MANY = (
    f"UPDATE outbox SET state = {TRANSMITTING} WHERE id IN (SELECT value FROM json_each(?)) AND state = {CLAIMED}"
)
_SENT = (
    f"UPDATE outbox SET state = {SENT}, settled_at = ?, reply = j.value, reason = NULL FROM json_each(?) j "
    f"WHERE outbox.id = CAST(j.key AS INTEGER) AND outbox.state = {TRANSMITTING}"
)
_SENT_EVENTS = (
    "INSERT INTO message_events (contact_id, message, status, at, outbox_id, enrollment_id, channel) "
    "SELECT o.contact_id, o.message, 0, ?, o.id, o.enrollment_id, o.channel FROM json_each(?) j CROSS JOIN outbox o ON o.id = j.value"
)

_ENDED = "the process ended while it was transmitting"


class Claim(NamedTuple):
    """A claimed outbox row, as much of it as sending needs, in the order of `CLAIMS`.

    A tuple, where other nouns are dataclasses: one is made for every message, and so costs a tenth.
    """

    id: int
    contact_id: int
    enrollment_id: int
    version_id: int
    pc: int
    channel: str
    channel_id: int
    message: str
    recipient: str
    marketing: int  # 1 or 0
    key: str
    counted_at: int
    attempts: int
    doubts: int
    variant: str | None


# Claimed or transmitting, as the index outbox_open says it: only so does SQLite see that it serves.
OPEN = "ready_at IS NULL AND settled_at IS NULL"
CLAIMS = (
    "SELECT o.id, o.contact_id, o.enrollment_id, o.version_id, o.pc, ch.name, o.channel, m.name, o.recipient, o.marketing, o.key, "
    "o.counted_at, o.attempts, o.doubts, o.variant FROM outbox o JOIN names ch ON ch.id = o.channel JOIN names m ON m.id = o.message "
)


from_row = Claim._make  # of a row of `CLAIMS`


def packed(letter: Letter) -> str:
    """A letter as JSON, to the byte."""
    from base64 import b64encode  # noqa: PLC0415 - transactional messages only

    said = {name: getattr(letter, name) for name in letter._fields if name != "payload"}
    body = letter.payload
    return json.dumps(
        {**said, **({"bytes": b64encode(body).decode()} if isinstance(body, bytes) else {"payload": body})}
    )


def unpacked(text: str) -> Letter:
    """The opposite of `packed`."""
    from base64 import b64decode  # noqa: PLC0415 - transactional messages only

    from flowctl.channels.channel import Letter  # noqa: PLC0415 - likewise

    said: dict[str, Any] = json.loads(text)
    body = said.pop("bytes", None)
    return Letter(**{**said, "payload": b64decode(body)} if body is not None else said)


def keyed(channels: Mapping[str, Mapping[str, Any]]) -> frozenset[str]:
    """The channels of a release whose provider knows a message again by its key: what may have left is asked again, and leaves once."""
    return frozenset(
        name for name, said in channels.items() if (said.get("description") or {}).get("idempotency_header")
    )


def recover(connection: sqlite3.Connection, now: int, asked_again: frozenset[str] = frozenset()) -> tuple[int, int]:
    """What an earlier process left: claimed rows are ready again, transmitting ones in doubt; how many of each. One transaction.

    On the channels `asked_again` (see `keyed`) transmitting ones are ready again, too, under the same key; not where a release was applied
    since, which may have changed the provider.
    """
    with transaction(connection):
        left = [
            from_row(row)
            for row in connection.execute(f"{CLAIMS} WHERE {OPEN} AND o.state = {TRANSMITTING}").fetchall()
        ]
        again = connection.execute(
            f"UPDATE outbox SET state = {READY}, ready_at = ?, counted_at = NULL, attempts = attempts - 1 WHERE {OPEN} AND state = {CLAIMED}",
            (now,),
        ).rowcount
        (applied_at,) = connection.execute("SELECT coalesce(max(applied_at), 0) FROM releases").fetchone()
        doubtful = [
            claim
            for claim in left
            if claim.channel not in asked_again
            or claim.counted_at <= applied_at
            or not _ask_again(connection, claim, now)
        ]
        for claim in doubtful:
            doubt(connection, claim, _ENDED, now)
        # The store's own inbox knows what it has.
        known = inbox.settle(connection, [claim.key for claim in doubtful], now=now)
    return again + len(left) - len(doubtful), len(doubtful) - known


def _ask_again(connection: sqlite3.Connection, claim: Claim, now: int) -> bool:
    """Ready again, as it may have left; whether the provider still knows it by its key, and it was not tried too often."""
    if claim.attempts >= ATTEMPTS_MAX or now - claim.counted_at >= KEY_KEPT_MS:
        return False
    connection.execute(
        f"UPDATE outbox SET state = {READY}, ready_at = ?, counted_at = NULL, doubts = doubts + 1, reason = 'retry', reply = ? "
        f"WHERE id = ? AND state = {TRANSMITTING}",
        (now, _ENDED, claim.id),
    )
    note(connection, claim, "held", f"{_ENDED}; asked again under the same key", now)
    return True


def doubt(connection: sqlite3.Connection, claim: Claim, why: str, now: int) -> None:
    """It may have left. Marketing is never sent again; a transactional message once more, after a while, the same to the byte."""
    again = not claim.marketing and claim.doubts + 1 < DOUBTS_MAX
    connection.execute(
        f"UPDATE outbox SET state = ?, ready_at = ?, counted_at = ?, settled_at = ?, doubts = doubts + 1, reason = 'in_doubt', reply = ? "
        f"WHERE id = ? AND state = {TRANSMITTING}",
        (READY, now + RESEND_MS, None, None, why, claim.id)
        if again
        else (IN_DOUBT, None, claim.counted_at, now, why, claim.id),
    )
    note(connection, claim, "in_doubt", why, now)
    if not again:
        wake(connection, claim, now)


def accepted(connection: sqlite3.Connection, sent: Sequence[tuple[Claim, Receipt]], now: int) -> None:
    """Their servers accepted these; their contacts may go on."""
    replies = {claim.id: receipt.reply for claim, receipt in sent}
    connection.execute(_SENT, (now, json.dumps(replies)))
    connection.execute(_SENT_EVENTS, (now, json.dumps(list(replies))))
    enrollments: dict[int, list[int]] = {}
    for claim, _ in sent:
        enrollments.setdefault(claim.pc, []).append(claim.enrollment_id)
    for pc, numbers in enrollments.items():
        connection.execute(_WAKE_MANY, (now, json.dumps(numbers), pc))


def note(connection: sqlite3.Connection, claim: Claim, kind: str, reason: str, now: int) -> None:
    """Journal what became of a message."""
    connection.execute(
        "INSERT INTO journal (contact_id, enrollment_id, version_id, pc, at, kind, detail) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (claim.contact_id, claim.enrollment_id, claim.version_id, claim.pc, now, KIND[kind],
         json.dumps({"reason": reason, "message": claim.message, "channel": claim.channel, "key": claim.key})),
    )  # fmt: skip


def wake(connection: sqlite3.Connection, claim: Claim, now: int) -> None:
    """The contact may go on from the step that sent."""
    connection.execute(WAKE, (now, claim.enrollment_id, claim.pc))
