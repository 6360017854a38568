"""When something can happen next: what lets a late tick pass over empty time, and a test's clock jump."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from flowctl.engine.localtime import instant, zones

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Iterator

    from flowctl.engine.runtime import Entrance, Runtime
    from flowctl.engine.segments import Probe

NEVER = 1 << 62
_SLOT_MS = (
    60_000  # local hours are looked at every minute: which of them matter is only known to the compiled condition
)


class Horizon:
    """What of a release depends on time alone; made once a tick."""

    def __init__(self, connection: sqlite3.Connection, runtime: Runtime, probes: Iterable[Probe]) -> None:
        self._connection = connection
        self._runtime = runtime
        timed = list(probes)
        self._windows = {(type_id, probe.edge_ms) for probe in timed if probe.kind == "window" for type_id in probe.ids}
        self._windows |= {
            (said["type"], said["unless"]["within_ms"])
            for entrance in runtime.entrances
            for said in entrance.triggers
            if said["kind"] == "event" and said["unless"]
        }
        self._statuses = {probe.edge_ms for probe in timed if probe.kind == "status_window"}
        self._moments = {(name, probe.edge_ms) for probe in timed if probe.kind == "moment" for name in probe.names}
        self._by_day = any(probe.kind == "day" for probe in timed)
        self._by_slot = any(probe.kind == "slot" for probe in timed)
        self._known: dict[object, tuple[int, int]] = {}  # a schedule, a time of day in a zone → asked from, the answer

    def next(self, after: int) -> int:
        """The first instant after `after` (UTC ms) at which anything can happen without new facts arriving; NEVER where nothing will.

        It may name an instant at which nothing happens; it never passes over one at which something does.
        """
        return min([NEVER, *self._candidates(after)])

    def _candidates(self, after: int) -> Iterator[int]:
        yield from self._firsts(after)
        for type_id, edge in self._windows:
            yield from self._first(
                f"SELECT min(at) + {edge} FROM events WHERE type = {type_id} AND at > {after - edge}"
            )
        for edge in self._statuses:
            yield from self._first(
                f"SELECT min((SELECT min(m.at) FROM message_events m WHERE m.message = n.id AND m.status = s.value AND m.at > {after - edge})) "
                f"+ {edge} FROM names n, json_each('[0,1,2,3,4,5,6,7]') s WHERE n.kind = 'message'"
            )
        for name, edge in self._moments:
            yield from self._first(f'SELECT min("{name}") + {edge} FROM contacts WHERE "{name}" > {after - edge}')
        if self._by_slot:
            yield after // _SLOT_MS * _SLOT_MS + _SLOT_MS
        if self._by_day:
            yield from self._midnights(after, time())
        for entrance in self._runtime.entrances:
            yield from self._entrance(entrance, after)

    def _firsts(self, after: int) -> Iterator[int]:
        """Due enrollments and messages; facts dated ahead."""
        # What is due by now and still there rests: paused workflows, messages whose provider refuses.
        yield from self._first(f"SELECT min(due_at) FROM enrollments WHERE due_at > {after}")
        for table in ("outbox", "fetches", "notices"):
            yield from self._first(f"SELECT min(ready_at) FROM {table} WHERE ready_at > {after}")
        yield from self._first(
            f"SELECT min((SELECT min(e.at) FROM events e WHERE e.type = t.id AND e.at > {after})) FROM event_types t"
        )
        for table, name, at in (
            ("contact_changes", "changes", "at"),
            ("message_events", "statuses", "at"),
            ("records", "records", "at"),
            ("contacts", "contacts", "created_at"),
        ):
            yield from self._first(
                f"SELECT min({at}) FROM {table} WHERE id > coalesce((SELECT value FROM cursors WHERE name = '{name}'), 0) AND +{at} > {after}"
            )

    def _first(self, query: str) -> Iterator[int]:
        (found,) = self._connection.execute(query).fetchone()
        if found is not None:
            yield int(found)

    def _entrance(self, entrance: Entrance, after: int) -> Iterator[int]:
        for edge in (entrance.from_at, entrance.until_at):
            if edge is not None and edge > after:
                yield edge
        for said in entrance.triggers:
            match said["kind"]:
                case "moment" if said["at"] > after:
                    yield said["at"]
                case "schedule":
                    from flowctl.engine.triggers.schedule import times  # noqa: PLC0415 - croniter, only where there are schedules

                    cron, zone = said["cron"], said["zone"]
                    yield self._remembered(
                        (cron, zone), after, lambda cron=cron, zone=zone: next(iter(times(cron, zone, after)), NEVER)
                    )
                case "date":
                    yield from self._midnights(after, time.fromisoformat(said["time"]))

    def _midnights(self, after: int, clock: time) -> Iterator[int]:
        """When a time of day comes next, in each zone."""
        for _, name in zones(self._connection):
            yield self._remembered((clock, name), after, lambda name=name: _next(clock, name, after))

    def _remembered(self, asked: object, after: int, find: Callable[[], int]) -> int:
        """An answer holds for every instant from the one it was found for until itself."""
        known = self._known.get(asked)
        if known is None or not known[0] <= after < known[1]:
            known = self._known[asked] = (after, find())
        return known[1]


def _next(clock: time, zone: str, after: int) -> int:
    day = datetime.fromtimestamp(after / 1000, UTC).astimezone(ZoneInfo(zone)).date() - timedelta(days=1)
    return min(
        at for ahead in range(4) if (at := instant(datetime.combine(day + timedelta(days=ahead), clock), zone)) > after
    )
