"""`add`: numbers to number fields."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowctl.engine.steps.change import change
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
        change(batch, version, pc, "added", field, f'coalesce(c."{field}", {default!r}) + {amount!r} * n', combine="count")
    batch.move(version, pc, said["targets"]["next"])
