"""Deliver the outbox: gate, claim, build, transmit, settle; every state change is durable before the world sees its effect."""

from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING

from flowctl import crash
from flowctl.channels.pool import Attempt, sender
from flowctl.engine import restored
from flowctl.engine.backlog import backlog
from flowctl.engine.building import Builder
from flowctl.engine.chunks import Chunks
from flowctl.engine.claims import (
    ATTEMPTS_MAX,
    BARRED,
    CLAIMS,
    MARK_MANY,
    Claim,
    accepted,
    doubt,
    from_row,
    note,
    packed,
    wake,
)
from flowctl.engine.costs import Costs
from flowctl.engine.delivered import Delivered
from flowctl.engine.finish import settled
from flowctl.engine.gate import Gate, Gated
from flowctl.engine.letters import Refused
from flowctl.engine.processes import MANY
from flowctl.engine.runtime import CLAIMED, READY, REFUSED
from flowctl.failure import Failure
from flowctl.store import breakers
from flowctl.store.database import fetched, small_cache, transaction
from flowctl.store.sending import SendingRecord
from flowctl.store.suppressions import suppress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from flowctl.channels.channel import Channel, Letter, Receipt
    from flowctl.channels.pool import Sender
    from flowctl.engine.runtime import Runtime
    from flowctl.store.database import Store

    _Settle = Callable[[Iterable[Attempt]], None]

BACKOFF_MS = 60_000  # doubled at each attempt, of which there are ATTEMPTS_MAX: 1, 2, 4 … 64 minutes
PROVIDER_MS = (
    5 * 60_000
)  # when a message is tried again whose provider may refuse, or may have meant only its recipient
PASSES_MAX = 20  # a pass that reroutes to another channel makes work for the next one


class Delivery:
    """One tick's delivering. `channels` makes a channel by name when the first message for it is claimed.

    `limit` is how many messages may leave, None for all; without `unasked` marketing stops where far more is due than usual.
    """

    def __init__(
        self,
        store: Store,
        runtime: Runtime,
        channels: Callable[[str], Channel],
        clock: Callable[[], int],
        *,
        limit: int | None = None,
        unasked: bool = False,
    ) -> None:
        self._store = store
        self._connection = store.connection
        self._runtime = runtime
        self._make_channel = channels
        self._clock = clock
        self._record = SendingRecord(store)
        self._costs = Costs(store.connection, runtime.said["channels"])
        self._senders: dict[str, Sender] = {}
        self._blocked: dict[int, int] = {}
        self._closing: dict[str, int] = {}  # key of what was claimed → when quiet hours begin for it
        self._on_trial: set[str] = set()
        self._rerouted = False  # whether something went to another channel in this pass
        self._unasked = unasked
        self._builder = Builder(store, runtime, channels)
        self.left = limit
        self.stopped = False

    def run(self) -> Delivered:
        """Everything that may leave now."""
        done = Delivered()
        restored.doubt(self._connection, self._clock())
        ready = (
            f"SELECT count(*) FROM (SELECT 1 FROM outbox INDEXED BY outbox_ready WHERE ready_at <= ? LIMIT {MANY + 1})"
        )
        (count,) = self._connection.execute(ready, (self._clock(),)).fetchone()
        if count == 0:
            return done
        if not self._unasked:
            done.backlog = backlog(self._connection, self._clock())
        self._remember_refusals()
        try:
            if count > MANY and done.backlog is None and (self.left is None or self.left > MANY):
                self._builder.begin()  # they take a tenth of a second, in which the gate judges and claims
            with small_cache(self._connection):
                for _ in range(PASSES_MAX):
                    if not self._pass(done):
                        break
        finally:
            for pool in self._senders.values():
                pool.close()
            self._senders = {}
            self._builder.close()
            self._record.close()
        return done

    def _remember_refusals(self) -> None:
        """Providers that refused everything at an earlier tick: left alone for their time, then tried with one message."""
        now = self._clock()
        for breaker in breakers.breakers(self._connection):
            number = self._runtime.said["channel_ids"].get(breaker.channel)
            if number is not None and breaker.until_at > now:
                self._blocked[number] = breaker.until_at
            elif number is not None:
                self._on_trial.add(breaker.channel)

    def _pass(self, done: Delivered) -> bool:
        """One look at all that is ready; returns whether another look is worth it."""
        self._rerouted = False
        chunks = Chunks(self._claimed(done))
        for claims in chunks:
            channels = dict.fromkeys(claim.channel for claim in claims)
            for channel in channels:
                mine = [claim for claim in claims if claim.channel == channel]
                self._send(channel, mine, done, chunks if len(channels) == 1 else None)
        return self._rerouted and not self._over()

    def _over(self) -> bool:
        return self.stopped or self.left == 0

    def _claimed(self, done: Delivered) -> Iterator[list[Claim]]:
        """What the gate claims, a chunk at a time."""
        gate = Gate(self._connection, self._runtime, self._clock())
        for start, stop in gate.chunks(stopped=done.backlog is not None):
            if self._over():
                return
            gated, claims = self._judged(gate, start, stop, done)
            crash.point("claimed")
            done.held += gated.held
            done.skipped += gated.skipped
            done.cancelled += gated.cancelled
            self._rerouted = self._rerouted or gated.rerouted > 0
            if claims:
                yield claims

    def _judged(self, gate: Gate, start: int, stop: int, done: Delivered) -> tuple[Gated, list[Claim]]:
        """What the gate says of one chunk, and what it claimed; where a row cannot be judged, halves, down to the row, which fails."""
        try:
            with transaction(self._connection):
                gated = gate.judge(start, stop, blocked=self._blocked)
                # In the order in which the caps gave room: it does not depend on how the rows came to lie.
                rows = fetched(
                    self._connection,
                    f"{CLAIMS} WHERE o.id IN (SELECT id FROM gate WHERE verdict IS NULL) AND o.state = {CLAIMED} "
                    "ORDER BY o.marketing, o.priority DESC, o.arrived_at, o.id",
                )
                claims = self._within_limit([*map(from_row, rows)])
                self._closing |= gate.closing()
        except (sqlite3.Error, ValueError, ArithmeticError) as fault:  # what a row's values make SQLite or Python raise
            if stop - start <= 1:
                self._reject(start, str(fault), done)
                return Gated(), []
            middle = (start + stop) // 2
            gated, claims = self._judged(gate, start, middle, done)
            other, more = self._judged(gate, middle, stop, done)
            return gated + other, claims + more
        return gated, claims

    def _reject(self, place: int, fault: str, done: Delivered) -> None:
        """Fail the one row of a chunk that the gate cannot judge; its contact goes on."""
        now, reason = self._clock(), f"error: {fault}"[:200]
        with transaction(self._connection):
            row = self._connection.execute(
                f"UPDATE outbox SET {settled(REFUSED)}, reply = :reason, reason = :reason "
                "WHERE id = (SELECT id FROM ready WHERE place = :place) AND state = 0 RETURNING id",
                {"now": now, "reason": reason, "place": place + 1},
            ).fetchone()
            if row is not None:
                claim = from_row(self._connection.execute(f"{CLAIMS} WHERE o.id = ?", row).fetchone())
                note(self._connection, claim, "in_doubt" if claim.doubts else "failed", reason, now)
                wake(self._connection, claim, now)
                done.failed += 1

    def _within_limit(self, claims: list[Claim]) -> list[Claim]:
        if self.left is None:
            return claims
        claims, over = claims[: self.left], claims[self.left :]
        self.left -= len(claims)
        self._release(over, self._clock())
        return claims

    def _send(self, name: str, claims: list[Claim], done: Delivered, chunks: Chunks | None) -> None:
        if self.stopped:
            with transaction(self._connection):
                self._release(claims, self._clock())
            return
        try:
            channel = self._make_channel(name)
        except Failure as failure:
            # Its settings, not its provider: the wait does not grow.
            self._refused(claims[0], failure.message, PROVIDER_MS, done)
            with transaction(self._connection):
                self._release(claims, self._clock())
            return
        if name in self._on_trial:
            claims = self._try(name, channel, claims, done)
        if claims:
            self._hand_out(name, channel, claims, done, chunks)

    def _try(self, name: str, channel: Channel, claims: list[Claim], done: Delivered) -> list[Claim]:
        """One message tells whether a provider that refused everything takes them again; returns those that may follow it."""
        for nth, claim in enumerate(claims, 1):
            receipt = self._hand_out(name, channel, [claim], done)
            if receipt is None:  # it could not be built, or somebody took it back
                continue
            if receipt.opens_breaker or receipt.outcome == "in_doubt":
                if claim.channel_id not in self._blocked:
                    self._refused(claim, receipt.reply, int((receipt.retry_after_s or 0) * 1000), done)
                with transaction(self._connection):
                    self._release(claims[nth:], self._clock())
                return []
            self._on_trial.discard(name)
            breakers.taken(self._connection, name)
            return claims[nth:]
        return []

    def _hand_out(
        self, name: str, channel: Channel, claims: list[Claim], done: Delivered, chunks: Chunks | None = None
    ) -> Receipt | None:
        """Send what is claimed, and what `chunks` claim next; settle each, release what was not attempted; returns the last receipt."""
        by_key = {claim.key: claim for claim in claims}  # at once: what nobody asks for is to be released, too
        refused: list[tuple[Claim, str]] = []
        last: Receipt | None = None
        inline = getattr(channel, "inline", False)
        flow = self._flow(name, claims, None if inline else chunks, by_key)
        letters = self._build(flow, refused, many=len(claims) > MANY and not inline)
        costly = self._costs.counted(name)

        def settle(attempts: Iterable[Attempt]) -> None:
            nonlocal last
            self._heed(name, claims, done)
            sent: list[tuple[Claim, Receipt]] = []
            for attempt in attempts:
                letter, receipt = attempt.letter, attempt.receipt
                claim = by_key.pop(letter.key)
                if receipt.outcome == "sent":
                    sent.append((claim, receipt))
                    last = receipt
                else:
                    self._settle(claim, receipt, done)
                    if not receipt.fenced:
                        last = receipt
                if costly:
                    self._costs.note(claim.id, claim.contact_id, letter, receipt)
                if self._closing:
                    self._closing.pop(letter.key, None)
            self._sent(sent, self._clock())
            done.sent += len(sent)
            self._fail_all(refused, by_key, done)

        if inline:
            self._inline(channel, letters, by_key, settle)
        else:
            self._pooled(name, channel, letters, by_key, settle)
        with transaction(self._connection):
            self._heed(name, claims, done)
            self._fail_all(refused, by_key, done)
            self._release(by_key.values(), self._clock())
        for key in by_key:
            self._closing.pop(key, None)
        return last

    def _flow(self, name: str, claims: list[Claim], chunks: Chunks | None, by_key: dict[str, Claim]) -> Iterator[Claim]:
        """Claims on their way to their letters, noted in `by_key`; further chunks as long as the channel takes letters."""
        following = chunks.following(name, fits=self._builder.is_plain) if chunks else iter(())
        more: list[Claim] | None = claims
        while more is not None:
            by_key |= {claim.key: claim for claim in more}
            self._builder.give_codes(more, now=self._clock())
            yield from more
            pool = self._senders.get(name)
            more = None if pool and pool.refusal else next(following, None)

    def _fail_all(self, refused: list[tuple[Claim, str]], by_key: dict[str, Claim], done: Delivered) -> None:
        now = self._clock()
        for claim, reason in refused:
            by_key.pop(claim.key, None)
            self._closing.pop(claim.key, None)
            self._fail(claim, reason, now, done)
        refused.clear()

    def _heed(self, name: str, claims: list[Claim], done: Delivered) -> None:
        """Remember it where a channel's provider has begun to refuse everything."""
        pool = self._senders.get(name)
        if pool and pool.refusal and claims and claims[0].channel_id not in self._blocked:
            self._refused(claims[0], pool.refusal.reply, int((pool.refusal.retry_after_s or 0) * 1000), done)

    def _refused(self, claim: Claim, reply: str, wait_ms: int, done: Delivered) -> None:
        """A channel takes nothing for now: the others go on."""
        self._blocked[claim.channel_id] = breakers.refused(
            self._connection, claim.channel, reply, wait_ms=wait_ms, now=self._clock()
        )
        done.refusals[claim.channel] = reply

    def _inline(self, channel: Channel, letters: Iterable[Letter], by_key: dict[str, Claim], settle: _Settle) -> None:
        """A channel that answers at once, as the inbox and simulate's and test's: one transaction for all."""
        line = channel.open()
        built = list(letters)
        if not built:
            return
        with transaction(self._connection):
            granted, batch = self._mark(built, by_key)
            # In the same transaction: what the inbox holds is transmitting or settled, whatever ends the process.
            attempts = [
                Attempt(letter=letter, receipt=line.transmit(letter, lambda key=letter.key: key in granted))  # type: ignore[misc]  # a Commit
                for letter in built
            ]
        if granted:
            self._record.write(batch, self._clock())
        with transaction(self._connection):
            settle(attempts)
        crash.point("settled")

    def _pooled(
        self, name: str, channel: Channel, letters: Iterable[Letter], by_key: dict[str, Claim], settle: _Settle
    ) -> None:
        """Several connections at once. What is over and what asks to leave share a transaction: its commit is most of a round."""
        pool = self._senders.get(name) or self._senders.setdefault(name, sender(channel))
        if len(by_key) > MANY:
            pool.expect(len(by_key))
        for round_ in pool.rounds(letters):
            if self.stopped:
                pool.stop()
            if round_.done:
                crash.point("transmitted")
            granted: set[str] = set()
            with transaction(self._connection):
                if round_.done:
                    settle(round_.done)
                if round_.asking:
                    granted, batch = self._mark(round_.asking, by_key)
            if round_.done:
                crash.point("settled")
            if round_.asking:
                if granted:
                    self._record.write(batch, self._clock())
                crash.point("transmitting")
                round_.grant(letter for letter in round_.asking if letter.key in granted)

    def _mark(self, letters: Sequence[Letter], by_key: Mapping[str, Claim]) -> tuple[set[str], int]:
        """The point of no return: these are transmitting, unless somebody cancelled or took them over, or the address was suppressed since.

        Returns the keys of those, and the number of their batch for the sending record.
        """
        open_ = [letter for letter in letters if not self._closed(letter.key)] if self._closing else letters
        asking = {by_key[letter.key].id: letter for letter in open_}
        numbers = json.dumps(list(asking))
        if barred := self._connection.execute(BARRED, (numbers,)).fetchall():
            for (number,) in barred:
                asking.pop(number, None)
            numbers = json.dumps(list(asking))
        if not asking:
            return set(), 0
        self._connection.execute(MARK_MANY, (numbers,))
        granted = asking.values()
        transactional = [letter for letter in granted if not letter.marketing]
        if transactional:
            self._keep(transactional, by_key)
        batch = self._record.count(len(granted) - len(transactional), self._clock())
        return {letter.key for letter in granted}, batch

    def _closed(self, key: str) -> bool:
        """Whether quiet hours began since the message was claimed: a slow provider must not carry it into the night."""
        closes_at = self._closing.get(key)
        return closes_at is not None and closes_at <= self._clock()

    def _keep(self, letters: list[Letter], by_key: Mapping[str, Claim]) -> None:
        """The bytes of transactional letters, so that a resend is the same."""
        self._connection.executemany(
            "INSERT INTO outbox_letters (outbox_id, letter) VALUES (?, ?) ON CONFLICT (outbox_id) DO UPDATE SET letter = excluded.letter",
            [(by_key[letter.key].id, packed(letter)) for letter in letters],
        )

    def _build(self, claims: Iterable[Claim], refused: list[tuple[Claim, str]], *, many: bool) -> Iterator[Letter]:
        """Letters one by one, as the connections take them; what cannot be built is put aside with its reason."""
        for claim, letter in self._builder.letters(claims, many=many):
            if self._closing and self._closed(claim.key):
                continue  # released with what was not attempted
            if isinstance(letter, Refused):
                refused.append((claim, letter.reason))
            else:
                crash.point("built")
                yield letter

    def _settle(self, claim: Claim, receipt: Receipt, done: Delivered) -> None:
        now = self._clock()
        if receipt.fenced:
            self._release([claim], now)
            return
        match receipt.outcome:
            case "in_doubt":
                doubt(self._connection, claim, receipt.reply, now)
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

    def _sent(self, sent: list[tuple[Claim, Receipt]], now: int) -> None:
        """The server accepted these."""
        if not sent:
            return
        accepted(self._connection, sent, now)
        self._forget(claim for claim, _ in sent)

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
            self._forget([claim])
        note(self._connection, claim, "in_doubt" if claim.doubts else "failed", reason, now)
        wake(self._connection, claim, now)

    def _forget(self, claims: Iterable[Claim]) -> None:
        """The bytes of transactional letters that will not be sent again."""
        numbers = [claim.id for claim in claims if not claim.marketing]
        if numbers:
            self._connection.execute(
                "DELETE FROM outbox_letters WHERE outbox_id IN (SELECT value FROM json_each(?))", (json.dumps(numbers),)
            )

    def _retry(self, claim: Claim, receipt: Receipt, now: int, done: Delivered) -> None:
        ours = receipt.scope == "message"
        if ours and claim.attempts >= ATTEMPTS_MAX:
            self._fail(claim, f"{receipt.reply} ({claim.attempts} attempts)", now, done)
            return
        wait_ms = int((receipt.retry_after_s or 0) * 1000) or (
            BACKOFF_MS << max(0, claim.attempts - 1)
            if ours
            else self._blocked.get(claim.channel_id, now + PROVIDER_MS) - now
        )
        self._connection.execute(
            f"UPDATE outbox SET state = {READY}, ready_at = ?, counted_at = NULL, attempts = attempts - ?, doubts = doubts + ?, "
            "reason = CASE WHEN reason = 'resend' THEN reason ELSE ? END, reply = ? "
            "WHERE id = ? AND state IN (1, 2)",
            (
                now + wait_ms,
                int(not ours),
                int(receipt.may_have_left),
                "retry" if ours else "provider",
                receipt.reply,
                claim.id,
            ),
        )
        note(self._connection, claim, "held", receipt.reply, now)
        done.retried += 1

    def _release(self, claims: Iterable[Claim], now: int) -> None:
        """Claimed but not attempted, because the provider refuses or we are to stop: as if never claimed."""
        stopping = self.stopped or self.left == 0
        self._connection.executemany(
            f"UPDATE outbox SET state = {READY}, ready_at = ?, counted_at = NULL, attempts = attempts - 1, "
            "reason = CASE WHEN reason = 'resend' THEN reason ELSE ? END "
            f"WHERE id = ? AND state = {CLAIMED}",
            [
                (until, "provider", claim.id)
                if (until := self._blocked.get(claim.channel_id))
                else (now if stopping or self._closed(claim.key) else now + PROVIDER_MS, None, claim.id)
                for claim in claims
            ],
        )
