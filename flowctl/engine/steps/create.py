"""`create`: a record of the contact's, once per key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowctl.engine.conditions.literal import literal
from flowctl.engine.rendering import Templates, fill
from flowctl.engine.work import HERE
from flowctl.language.steps import CreateStep

if TYPE_CHECKING:
    from flowctl.engine.compiler import Compiler
    from flowctl.engine.runtime import Version
    from flowctl.engine.work import Batch
    from flowctl.program.instructions import Instruction


def compiled(instruction: Instruction, compiler: Compiler) -> dict[str, Any]:
    """The kind; SQL of the key, of what makes the record one, and of a JSON object of its values."""
    step = instruction.step
    assert isinstance(step, CreateStep)  # noqa: S101 - the op says so
    said = step.create
    declared = compiler.project.settings.records.get(said.record)
    fields = declared.fields if declared else {}
    templates = Templates(compiler=compiler)
    pairs = []
    for name, value in said.values.items():
        field = fields.get(name)
        values = tuple(field.values or ()) if field else ()
        sql = templates.value(step, value, field.type if field else None, key="create", values=values)
        pairs.append(f"{literal(name)}, {_as_json(sql, field.type if field else None)}")
    key = f"CAST({compiler.value_of(said.key)} AS TEXT)" if said.key else "NULL"
    # Without a key every arrival makes one. An unknown key is one value, as in `reentry`.
    cause = f"'key:' || coalesce({key}, '')" if said.key else "'step:' || w.eid || ':' || w.pc || ':' || w.at"
    return {
        "kind": said.record,
        "key": key,
        "cause": cause,
        "values": f"json_object({', '.join(pairs)})",
        "templates": templates.found,
    }


def _as_json(sql: str, type_: str | None) -> str:
    """A stored value as JSON says it."""
    if type_ == "boolean":
        return f"json(CASE {sql} WHEN 1 THEN 'true' WHEN 0 THEN 'false' ELSE 'null' END)"
    return f"json({sql})" if type_ == "tags" else sql


def run(batch: Batch, version: Version, pc: int, said: dict[str, Any]) -> None:
    """The unique key of the table is the judge; who has the record already goes on."""
    fill(batch, version, pc, said["templates"])
    batch.facts += batch.execute(
        "INSERT INTO records (contact_id, kind, key, cause, record_values, at, enrollment_id) "
        f"SELECT w.contact_id, :kind, {said['key']}, {said['cause']}, {said['values']}, w.at, w.eid "
        f"FROM work w CROSS JOIN contacts c ON c.id = w.contact_id WHERE {HERE} ORDER BY w.eid "
        "ON CONFLICT (contact_id, kind, cause) DO NOTHING",
        kind=said["kind"],
        **batch.here(version, pc),
    )
    if said["kind"] in batch.runtime.said.get("pushes", {}):
        batch.execute(
            "INSERT INTO record_pushes (record_id, contact_id, ready_at) SELECT r.id, r.contact_id, r.at "
            "FROM work w CROSS JOIN contacts c ON c.id = w.contact_id JOIN records r ON r.contact_id = w.contact_id "
            f"AND r.kind = :kind AND r.cause = {said['cause']} AND r.enrollment_id = w.eid WHERE {HERE} "
            "ON CONFLICT (record_id) DO NOTHING",
            kind=said["kind"],
            **batch.here(version, pc),
        )
    batch.note(
        version,
        pc,
        "recorded",
        "json_object('record', r.kind, 'id', r.id, 'key', r.key, 'existing', r.enrollment_id IS NOT w.eid)",
        source="work w CROSS JOIN contacts c ON c.id = w.contact_id JOIN records r ON r.contact_id = w.contact_id "
        f"AND r.kind = :record AND r.cause = {said['cause']}",
        record=said["kind"],
    )
    batch.move(version, pc, said["targets"]["next"])
