"""A slice of time with its facts, asked again and again for whom it concerns."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING

from flowctl.engine.localtime import clock, instant, zones

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterable, Iterator

    from flowctl.engine.horizon import Horizon
    from flowctl.engine.segments import Probe

MINUTE_MS = 60_000
# Kinds of the journal that say that somebody entered or left a workflow.
_ENTERED_OR_LEFT = "1, 11, 16, 17, 18"
_CANDIDATES = "CREATE TEMP TABLE IF NOT EXISTS candidates (contact_id INTEGER PRIMARY KEY, at INTEGER NOT NULL, live INTEGER NOT NULL)"


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What one look found new after `t0` until `t1` (UTC ms): how many of each kind, and of what they speak.

    `more` where it left some for the next look at the same instant.
    """

    t0: int
    t1: int
    events: int
    changes: int
    statuses: int
    records: int
    contacts: int
    more: bool
    types: frozenset[int]  # of the events
    fields: frozenset[str]  # of the changes
    outcomes: frozenset[tuple[int, int]]  # message and status
    events_to: int  # the ids up to which was looked
    journal: tuple[int, int]  # after the first, up to the second
    transitions_from: int

    @property
    def any(self) -> bool:
        """Whether there is something new about somebody."""
        return bool(self.events or self.changes or self.statuses or self.contacts)


class Slice:
    """The facts of a look, and the windows and clocks that move in its slice; `horizon` spares most questions about these."""

    def __init__(self, connection: sqlite3.Connection, facts: Facts, horizon: Horizon | None = None) -> None:
        self.connection = connection
        self.facts = facts
        self.t0, self.t1 = facts.t0, facts.t1
        self._horizon = horizon
        self._entered_or_left: frozenset[str] | None = None  # workflows; None: not looked yet
        self._crossed: set[int] | None = None  # segments with new transitions; the same
        self._moved: bool | None = None  # whether some zone has a new date; the same
        self._then = False
        self._params = {
            "t0": facts.t0,
            "t1": facts.t1,
            "transitions_from": facts.transitions_from,
            "journal_from": facts.journal[0],
            "journal_to": facts.journal[1],
        }
        connection.execute(_CANDIDATES)

    def gather(self, probes: Iterable[Probe]) -> int:
        """Fill the temporary table `candidates` (contact_id, at, live) with whose answer may have changed; returns how many.

        `at` is the time of the newest cause; `live` is 0 where all causes are memberships first found by an import or an apply.
        With none the table is left as it was.
        """
        parts = [part for probe in probes for part in self._parts(probe)]
        if not parts:
            return 0
        self.connection.execute("DELETE FROM candidates")
        return self.connection.execute(
            f"INSERT INTO candidates SELECT contact_id, max(at), max(live) FROM ({' UNION ALL '.join(parts)}) GROUP BY +contact_id",
            self._params,
        ).rowcount

    def crossed(self) -> set[int]:
        """The segments that somebody entered or left since the last look; who writes more transitions adds theirs."""
        if self._crossed is None:
            rows = self.connection.execute(
                "SELECT DISTINCT +segment_id FROM transitions WHERE id > ?", (self.facts.transitions_from,)
            )
            self._crossed = {segment for (segment,) in rows}
        return self._crossed

    def _parts(self, probe: Probe) -> Iterator[str]:
        """SELECTs of contact_id, at, live; none where nothing of the kind is new."""
        facts = self.facts
        match probe.kind:
            case "created" if facts.contacts:
                yield "SELECT id AS contact_id, at, 1 - imported AS live FROM fact_contacts"
            case "event" if not facts.types.isdisjoint(probe.ids):
                yield f"SELECT contact_id, at, 1 AS live FROM fact_events WHERE type IN {_listed(probe.ids)}"
            case "changed" if not facts.fields.isdisjoint(probe.names):
                yield f"SELECT contact_id, at, 1 AS live FROM fact_changes WHERE field IN {_quoted(probe.names)}"
            case "status" if any(
                status in probe.codes and (not probe.ids or message in probe.ids) for message, status in facts.outcomes
            ):
                which = f" AND message IN {_listed(probe.ids)}" if probe.ids else ""
                yield f"SELECT contact_id, at, 1 AS live FROM fact_statuses WHERE status IN {_listed(probe.codes)}{which}"
            case "transition" if not self.crossed().isdisjoint(probe.ids):
                yield (
                    "SELECT contact_id, at, 1 - existing AS live FROM transitions "
                    f"WHERE id > :transitions_from AND +segment_id IN {_listed(probe.ids)}"
                )
            case "enrollment" if not self._left_or_entered().isdisjoint(probe.names):
                yield (
                    "SELECT j.contact_id, min(j.at, :t1) AS at, 1 AS live FROM journal j "
                    f"WHERE j.id > :journal_from AND j.id <= :journal_to AND j.kind IN ({_ENTERED_OR_LEFT}) "
                    f"AND (SELECT n.workflow FROM enrollments n WHERE n.id = j.enrollment_id) IN {_quoted(probe.names)}"
                )
            case "window" | "status_window" | "moment" | "day" | "slot" if self.t1 > self.t0:
                if self._horizon is None or self._horizon.moves(probe, self.t0, self.t1):
                    yield from self._timed(probe)

    def _left_or_entered(self) -> frozenset[str]:
        if self._entered_or_left is None:
            first, last = self.facts.journal
            rows = self.connection.execute(
                "SELECT DISTINCT (SELECT n.workflow FROM enrollments n WHERE n.id = j.enrollment_id) FROM journal j "
                f"WHERE j.id > ? AND j.id <= ? AND j.kind IN ({_ENTERED_OR_LEFT})",
                (first, last),
            )
            self._entered_or_left = frozenset(name for (name,) in rows) if last > first else frozenset()
        return self._entered_or_left

    def _timed(self, probe: Probe) -> Iterator[str]:
        edge = f"{probe.edge_ms:d}"
        match probe.kind:
            case "window":
                yield (
                    f"SELECT contact_id, at + {edge} AS at, 1 AS live FROM events "
                    f"WHERE type = {probe.ids[0]:d} AND at > :t0 - {edge} AND at <= :t1 - {edge}"
                )
            case "status_window":
                # Only by its message can a status be found in the index.
                which = _listed(probe.ids) if probe.ids else "(SELECT id FROM names WHERE kind = 'message')"
                yield (
                    f"SELECT contact_id, at + {edge} AS at, 1 AS live FROM message_events "
                    f"WHERE message IN {which} AND status IN {_listed(probe.codes)} AND at > :t0 - {edge} AND at <= :t1 - {edge}"
                )
            case "moment":
                column = f'c."{probe.names[0]}"'
                yield (
                    f"SELECT c.id AS contact_id, min(max({column} + {edge}, :t0), :t1) AS at, 1 AS live FROM contacts c "
                    f"WHERE {column} >= :t0 - {edge} AND {column} <= :t1 - {edge}"
                )
            case "day" if self._has_new_dates():
                yield (
                    "SELECT c.id AS contact_id, z.at, 1 AS live FROM contacts c CROSS JOIN zone_moved z "
                    f"WHERE z.zone = coalesce(c._zone, {probe.zone:d}) AND ({probe.sql})"
                )
            case "slot" if self.t1 // MINUTE_MS > self.t0 // MINUTE_MS:
                moved = self._moved_zones(probe)
                if moved:
                    yield (
                        "SELECT c.id AS contact_id, :t1 AS at, 1 AS live FROM contacts c "
                        f"WHERE coalesce(c._zone, {probe.zone:d}) IN {_listed(moved)}"
                    )

    def _has_new_dates(self) -> bool:
        """Fill `zone_moved` with the zones whose local date changed, and when."""
        if self._moved is None:
            self._fill_then()
            rows = self.connection.execute(
                "SELECT z.zone, o.today, z.today, n.name FROM zone_now z JOIN zone_then o ON o.zone = z.zone "
                "JOIN zones n ON n.id = z.zone WHERE o.today <> z.today"
            ).fetchall()
            self.connection.execute("DELETE FROM zone_moved")
            self.connection.executemany(
                "INSERT INTO zone_moved VALUES (?, ?, ?, ?)",
                ((zone, was, today, max(_midnight(today, name), self.t0)) for zone, was, today, name in rows),
            )
            self._moved = bool(rows)
        return self._moved

    def _moved_zones(self, probe: Probe) -> tuple[int, ...]:
        self._fill_then()
        rows = self.connection.execute(
            f"SELECT z.zone FROM zone_now z JOIN zone_then o ON o.zone = z.zone WHERE {probe.sql}"
        )
        return tuple(zone for (zone,) in rows)

    def _fill_then(self) -> None:
        """`zone_then`: what the clocks showed at the start of the slice."""
        if self._then:
            return
        shown = [(number, clock(self.t0, name)) for number, name in zones(self.connection)]
        self.connection.execute("DELETE FROM zone_then")
        self.connection.executemany(
            "INSERT INTO zone_then VALUES (?, ?, ?, ?)",
            ((number, face.today, face.weekday, face.minute) for number, face in shown),
        )
        self._then = True


def _listed(numbers: Iterable[int]) -> str:
    return f"({', '.join(f'{number:d}' for number in numbers)})"


def _quoted(names: Collection[str]) -> str:
    return "(" + ", ".join("'" + name.replace("'", "''") + "'" for name in names) + ")"


def _midnight(today: str, zone: str) -> int:
    day = date.fromisoformat(today)
    return instant(datetime(day.year, day.month, day.day), zone)  # noqa: DTZ001 - local, in the zone beside it
