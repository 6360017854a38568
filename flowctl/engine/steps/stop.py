"""`stop`: the contact's enrollments in another workflow end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowctl.engine.finish import end
from flowctl.engine.runtime import EXITED
from flowctl.engine.work import HERE
from flowctl.language.steps import StopStep

if TYPE_CHECKING:
    from flowctl.engine.compiler import Compiler
    from flowctl.engine.runtime import Version
    from flowctl.engine.work import Batch
    from flowctl.program.instructions import Instruction


def compiled(instruction: Instruction, compiler: Compiler) -> dict[str, Any]:
    """Which workflow."""
    step = instruction.step
    assert isinstance(step, StopStep)  # noqa: S101 - the op says so
    if step.stop == compiler.workflow:
        compiler.refuse(step, "a workflow leaves itself by `exit:`", "stop")
    return {"workflow": step.stop}


def run(batch: Batch, version: Version, pc: int, said: dict[str, Any]) -> None:
    """Also those that are in this very batch: they are taken out of it."""
    here = batch.here(version, pc)
    rows = (
        "SELECT e.id, max(w.at) FROM work w CROSS JOIN enrollments e ON e.id IN "
        # By way of a list of ids: joined as it reads, SQLite may make a Bloom filter first, which reads all enrollments.
        "(SELECT n.id FROM enrollments n WHERE n.contact_id = w.contact_id AND n.workflow = :workflow AND n.ended_at IS NULL) "
        f"WHERE {HERE} GROUP BY e.id"
    )
    batch.facts += end(batch.connection, rows, EXITED, "stopped", batch.now, workflow=said["workflow"], **here)
    batch.execute("DELETE FROM work WHERE eid IN (SELECT eid FROM ending)")
    batch.note(version, pc, "stopped", "json_object('workflow', :workflow)", workflow=said["workflow"])
    batch.move(version, pc, said["targets"]["next"])
