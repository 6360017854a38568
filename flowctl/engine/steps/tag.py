"""`tag` and `untag`: values into tags fields, and out of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from flowctl.engine.conditions.literal import literal
from flowctl.engine.steps.change import change
from flowctl.language.steps import TagStep, UntagStep

if TYPE_CHECKING:
    from flowctl.engine.compiler import Compiler
    from flowctl.engine.runtime import Version
    from flowctl.engine.work import Batch
    from flowctl.program.instructions import Instruction


def compiled(instruction: Instruction, compiler: Compiler) -> dict[str, Any]:
    """Field → SQL of the new sorted set."""
    step = instruction.step
    assert isinstance(step, TagStep | UntagStep)  # noqa: S101 - the op says so
    operator, fields = ("UNION", step.tag) if isinstance(step, TagStep) else ("EXCEPT", step.untag)
    for name in fields:
        compiler.settable(step, name, ("tags",))
    return {
        "fields": {
            name: f"(SELECT json_group_array(value) FROM (SELECT value FROM json_each(coalesce(c.\"{name}\", '[]')) "
            f"{operator} SELECT value FROM json_each({literal(json.dumps(values))}) ORDER BY 1))"
            for name, values in fields.items()
        }
    }


def run(batch: Batch, version: Version, pc: int, said: dict[str, Any]) -> None:
    """Set algebra: twice changes nothing more."""
    kind = "tagged" if said["op"] == "tag" else "untagged"
    for field, value in said["fields"].items():
        change(batch, version, pc, kind, field, value, combine="last")
    batch.move(version, pc, said["targets"]["next"])
