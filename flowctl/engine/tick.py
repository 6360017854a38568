"""A tick: observe, exit, enrol, advance, deliver; replayed in slices of time where it comes late."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from flowctl import crash
from flowctl.engine.advance import advance
from flowctl.engine.claims import keyed, recover
from flowctl.engine.deliver import Delivery
from flowctl.engine.enrol import EVERYBODY, enrol, turn_away, waiting
from flowctl.engine.finish import judge_changed, judge_fresh, wake
from flowctl.engine.guards import watch
from flowctl.engine.horizon import Horizon
from flowctl.engine.observe import advance_cursors, new_facts, observe
from flowctl.engine.runtime import COMPILER, load
from flowctl.engine.scoring import Scoring
from flowctl.engine.slices import Slice
from flowctl.engine.triggers import Look
from flowctl.engine.triggers import kind_of as trigger_kind
from flowctl.failure import Failure
from flowctl.store.database import transaction
from flowctl.store.locking import exclusive
from flowctl.store.sending import SendingRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from flowctl.channels.channel import Channel
    from flowctl.engine.backlog import Backlog
    from flowctl.engine.runtime import Experiment, Runtime
    from flowctl.store.database import Store

FETCH_S = 120.0  # what a tick spends on services; the rest is asked by the next one
SLICE_MS = 300_000  # a late tick is replayed as if cron had run every five minutes
LOOKS_MAX = 200  # looks at one instant: scores and segments may move each other, and without end only by a slip
# Whether somebody is about to enter or due.
_UNFINISHED = "SELECT EXISTS (SELECT 1 FROM entries) OR EXISTS (SELECT 1 FROM enrollments WHERE due_at <= ?)"
CLOCK_BEHIND_MS_MAX = (
    86_400_000  # beyond this somebody must look: in a time that stands still for long, what arrives expires
)
CUTS_MAX = 8  # in busier slices what is due and what happens meet in the order of the slice: exits, entries, steps
_ANY_DUE = "SELECT 1 FROM enrollments WHERE due_at > :start AND due_at < :end LIMIT 1"
# The `+`: by its contact, or SQLite might read all that is due for each event.
_DUE_BEFORE_EVENT = (
    "SELECT min(e.at) FROM event_types t CROSS JOIN events e ON e.type = t.id AND e.at > :start AND e.at <= :end "
    "WHERE EXISTS (SELECT 1 FROM enrollments n WHERE n.contact_id = e.contact_id AND n.ended_at IS NULL "
    "AND +n.due_at > :start AND +n.due_at < e.at)"
)
ROUNDS_MAX = 100  # steps and deliveries may make new facts; more rounds than this is a cycle


@dataclass(kw_only=True)
class TickReport:
    """What a tick did, in counts."""

    now: int
    slices: int = 0
    transitions: int = 0
    entered: int = 0
    advanced: int = 0
    ended: int = 0
    sent: int = 0
    notified: int = 0
    pushed: int = 0  # records that services were told of
    held: int = 0
    skipped: int = 0
    retried: int = 0
    failed: int = 0
    in_doubt: int = 0
    recovered: int = 0
    unfinished: int = 0  # slices in which one thing led to another without end
    clock_behind_ms: int = 0
    refusals: dict[str, str] = field(default_factory=dict)
    guarded: dict[str, str] = field(default_factory=dict)  # workflow → the guard that it exceeded
    backlog: Backlog | None = None  # marketing that did not leave because far more is due than usual
    stopped: bool = False  # it was asked to end before everything was done


class _Stopped(Exception):
    """Somebody asked the tick to end; raised between transactions, where a crash would lose nothing either."""


def tick(
    store: Store,
    *,
    now: int | None = None,
    channels: Mapping[str, Channel] | None = None,
    slice_ms: int = SLICE_MS,
    clock: Callable[[], int] | None = None,
    on_delivery: Callable[[Delivery], None] | None = None,
    experiment: Experiment | None = None,
    prepared: Prepared | None = None,
    base: Path | None = None,
    limit: int | None = None,
    unasked: bool = False,
    stopped: Callable[[], bool] | None = None,
) -> TickReport:
    """Run one batch: everything that is due at `now` (UTC ms; `clock` tells how it goes on while messages leave).

    `prepared` spares loading a release again that cannot have changed. `limit` is how many messages may leave. Without `unasked`, marketing stops where far more is due than usual. When `stopped` says so, the tick ends after the batch in hand, and the next one goes on.

    Raises:
        Busy: another tick runs.
        NotTheNewest: the store is a restored copy that nobody adopted.
        Failure: nothing was applied yet, or a channel cannot be made.
    """
    from flowctl.engine.adapters import channel_maker  # noqa: PLC0415 - only where none are handed in
    from flowctl.store.inbox import Shelf  # noqa: PLC0415 - the same

    with exclusive(store):
        SendingRecord(store).check()
        prepared = prepared or prepare(store, experiment)
        fixed = now if now is not None else 0
        read_clock = clock or (lambda: fixed)
        made: Callable[[str], Channel]
        if channels is None:
            made = channel_maker(prepared.runtime, base or _folder(store), Shelf(store.connection, read_clock))
        else:
            made = channels.__getitem__
        wishes = _Wishes(limit=limit, unasked=unasked, stopped=stopped or _never)
        return _Tick(store, prepared, made, read_clock, slice_ms, on_delivery, wishes).run()


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """What a tick loads, and what the next one of the same process may go on with while nobody applies, pauses or resumes."""

    runtime: Runtime
    horizon: Horizon


def prepare(store: Store, experiment: Experiment | None = None) -> Prepared:
    """Load the newest release.

    Raises:
        Failure: nothing was applied yet.
    """
    _recompile(store.connection)
    runtime = load(store.connection)
    if runtime is None:
        message = "nothing was applied to this store yet"
        raise Failure(message, help="run `flowctl apply` first")
    runtime = replace(runtime, experiment=experiment)
    return Prepared(runtime=runtime, horizon=Horizon(store.connection, runtime))


@dataclass(kw_only=True)
class _Wishes:
    """What the caller asked for; `limit` counts down as messages leave."""

    limit: int | None
    unasked: bool
    stopped: Callable[[], bool]


def _never() -> bool:
    return False


def _folder(store: Store) -> Path:
    """Where the store lies: in the project's folder, unless somebody put it elsewhere."""
    return store.path.parent if store.path else Path()


def _recompile(connection: sqlite3.Connection) -> None:
    """After an upgrade of flowctl, make what it compiled before anew; else one small look."""
    row = connection.execute("SELECT compiler FROM releases ORDER BY id DESC LIMIT 1").fetchone()
    if row is not None and row[0] != COMPILER:
        from flowctl.engine.apply import recompile  # noqa: PLC0415 - models and YAML, which a tick does without

        recompile(connection)


class _Tick:
    """One run under the lock."""

    def __init__(
        self,
        store: Store,
        prepared: Prepared,
        channels: Callable[[str], Channel],
        clock: Callable[[], int],
        slice_ms: int,
        on_delivery: Callable[[Delivery], None] | None,
        wishes: _Wishes,
    ) -> None:
        self._store = store
        self._wishes = wishes
        self._connection = store.connection
        self._runtime = prepared.runtime
        self._channels = channels
        self._clock = clock
        self._slice_ms = slice_ms
        self._on_delivery = on_delivery
        self._horizon = prepared.horizon
        self._fetch_until_s = 0.0
        self._report = TickReport(now=clock())

    def run(self) -> TickReport:
        try:
            self._run()
        except _Stopped:
            self._report.stopped = True
        return self._report

    def _point(self, name: str) -> None:
        """Between two transactions: where a crash test may kill the process, an order to stop is obeyed."""
        crash.point(name)
        if self._wishes.stopped():
            raise _Stopped

    def _run(self) -> None:
        now = self._clock()
        again, doubtful = recover(self._connection, now, keyed(self._runtime.said["channels"]))
        self._report.recovered = again + doubtful
        self._report.in_doubt += doubtful
        last = _cursor(self._connection, "tick")
        if last - now > CLOCK_BEHIND_MS_MAX:
            raise _wrong_clock(last - now)
        if now < last:
            # A clock that jumped back: time stands still until it has caught up, so that nothing happens twice.
            self._report.clock_behind_ms = last - now
            now = last
        if _cursor(self._connection, "finished") < last:
            # An earlier tick died in this slice: it is finished as of then, or conditions would be asked of a later world.
            self._slice(last)
        for end in self._ends(last, now):
            for cut in self._cuts(end):
                self._slice(cut)
            self._slice(end)
        for _ in range(ROUNDS_MAX):
            if not self._deliver():
                break
            self._slice(max(self._clock(), now))
        self._notify()
        self._push()

    def _ends(self, last: int, now: int) -> Iterator[int]:
        """Ends of slices: multiples of the slice length, so that a late tick cuts time as ticks on time would; `now` at the end.

        Slices in which nothing can happen are passed over. What arrived since the last tick is looked at in the first one.
        """
        if now - last > self._slice_ms:
            first = last // self._slice_ms * self._slice_ms + self._slice_ms
            yield first
            last = first
        while now - last > self._slice_ms:
            # A slice ends at or after what happens in it.
            last = -(-self._horizon.next(last) // self._slice_ms) * self._slice_ms
            if last >= now:
                break
            yield last
        yield now

    def _cuts(self, end: int) -> Iterator[int]:
        """Instants at which the slice up to `end` is cut, so that an event finds what was due before it done: just before such events."""
        start = _cursor(self._connection, "tick")
        for _ in range(CUTS_MAX):
            between = {"start": start, "end": end}
            if self._connection.execute(_ANY_DUE, between).fetchone() is None:
                return
            (at,) = self._connection.execute(_DUE_BEFORE_EVENT, between).fetchone()
            if at is None:
                return
            start = at - 1
            yield start

    def _slice(self, end: int) -> None:
        """Everything but sending, up to one instant, until nothing more follows from it."""
        self._report.slices += 1
        new = True
        left, first = ROUNDS_MAX, True
        while left > 0:
            looks = 0
            while new and looks < LOOKS_MAX:
                new = self._observe(end)
                looks += 1
            if first:  # facts that came together take a round each where they concern one contact
                left += self._connection.execute("SELECT count(*) FROM entries").fetchone()[0]
                first = False
            left -= 1
            entered, consumed = self._enrol(end)
            advanced = advance(self._connection, self._runtime, end, stopped=self._wishes.stopped)
            fetched = self._fetch(end)
            self._report.advanced += advanced.rows
            self._report.failed += advanced.failed
            self._point("advanced")
            new = advanced.facts > 0 or entered > 0
            if not (new or advanced.rows or fetched or (consumed and waiting(self._connection))):
                self._finish(end)
                return
        # A cycle without time. Everybody else must not wait for it: it goes on where it stopped, at the next slice.
        self._report.unfinished += 1

    def _observe(self, end: int) -> bool:
        """Facts, segments, exits, wakings and triggers of one slice, with the cursors that say so, in one transaction.

        Returns whether there are more facts than one look takes in hand.
        """
        connection = self._connection
        with transaction(connection):
            start = min(_cursor(connection, "tick"), end)
            facts = new_facts(connection, start, end)
            if facts.statuses:
                self._report.guarded |= watch(connection, self._runtime, end)
            self._horizon.renew()
            slice_ = Slice(connection, facts, self._horizon)
            scoring = Scoring(slice_=slice_, scores=self._runtime.said["scores"])
            scored = scoring.follow() if facts.any else 0
            moved = observe(slice_, self._runtime.segments)
            scored += scoring.score() if facts.any or moved else 0
            self._report.transitions += moved
            self._report.ended += judge_changed(slice_, self._runtime)
            wake(slice_, self._runtime)
            self._collect(Look(slice_=slice_, horizon=self._horizon))
            advance_cursors(connection)
            connection.execute("UPDATE cursors SET value = max(value, ?) WHERE name = 'tick'", (end,))
            if not (facts.more or scored or connection.execute(_UNFINISHED, (end,)).fetchone()[0]):
                self._finish(end)  # most slices: no transaction of its own
        self._point("observed")
        # What was scored is a change of a field, for the next look at the same instant.
        return facts.more or scored > 0

    def _finish(self, end: int) -> None:
        if _cursor(self._connection, "finished") < end:
            with transaction(self._connection):
                self._connection.execute(
                    "INSERT INTO cursors (name, value) VALUES ('finished', ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                    (end,),
                )

    def _collect(self, look: Look) -> None:
        for entrance in self._runtime.entrances:
            if not self._runtime.admits(entrance.workflow):
                continue
            for said in entrance.triggers:
                kind = trigger_kind(said["kind"])
                if kind is not None:
                    kind.collect(look, entrance, said)

    def _enrol(self, end: int) -> tuple[int, int]:
        if not waiting(self._connection):
            return 0, 0
        entered, consumed = self._enrol_among(end, *EVERYBODY)
        self._report.entered += entered
        self._point("enrolled")
        return entered, consumed

    def _enrol_among(self, end: int, low: int, high: int) -> tuple[int, int]:
        """Enrol contacts of a range of ids; where one cannot be judged, halves, down to that contact, who is turned away."""
        connection = self._connection
        try:
            with transaction(connection):
                (after,) = connection.execute("SELECT coalesce(max(id), 0) FROM enrollments").fetchone()
                entered, consumed = enrol(connection, self._runtime, end, contacts=(low, high))
                ended = judge_fresh(connection, self._runtime, after, end) if entered else 0
        except (sqlite3.Error, ValueError, ArithmeticError) as fault:  # what a row's values make SQLite or Python raise
            low, high = connection.execute(
                "SELECT min(contact_id), max(contact_id) FROM entries WHERE contact_id BETWEEN ? AND ?", (low, high)
            ).fetchone()
            if low is None:
                raise
            if low == high:
                with transaction(connection):
                    return 0, turn_away(connection, low, f"error: {fault}"[:200], end)
            middle = (low + high) // 2
            entered, consumed = self._enrol_among(end, low, middle)
            more, also = self._enrol_among(end, middle + 1, high)
            return entered + more, consumed + also
        self._report.ended += ended
        return entered, consumed

    def _fetch(self, end: int) -> int:
        """Ask services for who waits, outside any transaction; in an experiment the network is not asked."""
        if self._connection.execute("SELECT 1 FROM fetches WHERE ready_at <= ? LIMIT 1", (end,)).fetchone() is None:
            return 0
        from flowctl.engine.fetching import fetch_waiting, take_samples  # noqa: PLC0415 - http.client, only where it is used

        if self._runtime.experiment is not None:
            return take_samples(self._connection, end)
        self._fetch_until_s = self._fetch_until_s or monotonic() + FETCH_S
        return fetch_waiting(self._connection, self._runtime, end, until_s=self._fetch_until_s)

    def _notify(self) -> None:
        """Tell the own people."""
        asked = "SELECT 1 FROM notices WHERE ready_at <= ?1 UNION ALL SELECT 1 FROM notices WHERE state = 1 LIMIT 1"
        if self._connection.execute(asked, (self._clock(),)).fetchone() is None:
            return
        from flowctl.engine.notices import send_notices  # noqa: PLC0415 - the same

        done = send_notices(self._store, self._runtime, self._channels, self._clock)
        self._report.notified += done.sent
        self._report.refusals |= done.refusals

    def _push(self) -> None:
        """Tell services of new records."""
        asked = "SELECT 1 FROM record_pushes WHERE ready_at <= ? LIMIT 1"
        if self._connection.execute(asked, (self._clock(),)).fetchone() is None:
            return
        from flowctl.engine.pushes import push_records  # noqa: PLC0415 - http.client, only where it is used

        done = push_records(self._store, self._runtime, self._clock)
        self._report.pushed += done.pushed
        self._report.refusals |= done.refusals or {}

    def _deliver(self) -> bool:
        """Send what is ready; returns whether somebody may go on because of it."""
        delivery = Delivery(
            self._store,
            self._runtime,
            self._channels,
            self._clock,
            limit=self._wishes.limit,
            unasked=self._wishes.unasked,
        )
        if self._on_delivery:
            self._on_delivery(delivery)
        done = delivery.run()
        self._wishes.limit = delivery.left
        report = self._report
        report.sent += done.sent
        report.held += done.held
        report.skipped += done.skipped
        report.retried += done.retried
        report.failed += done.failed
        report.in_doubt += done.in_doubt
        report.refusals |= done.refusals
        report.backlog = done.backlog or report.backlog
        report.stopped = delivery.stopped
        self._point("delivered")
        return done.settled > 0 and not delivery.stopped


def _wrong_clock(behind_ms: int) -> Failure:
    message = (
        f"the clock is {behind_ms / 86_400_000:.1f} days behind the last tick: it is wrong now, or it was wrong then"
    )
    return Failure(
        message,
        help="if now: set it, `timedatectl` shows it. If then: restore a backup from before that tick, then `flowctl store adopt`",
    )


def _cursor(connection: sqlite3.Connection, name: str) -> int:
    row = connection.execute("SELECT value FROM cursors WHERE name = ?", (name,)).fetchone()
    return int(row[0]) if row else 0
