"""`if`, one option of `choose`, and `when`: two ways by a condition."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowctl.engine.seen import written
from flowctl.engine.work import HERE

if TYPE_CHECKING:
    from flowctl.engine.compiler import Compiler
    from flowctl.engine.runtime import Version
    from flowctl.engine.work import Batch
    from flowctl.program.instructions import Instruction


def compiled(instruction: Instruction, compiler: Compiler) -> dict[str, Any]:
    """The condition as SQL and as written, and the values worth remembering beside the way taken."""
    if instruction.condition is None:
        return {"sql": "1", "values": "NULL", "role": instruction.role}
    return {
        "sql": compiler.condition(instruction.condition),
        "values": compiler.values_seen(instruction.condition),
        "asks": written(instruction.condition),
        "role": instruction.role,
    }


def run(batch: Batch, version: Version, pc: int, said: dict[str, Any]) -> None:
    """Judge once, remember the values seen, go."""
    here = batch.here(version, pc)
    batch.execute(
        f"UPDATE work AS w SET way = EXISTS (SELECT 1 FROM contacts c WHERE c.id = w.contact_id AND ({said['sql']})) "
        f"WHERE {HERE}",
        **here,
    )
    if said["role"] != "begin":
        batch.note(version, pc, "branch", said["values"], source="work w CROSS JOIN contacts c ON c.id = w.contact_id")
    then, otherwise = said["targets"]["then"], said["targets"]["else"]
    batch.execute(
        "UPDATE work AS w SET pc = CASE w.way WHEN 1 THEN :then ELSE :otherwise END, woken = 0, way = NULL "
        f"WHERE {HERE}",
        then=then,
        otherwise=otherwise,
        **here,
    )
