"""Quiet hours at the gate: what must wait until its channel opens, and whose turn it is when many waited for that.

Places (channel, country, zone, subdivision) are few; their openings are computed once each and joined to the messages.

What waited for an opening leaves in turns rather than in a burst: contacts are put in order by the priority of what waits for them,
then by who waits longest, and get places evenly over the first hour, or over the first half of what is left of an opening that is
shorter. All messages of a contact have one turn, so that the caps choose among them by priority. Few need no turns.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from flowctl.language.opening_hours import Window, local_day, openings, rule_for

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

LOOK_DAYS = 45  # a cap of 30 days is over by then; what is held beyond is looked at again
FEW = 100  # as many as may leave at once when hours open
SPREAD_MS = 60 * 60_000  # an hour: twelve ticks of cron, and what is sent at ten still reads as of the morning
SOON_MS = 60_000  # a turn as near as the next tick is now
SPARE_MS = 30 * 60_000  # what expires sooner than this after its turn leaves at once: a tick may come late

_PLACE = "channel INTEGER NOT NULL, country TEXT NOT NULL, zone INTEGER NOT NULL, region TEXT NOT NULL"
_CREATE = (
    f"CREATE TEMP TABLE IF NOT EXISTS gate_hours (id INTEGER PRIMARY KEY, {_PLACE})",
    f"CREATE TEMP TABLE IF NOT EXISTS place (id INTEGER PRIMARY KEY, {_PLACE}, UNIQUE (channel, country, zone, region))",
    """CREATE TEMP TABLE IF NOT EXISTS opening (
      place INTEGER NOT NULL, closes_at INTEGER NOT NULL, opens_at INTEGER NOT NULL, PRIMARY KEY (place, closes_at)
    ) WITHOUT ROWID""",
    "CREATE TEMP TABLE IF NOT EXISTS turn (contact_id INTEGER PRIMARY KEY, nth INTEGER NOT NULL)",
)
_SLOT = "(:now + min(:spread, (g.closes_at - :now) / 2) * t.nth / :contacts)"
# Ahead of a message of the same contact: one that waits for its turn, and matters as much or more.
_AHEAD = (
    "(SELECT max(a.at) FROM (SELECT x.until_at AS at FROM gate x WHERE x.contact_id = g.contact_id AND x.verdict = 'turn' "
    "AND x.priority >= g.priority AND (x.channel = g.channel OR :together) UNION ALL SELECT o.ready_at FROM outbox o "
    "WHERE o.contact_id = g.contact_id AND o.reason = 'turn' AND o.ready_at > :now AND o.priority >= g.priority "
    "AND (o.channel = g.channel OR :together)) a)"
)


class QuietHours:
    """The quiet hours of a release, at `now` (UTC ms); nothing but a look at the settings where there are none.

    Works on the rows of the temporary table `gate` that have no verdict yet.
    """

    def __init__(self, connection: sqlite3.Connection, said: Mapping[str, Any], now: int) -> None:
        self._connection = connection
        self._now = now
        self._said: Mapping[str, Any] = said.get("quiet_hours") or {}
        self._zone: int = said["zone"]
        self._contacts = 0  # how many take turns
        if not self._said:
            return
        self._rules = {
            int(channel): {country: Window.from_json(window) for country, window in rules.items()}
            for channel, rules in self._said["rules"].items()
        }
        for statement in _CREATE:
            connection.execute(statement)
        for table in ("place", "opening", "turn"):
            connection.execute(f"DELETE FROM {table}")

    def take_turns(self) -> None:
        """At the start of a pass: who waited for hours that have opened by now, in order, where they are many."""
        if not self._said:
            return
        waited = "FROM outbox WHERE ready_at <= :now AND reason = 'quiet_hours'"
        if self._first(f"SELECT count(*) {waited}") > FEW:
            self._contacts = self._execute(
                "INSERT INTO turn (contact_id, nth) SELECT contact_id, "
                f"row_number() OVER (ORDER BY max(priority) DESC, min(arrived_at), contact_id) - 1 {waited} GROUP BY contact_id"
            )

    def hold(self, *, together: bool | None) -> None:
        """Hold what is outside its hours until they open, and inside them what has to wait for its turn.

        `together`: whether a cap counts all channels; None where there is no cap, so that nothing takes the room of another.
        """
        if not self._said:
            return
        self._execute("DELETE FROM gate_hours")
        region = self._said["region"] or "''"
        channels = ", ".join(map(str, self._rules))
        found = self._execute(
            "INSERT INTO gate_hours SELECT g.id, g.channel, coalesce(upper(c.country), phone_country(CASE WHEN g.recipient GLOB '+*' THEN g.recipient "
            f"ELSE c.phone END), :home, ''), coalesce(c._zone, :zone), {region} FROM gate g CROSS JOIN contacts c ON c.id = g.contact_id "
            f"WHERE g.verdict IS NULL AND g.marketing = 1 AND g.channel IN ({channels})",
            home=self._said["home"],
            zone=self._zone,
        )
        if found:
            self._open_places()
            self._hold_outside()
        self._hold_turns(together=together)

    def _open_places(self) -> None:
        """The openings of every place that is new in this pass."""
        new = self._connection.execute(
            "SELECT h.channel, h.country, h.zone, h.region, z.name FROM (SELECT DISTINCT channel, country, zone, region FROM gate_hours "
            "EXCEPT SELECT channel, country, zone, region FROM place) h JOIN zones z ON z.id = h.zone"
        ).fetchall()
        for channel, country, zone, region, zone_name in new:
            window = rule_for(self._rules[channel], country or None)
            if window is None:
                continue
            first = local_day(self._now, zone_name) - timedelta(days=1)  # whose window may still be open after midnight
            said = openings(window, zone_name, country or None, region or None, first, LOOK_DAYS)
            (number,) = self._connection.execute(
                "INSERT INTO place (channel, country, zone, region) VALUES (?, ?, ?, ?) RETURNING id",
                (channel, country, zone, region),
            ).fetchone()
            self._connection.executemany(
                "INSERT INTO opening (place, opens_at, closes_at) VALUES (?, ?, ?)",
                [(number, each.start, each.end) for each in said if each.end > self._now],
            )

    def _hold_outside(self) -> None:
        self._execute(
            "UPDATE gate AS g SET place = (SELECT p.id FROM gate_hours h CROSS JOIN place p ON p.channel = h.channel AND p.country = h.country "
            "AND p.zone = h.zone AND p.region = h.region WHERE h.id = g.id) WHERE g.id IN (SELECT id FROM gate_hours)"
        )
        self._execute(
            "UPDATE gate AS g SET closes_at = (SELECT w.closes_at FROM opening w WHERE w.place = g.place AND w.closes_at > :now "
            "AND w.opens_at <= :now) WHERE g.place IS NOT NULL"
        )
        self._execute(
            "UPDATE gate AS g SET verdict = 'quiet_hours', until_at = coalesce((SELECT min(w.opens_at) FROM opening w WHERE w.place = g.place), "
            "g.expires_at) WHERE g.verdict IS NULL AND g.place IS NOT NULL AND g.closes_at IS NULL"
        )

    def _hold_turns(self, *, together: bool | None) -> None:
        if self._contacts:
            self._execute(
                f"UPDATE gate AS g SET verdict = 'turn', until_at = {_SLOT} FROM turn t WHERE t.contact_id = g.contact_id AND g.verdict IS NULL "
                f"AND g.held_for = 'quiet_hours' AND g.closes_at IS NOT NULL AND {_SLOT} >= :now + :soon AND {_SLOT} + :spare < g.expires_at",
                spread=SPREAD_MS,
                contacts=self._contacts,
                soon=SOON_MS,
                spare=SPARE_MS,
            )
        if together is None or not self._anybody_waits():
            return
        # Even where it expires meanwhile: what matters more has the room.
        self._execute(
            f"UPDATE gate AS g SET verdict = 'behind', until_at = {_AHEAD} WHERE g.verdict IS NULL AND g.marketing = 1 AND {_AHEAD} IS NOT NULL",
            together=together,
        )
        self._execute("UPDATE gate SET verdict = 'turn' WHERE verdict = 'behind'")

    def _anybody_waits(self) -> bool:
        return bool(
            self._first(
                "SELECT EXISTS (SELECT 1 FROM gate WHERE verdict = 'turn') OR EXISTS (SELECT 1 FROM outbox WHERE reason = 'turn' "
                "AND contact_id > 0)"
            )
        )

    def later(self) -> None:
        """Where a cap holds too, the later of both counts, and names the reason."""
        if not self._said:
            return
        self._execute(
            "UPDATE gate AS g SET verdict = 'cap' WHERE g.verdict = 'quiet_hours' "
            "AND g.until_at > (SELECT min(w.opens_at) FROM opening w WHERE w.place = g.place)"
        )
        opens = "(SELECT w.opens_at FROM opening w WHERE w.place = g.place AND w.closes_at > g.until_at ORDER BY w.closes_at LIMIT 1)"
        self._execute(
            f"UPDATE gate AS g SET verdict = 'quiet_hours', until_at = {opens} "
            f"WHERE g.verdict = 'cap' AND g.place IS NOT NULL AND {opens} > g.until_at"
        )

    def _execute(self, sql: str, **params: object) -> int:
        return self._connection.execute(sql, {"now": self._now, **params}).rowcount

    def _first(self, sql: str) -> int:
        found: int = self._connection.execute(sql, {"now": self._now}).fetchone()[0]
        return found
