"""When a contact usually reads: the local hour of most of their opens and clicks on a channel, else of everybody's."""

from __future__ import annotations

from datetime import time
from typing import TYPE_CHECKING

from flowctl.engine.localtime import local_plus, refresh_zones
from flowctl.language.durations import Duration

if TYPE_CHECKING:
    from flowctl.engine.runtime import Version
    from flowctl.engine.work import Batch

_OPENED, _CLICKED = 2, 3
_RECENT = 200_000  # newest statuses that speak for everybody
# Hours by the offset that a zone has now: an hour too early or late for history on the other side of a clock change.
_HOURS = (
    "SELECT {who} AS who, (m.at + z.offset_ms) / 3600000 % 24 AS hour, count(*) AS times FROM message_events m "
    "JOIN contacts c ON c.id = m.contact_id JOIN zone_now z ON z.zone = coalesce(c._zone, :zone) "
    f"WHERE {{where}} AND m.status IN ({_OPENED}, {_CLICKED}) AND m.channel = :channel AND m.at <= :now GROUP BY 1, 2 ORDER BY times, hour DESC"
)


def fill(batch: Batch, version: Version, channel: int, within_ms: int, rows: str, here: dict[str, int]) -> None:
    """`until_at` of the rows of `work` that `WHERE …` says: the next such hour, but never later than `within_ms` from now.

    Where nobody ever read anything there is nothing to wait for.
    """
    refresh_zones(batch.connection, batch.now)
    said = {"now": batch.now, "zone": version.zone, "channel": channel, **here}
    waiting = batch.connection.execute(
        "SELECT w.eid, w.contact_id, w.at, (SELECT n.name FROM zones n WHERE n.id = coalesce(c._zone, :zone)) "
        f"FROM work w JOIN contacts c ON c.id = w.contact_id {rows}",
        said,
    ).fetchall()
    own = _hours(batch, "m.contact_id", f"m.contact_id IN (SELECT w.contact_id FROM work w {rows})", said)
    everybody = _hours(batch, "0", f"m.id > (SELECT coalesce(max(id), 0) - {_RECENT} FROM message_events)", said).get(0)
    due = []
    for eid, contact, at, zone in waiting:
        hour = own.get(contact, everybody)
        until = at if hour is None else min(local_plus(at, zone, Duration(), time(hour)), at + within_ms)
        due.append((until, eid))
    batch.connection.executemany("UPDATE work SET until_at = ? WHERE eid = ?", due)


def _hours(batch: Batch, who: str, where: str, said: dict[str, int]) -> dict[int, int]:
    """The hour of most reads by who; of equals the earliest, because the last row of the order stays."""
    return {name: hour for name, hour, _ in batch.connection.execute(_HOURS.format(who=who, where=where), said)}
