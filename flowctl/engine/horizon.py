"""When something can happen next: what lets a late tick pass over empty time, and a test's clock jump."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from functools import partial
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from flowctl.engine.finish import watched
from flowctl.engine.localtime import instant, zones

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator

    from flowctl.engine.runtime import Entrance, Runtime
    from flowctl.engine.segments import Probe

NEVER = 1 << 62
_SLOT_MS = (
    60_000  # local hours are looked at every minute: which of them matter is only known to the compiled condition
)
_EVERY_STATUS = tuple(range(8))

# Due enrollments and messages, and facts dated ahead. What is due by now and still there rests: paused workflows, messages whose
# provider refuses. Of all but events the rows whose time is ahead lie behind a cursor.
_FIRSTS = (
    "SELECT (SELECT min(due_at) FROM enrollments WHERE due_at > :after), "
    + ", ".join(
        f"(SELECT min(ready_at) FROM {table} WHERE ready_at > :after)" for table in ("outbox", "fetches", "notices")
    )
    + ", (SELECT min((SELECT min(e.at) FROM events e WHERE e.type = t.id AND e.at > :after)) FROM event_types t), "
    + ", ".join(
        f"(SELECT min({at}) FROM {table} WHERE id > coalesce((SELECT value FROM cursors WHERE name = '{name}'), 0) AND +{at} > :after)"
        for table, name, at in (
            ("contact_changes", "changes", "at"),
            ("message_events", "statuses", "at"),
            ("records", "records", "at"),
            ("contacts", "contacts", "created_at"),
        )
    )
)
_NEWEST = (
    "SELECT (SELECT max(id) FROM events), (SELECT max(id) FROM message_events), "
    "(SELECT max(id) FROM contact_changes), (SELECT max(id) FROM contacts)"
)
_ADDED_MAX = 20_000  # new events whose types are looked at; after more of them every answer is asked anew
_FIRST_STATUS = (
    "SELECT min((SELECT min(m.at) FROM message_events m WHERE m.message = n.id AND m.status = s.value AND m.at > :after)) "
    "FROM names n, json_each(:codes) s WHERE n.kind = 'message' AND (:messages IS NULL OR n.id IN (SELECT value FROM json_each(:messages)))"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Timed:
    """What of a release and its versions in flight depends on time alone."""

    edges: tuple[Probe, ...]  # windows and moments, none twice
    by_day: bool
    by_slot: bool


class Horizon:
    """Of a release: when a window closes, a moment comes, a local day begins.

    Answers are remembered as long as nothing was added that could change them: from slice to slice of a tick, and from jump to jump
    of a test's clock. What this connection writes must not be rolled back between two calls.
    """

    def __init__(self, connection: sqlite3.Connection, runtime: Runtime) -> None:
        self._connection = connection
        self._runtime = runtime
        # What was asked → the instant it was asked for, and the answer.
        self._known: dict[tuple[object, ...], tuple[int, int]] = {}
        self._timed: dict[tuple[int, ...], _Timed] = {}
        self._seen: tuple[int | None, ...] = ()
        self._unless = [
            (said["type"], said["unless"]["within_ms"])
            for entrance in runtime.entrances
            for said in entrance.triggers
            if said["kind"] == "event" and said["unless"]
        ]

    def renew(self) -> None:
        """Forget what rows that were added since the last call may have made untrue; before `moves` is asked about a slice."""
        connection = self._connection
        # Another connection's commits show in the first; they may have done anything.
        (others,) = connection.execute("PRAGMA data_version").fetchone()
        seen = (others, *connection.execute(_NEWEST).fetchone())
        before, self._seen = self._seen, seen
        if seen == before:
            return
        if not before or before[0] != others or (seen[1] or 0) - (before[1] or 0) > _ADDED_MAX:
            self._known.clear()
            return
        grown: set[object] = set()
        if seen[1] != before[1]:
            rows = connection.execute("SELECT DISTINCT +type FROM events WHERE id > ?", (before[1] or 0,))
            grown |= {("window", type_) for (type_,) in rows}
        if seen[2] != before[2]:
            grown.add("status_window")
        if seen[3:] != before[3:]:
            grown.add("moment")
        self._known = {key: known for key, known in self._known.items() if key[0] not in grown}

    def moves(self, probe: Probe, t0: int, t1: int) -> bool:
        """Whether what a probe of time watches may have changed after `t0` until `t1` (UTC ms); False only where it has not."""
        match probe.kind:
            case "window" | "status_window":
                return self._edge(probe, t0) <= t1
            case "moment":  # one that asks for what is past changes just after it
                return self._edge(probe, t0 - 1) <= t1
            case "day":
                return self.strikes(time(), t0, t1)
        return True

    def unprevented(self, type_id: int, within_ms: int, t0: int, t1: int) -> bool:
        """Whether the time in which an event could be prevented ended in a slice."""
        return self._window(type_id, within_ms, t0) <= t1

    def strikes(self, clock: time, t0: int, t1: int) -> bool:
        """Whether a time of day comes in some zone in a slice."""
        return min(self._clocks(t0, clock), default=NEVER) <= t1

    def next(self, after: int) -> int:
        """The first instant after `after` (UTC ms) at which anything can happen without new facts arriving; NEVER where nothing will.

        It may name an instant at which nothing happens; it never passes over one at which something does.
        """
        self.renew()
        return min([NEVER, *self._candidates(after)])

    def _candidates(self, after: int) -> Iterator[int]:
        firsts = self._connection.execute(_FIRSTS, {"after": after}).fetchone()
        yield from (at for at in firsts if at is not None)
        timed = self._now_timed()
        for probe in timed.edges:
            yield self._edge(probe, after)
        for type_id, within_ms in self._unless:
            yield self._window(type_id, within_ms, after)
        if timed.by_slot:
            yield after // _SLOT_MS * _SLOT_MS + _SLOT_MS
        if timed.by_day:
            yield from self._clocks(after, time())
        for entrance in self._runtime.entrances:
            yield from self._entrance(entrance, after)

    def _now_timed(self) -> _Timed:
        versions = watched(self._runtime)
        key = tuple(version.id for version in versions)
        if key not in self._timed:
            probes = [probe for plan in self._runtime.segments for probe in plan.probes]
            probes += [probe for version in versions for judged in version.judged for probe in judged.probes]
            self._timed[key] = _Timed(
                edges=tuple(
                    dict.fromkeys(probe for probe in probes if probe.kind in ("window", "status_window", "moment"))
                ),
                by_day=any(probe.kind == "day" for probe in probes),
                by_slot=any(probe.kind == "slot" for probe in probes),
            )
        return self._timed[key]

    def _edge(self, probe: Probe, after: int) -> int:
        match probe.kind:
            case "window":
                return self._window(probe.ids[0], probe.edge_ms, after)
            case "moment":
                name, edge = probe.names[0], probe.edge_ms
                query = f'SELECT min("{name}") FROM contacts WHERE "{name}" > :after'
                return self._remembered(("moment", name, edge), after, partial(self._first, query, after, edge))
        asked = {
            "messages": json.dumps(probe.ids) if probe.ids else None,
            "codes": json.dumps(probe.codes or _EVERY_STATUS),
        }
        key = ("status_window", probe.ids, probe.codes, probe.edge_ms)
        return self._remembered(key, after, partial(self._first, _FIRST_STATUS, after, probe.edge_ms, **asked))

    def _window(self, type_id: int, edge: int, after: int) -> int:
        query = "SELECT min(at) FROM events WHERE type = :type AND at > :after"
        key = (("window", type_id), edge)
        return self._remembered(key, after, partial(self._first, query, after, edge, type=type_id))

    def _first(self, query: str, after: int, edge: int, **params: object) -> int:
        (found,) = self._connection.execute(query, {"after": after - edge, **params}).fetchone()
        return NEVER if found is None else int(found) + edge

    def _entrance(self, entrance: Entrance, after: int) -> Iterator[int]:
        for edge in (entrance.from_at, entrance.until_at):
            if edge is not None and edge > after:
                yield edge
        for said in entrance.triggers:
            match said["kind"]:
                case "moment" if said["at"] > after:
                    yield said["at"]
                case "schedule":
                    cron, zone = said["cron"], said["zone"]
                    yield self._remembered((cron, zone), after, partial(_first_time, cron, zone, after))
                case "date":
                    yield from self._clocks(after, time.fromisoformat(said["time"]))

    def _clocks(self, after: int, clock: time) -> Iterator[int]:
        """When a time of day comes next, in each zone."""
        for _, name in zones(self._connection):
            yield self._remembered((clock, name), after, partial(_next, clock, name, after))

    def _remembered(self, asked: tuple[object, ...], after: int, find: Callable[[], int]) -> int:
        """An answer holds for every instant from the one it was found for until itself."""
        known = self._known.get(asked)
        if known is None or not known[0] <= after < known[1]:
            known = self._known[asked] = (after, find())
        return known[1]


def _first_time(cron: str, zone: str, after: int) -> int:
    from flowctl.engine.triggers.schedule import times  # noqa: PLC0415 - croniter, only where there are schedules

    return next(iter(times(cron, zone, after)), NEVER)


def _next(clock: time, zone: str, after: int) -> int:
    day = datetime.fromtimestamp(after / 1000, UTC).astimezone(ZoneInfo(zone)).date() - timedelta(days=1)
    return min(
        at for ahead in range(4) if (at := instant(datetime.combine(day + timedelta(days=ahead), clock), zone)) > after
    )
