"""`{arrives: paris-store}` and `{leaves: paris-store}`: a position on the other side than the one before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowctl.engine.conditions.inside import REPORTED, within
from flowctl.language.triggers import ArrivesTrigger, LeavesTrigger

if TYPE_CHECKING:
    from flowctl.engine.compiler import Compiler
    from flowctl.engine.runtime import Entrance
    from flowctl.engine.triggers import Look
    from flowctl.language.triggers import Trigger


def compiled(trigger: Trigger, compiler: Compiler, index: int) -> dict[str, Any]:
    """The geofence as SQL over the position `f` and the one before it, `p`."""
    assert isinstance(trigger, ArrivesTrigger | LeavesTrigger)  # noqa: S101 - the kind says so
    name = trigger.arrives if isinstance(trigger, ArrivesTrigger) else trigger.leaves
    return {
        "type": compiler.scope.event_types[REPORTED],
        "geofence": name,
        "here": within(name, "f", compiler.scope),
        "before": within(name, "p", compiler.scope),
        "arrives": isinstance(trigger, ArrivesTrigger),
        "max_age_ms": trigger.max_event_age.elapsed_ms,
    }


def collect(look: Look, entrance: Entrance, said: dict[str, Any]) -> int:
    """Positions of the slice that crossed the edge; who was never seen before arrives, and leaves nothing."""
    if said["type"] not in look.facts.types:
        return 0
    before = (
        f"(SELECT {said['before']} FROM events p WHERE p.contact_id = f.contact_id AND p.type = :type AND p.at <= f.at "
        "AND (p.at < f.at OR p.id < f.id) ORDER BY p.at DESC, p.id DESC LIMIT 1)"
    )
    crossed = f"{said['here']} = 1 AND {before} IS NOT 1" if said["arrives"] else f"{said['here']} = 0 AND {before} = 1"
    return look.post(
        entrance,
        "SELECT f.contact_id, f.at, 'event:' || f.id AS cause, "
        "json_object('geofence', :geofence, 'lat', f.props ->> 'lat', 'lon', f.props ->> 'lon', 'at', f.at) AS trigger "
        f"FROM fact_events f WHERE f.type = :type AND f.at > :t1 - :max_age AND {crossed}",
        type=said["type"],
        geofence=said["geofence"],
        max_age=said["max_age_ms"],
    )
