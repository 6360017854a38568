"""`{record: ticket, created: true, where: …}`: a record of the contact's came into being."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from flowctl.engine.conditions.event import where_sql
from flowctl.engine.conditions.scope import Frame
from flowctl.language.triggers import RecordTrigger

if TYPE_CHECKING:
    from flowctl.engine.compiler import Compiler
    from flowctl.engine.runtime import Entrance
    from flowctl.engine.triggers import Look
    from flowctl.language.triggers import Trigger


def compiled(trigger: Trigger, compiler: Compiler, index: int) -> dict[str, Any]:
    """The kind, and `where` as SQL over `f`; the contact joins in only where a value is taken from it."""
    assert isinstance(trigger, RecordTrigger)  # noqa: S101 - the kind says so
    declared = compiler.project.settings.records.get(trigger.record)
    types = {name: said.type for name, said in declared.fields.items()} if declared else {}
    asked = "1"
    if trigger.where:
        asked = where_sql("f.record_values", trigger.where, types, Frame(scope=compiler.scope))
        if re.search(r"\bc\.", asked):
            asked = f"EXISTS (SELECT 1 FROM contacts c WHERE c.id = f.contact_id AND ({asked}))"
    return {"record": trigger.record, "where": asked, "max_age_ms": trigger.max_event_age.elapsed_ms}


def collect(look: Look, entrance: Entrance, said: dict[str, Any]) -> int:
    """New records of the slice."""
    return (
        0
        if not look.facts.records
        else look.post(
            entrance,
            "SELECT f.contact_id, f.at, 'record:' || f.id AS cause, "
            "json_set(f.record_values, '$.record', f.kind, '$.id', f.id, '$.key', f.key, '$.at', f.at) AS trigger "
            f"FROM fact_records f WHERE f.kind = :kind AND f.at > :t1 - :max_age AND ({said['where']})",
            kind=said["record"],
            max_age=said["max_age_ms"],
        )
    )
