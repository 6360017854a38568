"""`set`: fields to values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowctl.engine.rendering import Templates, fill
from flowctl.engine.steps.change import change
from flowctl.language.steps import SetStep

if TYPE_CHECKING:
    from flowctl.engine.compiler import Compiler
    from flowctl.engine.runtime import Version
    from flowctl.engine.work import Batch
    from flowctl.program.instructions import Instruction


def compiled(instruction: Instruction, compiler: Compiler) -> dict[str, Any]:
    """Field → SQL of its new value, and the templates it reads."""
    step = instruction.step
    assert isinstance(step, SetStep)  # noqa: S101 - the op says so
    templates = Templates(compiler=compiler)
    fields = {name: compiler.new_value(step, name, value, templates) for name, value in step.set.items()}
    return {"fields": fields, "templates": templates.found}


def run(batch: Batch, version: Version, pc: int, said: dict[str, Any]) -> None:
    """One statement a field; two rows of one contact: the later enrollment's value stays."""
    fill(batch, version, pc, said["templates"])
    for field, value in said["fields"].items():
        change(batch, version, pc, "set", field, value, combine="last")
    batch.move(version, pc, said["targets"]["next"])
