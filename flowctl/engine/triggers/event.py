"""`{event: …, where: …, unless: …}`: an event, or an event that nothing followed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from flowctl.engine.conditions.event import where_sql
from flowctl.engine.conditions.scope import Frame
from flowctl.language.triggers import EventTrigger

if TYPE_CHECKING:
    from flowctl.engine.compiler import Compiler
    from flowctl.engine.runtime import Entrance
    from flowctl.engine.triggers import Look
    from flowctl.language.triggers import Trigger
    from flowctl.language.values import Where

_TRIGGER = "json_set(coalesce(f.props, '{}'), '$.at', f.at)"


def compiled(trigger: Trigger, compiler: Compiler, index: int) -> dict[str, Any]:
    """Event type and `where` as SQL over `f`; with `unless`, the same of what prevents over `u`."""
    assert isinstance(trigger, EventTrigger)  # noqa: S101 - the kind says so
    scope = compiler.scope
    said: dict[str, Any] = {
        "type": scope.event_types[trigger.event],
        "where": _asked(trigger.where, trigger.event, "f", compiler),
        "max_age_ms": trigger.max_event_age.elapsed_ms,
        "unless": None,
    }
    if trigger.unless:
        said["unless"] = {
            "type": scope.event_types[trigger.unless.event],
            "where": _asked(trigger.unless.where, trigger.unless.event, "u", compiler),
            "within_ms": trigger.unless.within.elapsed_ms,
        }
    return said


def _asked(where: Where, event: str, alias: str, compiler: Compiler) -> str:
    """A `where` over an event's alias; the contact joins in only where a value is taken from it."""
    if not where:
        return "1"
    sql = where_sql(f"{alias}.props", where, compiler.scope.event_properties[event], Frame(scope=compiler.scope))
    return (
        f"EXISTS (SELECT 1 FROM contacts c WHERE c.id = {alias}.contact_id AND ({sql}))"
        if re.search(r"\bc\.", sql)
        else sql
    )


def collect(look: Look, entrance: Entrance, said: dict[str, Any]) -> int:
    """New events of the slice; with `unless`, events whose time to be prevented ended in it."""
    arrived = said["type"] in look.facts.types
    if said["unless"] is None:
        return (
            0
            if not arrived
            else look.post(
                entrance,
                f"SELECT f.contact_id, f.at, 'event:' || f.id AS cause, {_TRIGGER} AS trigger FROM fact_events f "
                f"WHERE f.type = :type AND f.at > :t1 - :max_age AND ({said['where']})",
                type=said["type"],
                max_age=said["max_age_ms"],
            )
        )
    unless = said["unless"]
    if not arrived and not look.horizon.unprevented(said["type"], unless["within_ms"], look.t0, look.t1):
        return 0
    unprevented = (
        f"NOT EXISTS (SELECT 1 FROM events u WHERE u.contact_id = f.contact_id AND u.type = :other AND u.at >= f.at "
        f"AND u.at <= f.at + :within AND (u.at > f.at OR u.id > f.id) AND ({unless['where']}))"
    )
    # `events` by time for what fell due in this slice; `fact_events` for what arrived so late that it had fallen due before.
    columns = f"SELECT f.contact_id, f.at + :within AS at, 'event:' || f.id AS cause, {_TRIGGER} AS trigger"
    asked = f"f.at + :within > :t1 - :max_age AND ({said['where']}) AND {unprevented}"
    return look.post(
        entrance,
        f"{columns} FROM events f WHERE f.type = :type AND f.at > :t0 - :within AND f.at <= :t1 - :within AND f.id <= :hi AND {asked} "
        f"UNION ALL {columns} FROM fact_events f WHERE f.type = :type AND f.at <= :t0 - :within AND {asked}",
        type=said["type"],
        other=unless["type"],
        within=unless["within_ms"],
        max_age=said["max_age_ms"],
        hi=look.facts.events_to,
    )
