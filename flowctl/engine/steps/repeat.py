"""The head of `repeat`: another turn, or on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowctl.engine.seen import seen_pairs, written
from flowctl.engine.work import HERE
from flowctl.language.steps import RepeatStep

if TYPE_CHECKING:
    from flowctl.engine.compiler import Compiler
    from flowctl.engine.runtime import Version
    from flowctl.engine.work import Batch
    from flowctl.program.instructions import Instruction

_TURN = "coalesce((SELECT t.turn FROM turns t WHERE t.enrollment_id = w.eid AND t.pc = w.pc), 0)"


def compiled(instruction: Instruction, compiler: Compiler) -> dict[str, Any]:
    """How many turns at most, and the condition of another one."""
    step = instruction.step
    assert isinstance(step, RepeatStep)  # noqa: S101 - the op says so
    turns = step.repeat
    if turns.while_ is None:
        return {"max": turns.max, "while": "1", "seen": ""}
    return {
        "max": turns.max,
        "while": compiler.condition(turns.while_),
        "seen": seen_pairs(turns.while_, compiler.scope),
        "asks": written(turns.while_),
    }


def run(batch: Batch, version: Version, pc: int, said: dict[str, Any]) -> None:
    """Count the turn that begins; who is through, or whom `while` sends on, begins anew if they ever come back."""
    here = batch.here(version, pc)
    at_pc = f"WHERE {HERE}"
    batch.execute(
        f"UPDATE work AS w SET way = {_TURN} < :max AND EXISTS (SELECT 1 FROM contacts c WHERE c.id = w.contact_id AND ({said['while']})) {at_pc}",
        max=said["max"],
        **here,
    )
    batch.execute(
        f"INSERT INTO turns (enrollment_id, pc, turn, started_at) SELECT w.eid, w.pc, 1, w.at FROM work w {at_pc} AND w.way = 1 "
        "ON CONFLICT (enrollment_id, pc) DO UPDATE SET turn = turn + 1, started_at = excluded.started_at",
        **here,
    )
    batch.execute(
        f"DELETE FROM turns WHERE pc = :pc AND enrollment_id IN (SELECT w.eid FROM work w {at_pc} AND w.way = 0)",
        **here,
    )
    pairs = ", ".join(
        ["'way', CASE w.way WHEN 1 THEN 'turn' ELSE 'done' END", *([said["seen"]] if said["seen"] else [])]
    )
    people = "work w CROSS JOIN contacts c ON c.id = w.contact_id" if said["seen"] else "work w"
    batch.note(version, pc, "branch", f"json_object({pairs})", source=people)
    batch.move(version, pc, said["targets"]["turn"], " AND w.way = 1")
    batch.move(version, pc, said["targets"]["next"], " AND w.way = 0")
