"""`inside` leaves: the last reported position and a geofence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowctl.engine.conditions.literal import literal
from flowctl.engine.segments import Probe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.engine.conditions.scope import Frame, Scope
    from flowctl.language.conditions import InsideLeaf

REPORTED = "position_reported"


def sql(leaf: InsideLeaf, frame: Frame, *, negated: bool) -> str:
    """By the newest position; nobody is inside whose position is unknown."""
    test = within(leaf.inside, "e", frame.scope)
    mine = f"e.contact_id = c.id AND e.type = {frame.scope.event_types[REPORTED]:d} AND e.at <= :now"
    inside = f"coalesce((SELECT {test} FROM events e WHERE {mine} ORDER BY e.at DESC, e.id DESC LIMIT 1), 0)"
    return f"NOT {inside}" if negated else inside


def within(geofence: str, alias: str, scope: Scope) -> str:
    """SQL of whether the position of an event lies in a geofence: 1, 0, or NULL where it has none."""
    # No text, which may be no UTF-8 and would fail the statement before the function sees it.
    lat, lon = (
        f"iif(typeof({alias}.props ->> '{name}') = 'text', NULL, {alias}.props ->> '{name}')" for name in ("lat", "lon")
    )
    return f"geofenced({literal(scope.geofences[geofence])}, {lat}, {lon})"


def probes(leaf: InsideLeaf, frame: Frame) -> Iterator[Probe]:
    """New positions."""
    yield Probe(kind="event", ids=(frame.scope.event_types[REPORTED],))


def unsupported(leaf: InsideLeaf, frame: Frame) -> str | None:
    """Why the engine does not run it; None where it does."""
    return None
