"""Deliver the outbox: gate, claim, build, transmit, settle; every state change is durable before the world sees its effect."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from flowctl import crash
from flowctl.channels.pool import Attempt, Pool
from flowctl.engine.contact import contact_values
from flowctl.engine.finish import settled
from flowctl.engine.gate import Gate
from flowctl.engine.letters import Letters, Refused
from flowctl.engine.links import Links
from flowctl.engine.runtime import CLAIMED, IN_DOUBT, KIND, READY, REFUSED, SENT, TRANSMITTING
from flowctl.failure import Failure
from flowctl.store import coupons
from flowctl.store.database import transaction
from flowctl.store.suppressions import suppress

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from flowctl.channels.channel import Channel, Letter, Receipt
    from flowctl.engine.letters import Called
    from flowctl.engine.runtime import Runtime
    from flowctl.store.database import Store

ATTEMPTS_MAX = 8  # with the backoff below the last one is two and a half hours after the first
BACKOFF_MS = 60_000  # doubled at each attempt: 1, 2, 4 … 64 minutes
PROVIDER_MS = 5 * 60_000  # how long a provider that refuses everything is left alone
RESEND_MS = (
    5 * 60_000
)  # before a transactional message in doubt is sent once more: time for a bounce or status to settle it
DOUBTS_MAX = 2
PASSES_MAX = 20  # a pass that reroutes to another channel makes work for the next one


@dataclass(kw_only=True)
class Delivered:
    """What delivering did."""

    sent: int = 0
    held: int = 0
    skipped: int = 0
    retried: int = 0
    failed: int = 0
    in_doubt: int = 0
    refusals: dict[str, str] = field(default_factory=dict)  # channel → what its provider said

    cancelled: int = 0  # their journeys ended or went elsewhere

    @property
    def settled(self) -> int:
        """How many enrollments may go on."""
        return self.sent + self.skipped + self.failed + self.in_doubt + self.cancelled


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """A claimed outbox row, as much of it as sending needs."""

    id: int
    contact_id: int
    enrollment_id: int
    version_id: int
    pc: int
    channel: str
    channel_id: int
    message: str
    message_id: int
    recipient: str
    marketing: bool
    key: str
    counted_at: int
    attempts: int
    doubts: int
    variant: str | None


_OPEN = "state IN (1, 2)"  # as the index outbox_open says it: only so does SQLite see that it serves
_CLAIMS = (
    "SELECT o.id, o.contact_id, o.enrollment_id, o.version_id, o.pc, ch.name, o.channel, m.name, o.message, o.recipient, o.marketing, o.key, "
    "o.counted_at, o.attempts, o.doubts, o.variant FROM outbox o JOIN names ch ON ch.id = o.channel JOIN names m ON m.id = o.message "
)


def recover(connection: sqlite3.Connection, now: int) -> tuple[int, int]:
    """What an earlier process left: claimed rows are ready again, transmitting ones in doubt; how many of each. One transaction."""
    with transaction(connection):
        left = [
            _claim(row)
            for row in connection.execute(f"{_CLAIMS} WHERE o.{_OPEN} AND o.state = {TRANSMITTING}").fetchall()
        ]
        again = connection.execute(
            f"UPDATE outbox SET state = {READY}, ready_at = ?, counted_at = NULL, attempts = attempts - 1 WHERE {_OPEN} AND state = {CLAIMED}",
            (now,),
        ).rowcount
        for claim in left:
            _doubt(connection, claim, "the process ended while it was transmitting", now)
    return again, len(left)


class Delivery:
    """One tick's delivering. `channels` makes a channel by name when the first message for it is claimed."""

    def __init__(
        self, store: Store, runtime: Runtime, channels: Callable[[str], Channel], clock: Callable[[], int]
    ) -> None:
        self._store = store
        self._connection = store.connection
        self._runtime = runtime
        self._make_channel = channels
        self._clock = clock
        self._pools: dict[str, Pool] = {}
        self._blocked: dict[int, int] = {}
        public_url = runtime.said["public_url"]
        self._letters = Letters(Links(secret=store.secret, public_url=public_url) if public_url else None)
        self._fields = runtime.said["fields"]
        self.stopped = False

    def run(self) -> Delivered:
        """Everything that may leave now."""
        done = Delivered()
        try:
            for _ in range(PASSES_MAX):
                if not self._pass(done):
                    break
        finally:
            for pool in self._pools.values():
                pool.close()
            self._pools = {}
        return done

    def _pass(self, done: Delivered) -> bool:
        """One look at all that is ready; returns whether another look is worth it."""
        rerouted = False
        now = self._clock()
        gate = Gate(self._connection, self._runtime, now)
        for start, stop in gate.chunks():
            if self.stopped:
                return False
            with transaction(self._connection):
                gated = gate.judge(start, stop, blocked=self._blocked)
                # In the order in which the caps gave room: it does not depend on how the rows came to lie.
                rows = self._connection.execute(
                    f"{_CLAIMS} WHERE o.id IN (SELECT id FROM gate WHERE verdict IS NULL) AND o.state = {CLAIMED} "
                    "ORDER BY o.marketing, o.priority DESC, o.arrived_at, o.id"
                )
                claims = [_claim(row) for row in rows]
            crash.point("claimed")
            done.held += gated.held
            done.skipped += gated.skipped
            done.cancelled += gated.cancelled
            rerouted = rerouted or gated.rerouted > 0
            for channel in dict.fromkeys(claim.channel for claim in claims):
                self._send(channel, [claim for claim in claims if claim.channel == channel], done)
        return rerouted

    def _send(self, name: str, claims: list[Claim], done: Delivered) -> None:
        by_key = {claim.key: claim for claim in claims}
        refused: list[tuple[Claim, str]] = []
        try:
            channel = self._make_channel(name)
        except Failure as failure:
            self._refused(claims, failure.message, PROVIDER_MS, done)
            with transaction(self._connection):
                self._release(claims, self._clock())
            return
        self._give_coupons(claims)
        letters = self._build(claims, refused)
        leave = (
            self._inline(channel, letters, by_key)
            if getattr(channel, "inline", False)
            else self._pooled(name, channel, letters, by_key)
        )
        for attempts in leave:
            with transaction(self._connection):
                for attempt in attempts:
                    self._settle(by_key.pop(attempt.letter.key), attempt.receipt, done)
            crash.point("settled")
        with transaction(self._connection):
            now = self._clock()
            for claim, reason in refused:
                by_key.pop(claim.key, None)
                self._fail(claim, reason, now, done)
            self._release(by_key.values(), now)
        pool = self._pools.get(name)
        if pool and pool.refusal:
            self._refused(
                claims, pool.refusal.reply, int((pool.refusal.retry_after_s or 0) * 1000) or PROVIDER_MS, done
            )

    def _refused(self, claims: list[Claim], reply: str, wait_ms: int, done: Delivered) -> None:
        """A channel takes nothing for now: the others go on."""
        self._blocked[claims[0].channel_id] = self._clock() + wait_ms
        done.refusals[claims[0].channel] = reply

    def _inline(self, channel: Channel, letters: Iterable[Letter], by_key: dict[str, Claim]) -> Iterator[list[Attempt]]:
        """A channel that answers at once, as simulate's and test's: one transaction for all."""
        line = channel.open()
        attempts = [Attempt(letter=letter, receipt=line.transmit(letter, lambda: True)) for letter in letters]
        if attempts:
            with transaction(self._connection):
                self._mark([attempt.letter.key for attempt in attempts])
                self._keep([attempt.letter for attempt in attempts if not attempt.letter.marketing], by_key)
            yield attempts

    def _pooled(
        self, name: str, channel: Channel, letters: Iterable[Letter], by_key: dict[str, Claim]
    ) -> Iterator[tuple[Attempt, ...]]:
        pool = self._pools.get(name) or self._pools.setdefault(name, Pool(channel))
        for round_ in pool.rounds(letters):
            if self.stopped:
                pool.stop()
            if round_.asking:
                with transaction(self._connection):
                    granted = self._mark([letter.key for letter in round_.asking])
                    self._keep(
                        [letter for letter in round_.asking if letter.key in granted and not letter.marketing], by_key
                    )
                crash.point("transmitting")
                round_.grant(letter for letter in round_.asking if letter.key in granted)
            if round_.done:
                crash.point("transmitted")
                yield round_.done

    def _mark(self, keys: list[str]) -> set[str]:
        """The point of no return: these are transmitting, unless somebody cancelled or took them over, or the address was suppressed since."""
        rows = self._connection.execute(
            f"UPDATE outbox AS o SET state = {TRANSMITTING} WHERE key IN (SELECT value FROM json_each(?)) AND state = {CLAIMED} "
            "AND NOT EXISTS (SELECT 1 FROM suppressions s WHERE s.contact_id = o.contact_id AND (o.marketing = 1 OR s.reason != 'unsubscribed') "
            "AND s.channel = (SELECT n.name FROM names n WHERE n.id = o.channel)) RETURNING key",
            (json.dumps(keys),),
        ).fetchall()
        return {key for (key,) in rows}

    def _keep(self, letters: list[Letter], by_key: dict[str, Claim]) -> None:
        """The bytes of transactional letters, so that a resend is the same."""
        self._connection.executemany(
            "INSERT INTO outbox_letters (outbox_id, letter) VALUES (?, ?) ON CONFLICT (outbox_id) DO UPDATE SET letter = excluded.letter",
            [(by_key[letter.key].id, packed(letter)) for letter in letters],
        )

    def _build(self, claims: list[Claim], refused: list[tuple[Claim, str]]) -> Iterator[Letter]:
        """Letters one by one, as the connections take them; what cannot be built is put aside with its reason."""
        for claim in claims:
            kept = None
            if claim.doubts:
                kept = self._connection.execute(
                    "SELECT letter FROM outbox_letters WHERE outbox_id = ?", (claim.id,)
                ).fetchone()
            letter = unpacked(kept[0]) if kept else self._letter(claim)
            if isinstance(letter, Refused):
                refused.append((claim, letter.reason))
            else:
                crash.point("built")
                yield letter

    def _give_coupons(self, claims: list[Claim]) -> None:
        """Codes are the contacts' before a letter that shows them is built: no code can leave twice."""
        wanted: dict[str, list[int]] = {}
        for claim in claims:
            for name in self._runtime.said["messages"].get(claim.message, {}).get("coupons", ()):
                wanted.setdefault(name, []).append(claim.contact_id)
        for name, contacts in wanted.items():
            coupons.give(self._connection, name, contacts, now=self._clock())

    def _letter(self, claim: Claim) -> Letter | Refused:
        message = self._runtime.said["messages"].get(claim.message)
        if message is None:
            return Refused(reason=f"message {claim.message} is gone")
        contact, zone = contact_values(self._connection, claim.contact_id, self._fields)
        trigger, data = self._connection.execute(
            "SELECT trigger, data FROM enrollments WHERE id = ?", (claim.enrollment_id,)
        ).fetchone()
        saved = json.loads(data) if data else {}
        return self._letters.build(
            message,
            channel=claim.channel,
            recipient=claim.recipient,
            key=claim.key,
            now=claim.counted_at,
            contact=contact,
            zone=zone or self._runtime.said["timezone"],
            trigger=json.loads(trigger) if trigger else {},
            data=saved,
            inputs=saved.get("input", {}),
            variant=claim.variant,
            **called(self._connection, message, claim.contact_id, claim.counted_at),
        )

    def _settle(self, claim: Claim, receipt: Receipt, done: Delivered) -> None:
        now = self._clock()
        if receipt.fenced:
            self._release([claim], now)
            return
        match receipt.outcome:
            case "sent":
                self._sent(claim, receipt, now)
                done.sent += 1
            case "in_doubt":
                _doubt(self._connection, claim, receipt.reply, now)
                done.in_doubt += 1
            case "failed":
                self._fail(claim, receipt.reply, now, done)
                if receipt.scope == "address":
                    source = f"{claim.channel} {receipt.reply}"[:200]
                    suppress(
                        self._connection,
                        claim.channel,
                        [claim.recipient],
                        reason="refused",
                        source=source,
                        at=now,
                        now=now,
                    )
            case "retry":
                self._retry(claim, receipt, now, done)

    def _sent(self, claim: Claim, receipt: Receipt, now: int) -> None:
        self._connection.execute(
            f"UPDATE outbox SET state = {SENT}, settled_at = ?, reply = ?, reason = NULL WHERE id = ? AND state = {TRANSMITTING}",
            (now, receipt.reply, claim.id),
        )
        self._connection.execute(
            "INSERT INTO message_events (contact_id, message, status, at, outbox_id, enrollment_id, channel) VALUES (?, ?, 0, ?, ?, ?, ?)",
            (claim.contact_id, claim.message_id, now, claim.id, claim.enrollment_id, claim.channel_id),
        )
        self._forget(claim)
        _wake(self._connection, claim, now)

    def _fail(self, claim: Claim, reason: str, now: int, done: Delivered) -> None:
        """Refused for good; where an earlier attempt may have left, that is all that is known."""
        self._connection.execute(
            f"UPDATE outbox SET {settled(REFUSED)}, reply = :reason, reason = substr(:reason, 1, 200) WHERE id = :id AND state IN (1, 2)",
            {"now": now, "reason": reason, "id": claim.id},
        )
        if claim.doubts:
            done.in_doubt += 1
        else:
            done.failed += 1
            self._forget(claim)
        _note(self._connection, claim, "in_doubt" if claim.doubts else "failed", reason, now)
        _wake(self._connection, claim, now)

    def _forget(self, claim: Claim) -> None:
        """The bytes of a transactional letter that will not be sent again."""
        if not claim.marketing:
            self._connection.execute("DELETE FROM outbox_letters WHERE outbox_id = ?", (claim.id,))

    def _retry(self, claim: Claim, receipt: Receipt, now: int, done: Delivered) -> None:
        ours = receipt.scope == "message"
        if ours and claim.attempts >= ATTEMPTS_MAX:
            self._fail(claim, f"{receipt.reply} ({claim.attempts} attempts)", now, done)
            return
        wait_ms = int((receipt.retry_after_s or 0) * 1000) or (
            BACKOFF_MS << max(0, claim.attempts - 1) if ours else PROVIDER_MS
        )
        self._connection.execute(
            f"UPDATE outbox SET state = {READY}, ready_at = ?, counted_at = NULL, attempts = attempts - ?, "
            "reason = CASE WHEN reason = 'resend' THEN reason ELSE ? END, reply = ? "
            "WHERE id = ? AND state IN (1, 2)",
            (now + wait_ms, int(not ours), "retry" if ours else "provider", receipt.reply, claim.id),
        )
        _note(self._connection, claim, "held", receipt.reply, now)
        done.retried += 1

    def _release(self, claims: Iterable[Claim], now: int) -> None:
        """Claimed but not attempted, because the provider refuses or we are to stop: as if never claimed."""
        self._connection.executemany(
            f"UPDATE outbox SET state = {READY}, ready_at = ?, counted_at = NULL, attempts = attempts - 1, "
            "reason = CASE WHEN reason = 'resend' THEN reason ELSE 'provider' END "
            f"WHERE id = ? AND state = {CLAIMED}",
            [(now if self.stopped else now + PROVIDER_MS, claim.id) for claim in claims],
        )


def called(connection: sqlite3.Connection, message: Mapping[str, Any], contact_id: int, now: int) -> Called:
    """What the templates of a message call for: the contact's codes and newest events, up to `now` (UTC ms)."""
    said: Called = {}
    if message.get("coupons"):
        said["coupons"] = coupons.of(connection, contact_id)
    if message.get("events"):
        from flowctl.store.events import newest  # noqa: PLC0415 - it brings casting, which few ticks need

        said["events"] = {
            name: newest(connection, contact_id, name, count, until=now) for name, count in message["events"].items()
        }
    return said


def packed(letter: Letter) -> str:
    """A letter as JSON, to the byte."""
    from base64 import b64encode  # noqa: PLC0415 - transactional messages only

    said = {name: getattr(letter, name) for name in letter.__slots__ if name != "payload"}
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


def _claim(row: tuple[Any, ...]) -> Claim:
    return Claim(
        id=row[0], contact_id=row[1], enrollment_id=row[2], version_id=row[3], pc=row[4], channel=row[5], channel_id=row[6], message=row[7],
        message_id=row[8], recipient=row[9], marketing=bool(row[10]), key=row[11], counted_at=row[12], attempts=row[13], doubts=row[14], variant=row[15],
    )  # fmt: skip


def _doubt(connection: sqlite3.Connection, claim: Claim, why: str, now: int) -> None:
    """It may have left. Marketing is never sent again; a transactional message once more, after a while, the same to the byte."""
    again = not claim.marketing and claim.doubts + 1 < DOUBTS_MAX
    connection.execute(
        f"UPDATE outbox SET state = ?, ready_at = ?, counted_at = ?, settled_at = ?, doubts = doubts + 1, reason = 'in_doubt', reply = ? "
        f"WHERE id = ? AND state = {TRANSMITTING}",
        (READY, now + RESEND_MS, None, None, why, claim.id)
        if again
        else (IN_DOUBT, None, claim.counted_at, now, why, claim.id),
    )
    _note(connection, claim, "in_doubt", why, now)
    if not again:
        _wake(connection, claim, now)


def _note(connection: sqlite3.Connection, claim: Claim, kind: str, reason: str, now: int) -> None:
    connection.execute(
        "INSERT INTO journal (contact_id, enrollment_id, version_id, pc, at, kind, detail) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (claim.contact_id, claim.enrollment_id, claim.version_id, claim.pc, now, KIND[kind],
         json.dumps({"reason": reason, "message": claim.message, "channel": claim.channel, "key": claim.key})),
    )  # fmt: skip


def _wake(connection: sqlite3.Connection, claim: Claim, now: int) -> None:
    """The contact may go on from the step that sent."""
    connection.execute(
        "UPDATE enrollments SET due_at = ? WHERE id = ? AND ended_at IS NULL AND until_at IS NOT NULL AND pc = ?",
        (now, claim.enrollment_id, claim.pc),
    )
