"""A tick: observe, exit, enrol, advance, deliver; replayed in slices of time where it comes late."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from flowctl import crash
from flowctl.engine.advance import advance
from flowctl.engine.deliver import Delivery, recover
from flowctl.engine.enrol import enrol, waiting
from flowctl.engine.finish import judge_changed, judge_fresh, probes, wake
from flowctl.engine.guards import watch
from flowctl.engine.horizon import Horizon
from flowctl.engine.observe import advance_cursors, new_facts, observe
from flowctl.engine.runtime import COMPILER, load
from flowctl.engine.scoring import Scoring
from flowctl.engine.triggers import Look
from flowctl.engine.triggers import kind_of as trigger_kind
from flowctl.failure import Failure
from flowctl.store.database import transaction
from flowctl.store.locking import exclusive

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator, Mapping

    from flowctl.channels.channel import Channel
    from flowctl.engine.runtime import Experiment, Runtime
    from flowctl.engine.segments import Probe
    from flowctl.store.database import Store

FETCH_S = 120.0  # what a tick spends on services; the rest is asked by the next one
SLICE_MS = 300_000  # a late tick is replayed as if cron had run every five minutes
LOOKS_MAX = 200  # looks at one instant: scores and segments may move each other, and without end only by a slip
# Whether somebody is about to enter or due.
_UNFINISHED = "SELECT EXISTS (SELECT 1 FROM entries) OR EXISTS (SELECT 1 FROM enrollments WHERE due_at <= ?)"
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


def tick(
    store: Store,
    *,
    now: int | None = None,
    channels: Mapping[str, Channel] | None = None,
    slice_ms: int = SLICE_MS,
    clock: Callable[[], int] | None = None,
    on_delivery: Callable[[Delivery], None] | None = None,
    experiment: Experiment | None = None,
    base: Path | None = None,
) -> TickReport:
    """Run one batch: everything that is due at `now` (UTC ms; `clock` tells how it goes on while messages leave).

    Raises:
        Busy: another tick runs.
        Failure: nothing was applied yet, or a channel cannot be made.
    """
    from flowctl.engine.adapters import channel_maker  # noqa: PLC0415 - only where none are handed in

    with exclusive(store):
        _recompile(store.connection)
        runtime = load(store.connection)
        if runtime is None:
            message = "nothing was applied to this store yet"
            raise Failure(message, help="run `flowctl apply` first")
        if experiment is not None:
            runtime = replace(runtime, experiment=experiment)
        fixed = now if now is not None else 0
        read_clock = clock or (lambda: fixed)
        made = channel_maker(runtime, base or _folder(store)) if channels is None else channels.__getitem__
        return _Tick(store, runtime, made, read_clock, slice_ms, on_delivery).run()


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
        runtime: Runtime,
        channels: Callable[[str], Channel],
        clock: Callable[[], int],
        slice_ms: int,
        on_delivery: Callable[[Delivery], None] | None,
    ) -> None:
        self._store = store
        self._connection = store.connection
        self._runtime = runtime
        self._channels = channels
        self._clock = clock
        self._slice_ms = slice_ms
        self._on_delivery = on_delivery
        self._segments = runtime.segments
        self._fetch_until_s = 0.0
        self._report = TickReport(now=clock())

    def run(self) -> TickReport:
        now = self._clock()
        again, doubtful = recover(self._connection, now)
        self._report.recovered = again + doubtful
        self._report.in_doubt += doubtful
        last = _cursor(self._connection, "tick")
        if now < last:
            # A clock that jumped back: time stands still until it has caught up, so that nothing happens twice.
            self._report.clock_behind_ms = last - now
            now = last
        if _cursor(self._connection, "finished") < last:
            # An earlier tick died in this slice: it is finished as of then, or conditions would be asked of a later world.
            self._slice(last)
        for end in self._ends(last, now):
            self._slice(end)
        for _ in range(ROUNDS_MAX):
            if not self._deliver():
                break
            self._slice(max(self._clock(), now))
        self._notify()
        return self._report

    def _ends(self, last: int, now: int) -> Iterator[int]:
        """Ends of slices: multiples of the slice length, so that a late tick cuts time as ticks on time would; `now` at the end.

        Slices in which nothing can happen are passed over. What arrived since the last tick is looked at in the first one.
        """
        if now - last > self._slice_ms:
            first = last // self._slice_ms * self._slice_ms + self._slice_ms
            yield first
            last = first
        horizon = Horizon(self._connection, self._runtime, self._probes()) if now - last > self._slice_ms else None
        while horizon is not None:
            # A slice ends at or after what happens in it.
            last = -(-horizon.next(last) // self._slice_ms) * self._slice_ms
            if last >= now:
                break
            yield last
        yield now

    def _probes(self) -> Iterator[Probe]:
        """What judges conditions by time: of segments, goals and exits."""
        for plan in self._segments:
            yield from plan.probes
        yield from probes(self._runtime)

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
            advanced = advance(self._connection, self._runtime, end)
            fetched = self._fetch(end)
            self._report.advanced += advanced.rows
            self._report.failed += advanced.failed
            crash.point("advanced")
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
            transitions_from = _cursor(connection, "transitions")
            scoring = Scoring(
                connection=connection, scores=self._runtime.said["scores"], t1=end, transitions_from=transitions_from
            )
            scored = scoring.follow() if facts.any else 0
            moved = observe(connection, self._segments, start, end)
            scored += scoring.score() if facts.any or moved else 0
            self._report.transitions += moved
            self._report.ended += judge_changed(connection, self._runtime, start, end)
            wake(connection, self._runtime, start, end)
            (events_to,) = connection.execute("SELECT value FROM fact_cursors WHERE name = 'events'").fetchone()
            self._collect(
                Look(connection=connection, t0=start, t1=end, events_to=events_to, transitions_from=transitions_from)
            )
            advance_cursors(connection)
            connection.execute("UPDATE cursors SET value = max(value, ?) WHERE name = 'tick'", (end,))
            if not (facts.more or scored or connection.execute(_UNFINISHED, (end,)).fetchone()[0]):
                self._finish(end)  # most slices: no transaction of its own
        crash.point("observed")
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
        with transaction(self._connection):
            (after,) = self._connection.execute("SELECT coalesce(max(id), 0) FROM enrollments").fetchone()
            entered, consumed = enrol(self._connection, self._runtime, end)
            if entered:
                self._report.ended += judge_fresh(self._connection, self._runtime, after, end)
        self._report.entered += entered
        crash.point("enrolled")
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

    def _deliver(self) -> bool:
        """Send what is ready; returns whether somebody may go on because of it."""
        delivery = Delivery(self._store, self._runtime, self._channels, self._clock)
        if self._on_delivery:
            self._on_delivery(delivery)
        done = delivery.run()
        crash.point("delivered")
        report = self._report
        report.sent += done.sent
        report.held += done.held
        report.skipped += done.skipped
        report.retried += done.retried
        report.failed += done.failed
        report.in_doubt += done.in_doubt
        report.refusals |= done.refusals
        return done.settled > 0 and not delivery.stopped


def _cursor(connection: sqlite3.Connection, name: str) -> int:
    row = connection.execute("SELECT value FROM cursors WHERE name = ?", (name,)).fetchone()
    return int(row[0]) if row else 0
