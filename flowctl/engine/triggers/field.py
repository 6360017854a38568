"""`{field: engagement, rises_to: 50}`: stored changes of a field."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowctl.engine.conditions.values import value_sql
from flowctl.language.triggers import FieldTrigger

if TYPE_CHECKING:
    from flowctl.engine.compiler import Compiler
    from flowctl.engine.runtime import Entrance
    from flowctl.engine.triggers import Look
    from flowctl.language.triggers import Trigger


def compiled(trigger: Trigger, compiler: Compiler, index: int) -> dict[str, Any]:
    """How it must change, as SQL over `f`."""
    assert isinstance(trigger, FieldTrigger)  # noqa: S101 - the kind says so
    asked = ["f.old IS NOT f.new"]
    kind = compiler.project.field_types[trigger.field]
    if trigger.to is not None:
        asked.append(f"f.new = {value_sql(trigger.to, kind, compiler.scope)}")
    if trigger.from_ is not None:
        asked.append(f"f.old = {value_sql(trigger.from_, kind, compiler.scope)}")
    for bound, shape in (
        (trigger.rises_to, "f.old < {0} AND f.new >= {0}"),
        (trigger.rises_above, "f.old <= {0} AND f.new > {0}"),
        (trigger.drops_below, "f.old >= {0} AND f.new < {0}"),
    ):
        if bound is not None:
            asked.append(shape.format(repr(bound)))
    return {"field": trigger.field, "where": " AND ".join(asked), "max_age_ms": trigger.max_event_age.elapsed_ms}


def collect(look: Look, entrance: Entrance, said: dict[str, Any]) -> int:
    """Changes of the slice."""
    return (
        0
        if said["field"] not in look.facts.fields
        else look.post(
            entrance,
            "SELECT f.contact_id, f.at, 'change:' || f.id AS cause, "
            "json_object('field', f.field, 'old', f.old, 'new', f.new, 'at', f.at) AS trigger FROM fact_changes f "
            f"WHERE f.field = :field AND f.at > :t1 - :max_age AND ({said['where']})",
            field=said["field"],
            max_age=said["max_age_ms"],
        )
    )
