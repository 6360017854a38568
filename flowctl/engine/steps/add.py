"""`add`: numbers to number fields."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowctl.engine.scoring import bounded
from flowctl.engine.steps.change import change
from flowctl.engine.work import HERE
from flowctl.language.steps import AddStep

if TYPE_CHECKING:
    from flowctl.engine.compiler import Compiler
    from flowctl.engine.runtime import Version
    from flowctl.engine.work import Batch
    from flowctl.program.instructions import Instruction


def compiled(instruction: Instruction, compiler: Compiler) -> dict[str, Any]:
    """Field → how much, and what unknown counts as."""
    step = instruction.step
    assert isinstance(step, AddStep)  # noqa: S101 - the op says so
    for name in step.add:
        compiler.settable(step, name, ("number", "integer"))
    return {"fields": {name: [amount, compiler.default_number(name)] for name, amount in step.add.items()}}


def run(batch: Batch, version: Version, pc: int, said: dict[str, Any]) -> None:
    """Two rows of one contact add twice."""
    for field, (amount, default) in said["fields"].items():
        score = next((each for each in batch.runtime.said["scores"] if each["name"] == field), None)
        value = f'coalesce(c."{field}", {default!r}) + {amount!r} * n'
        if score is not None:
            value = bounded(score, value)
            _enter(batch, version, pc, field, amount)
        change(batch, version, pc, "added", field, value, combine="count")
    batch.move(version, pc, said["targets"]["next"])


def _enter(batch: Batch, version: Version, pc: int, score: str, amount: float) -> None:
    """Into the ledger of a score: a row each."""
    batch.execute(
        "INSERT INTO score_ledger (contact_id, score, rule, points, at, cause) "
        "SELECT w.contact_id, :score, 'step', :points, w.at, 'step:' || w.eid || ':' || w.pc || ':' || w.at "
        f"FROM work w WHERE {HERE} ON CONFLICT (contact_id, score, rule, cause) DO NOTHING",
        score=score,
        points=amount,
        **batch.here(version, pc),
    )
