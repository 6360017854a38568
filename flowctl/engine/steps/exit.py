"""`exit: reason`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowctl.engine.runtime import EXITED
from flowctl.language.steps import ExitStep

if TYPE_CHECKING:
    from flowctl.engine.compiler import Compiler
    from flowctl.engine.runtime import Version
    from flowctl.engine.work import Batch
    from flowctl.program.instructions import Instruction


def compiled(instruction: Instruction, compiler: Compiler) -> dict[str, Any]:
    """The word that says why: the step's own, or the role of a way out such as a skipped send."""
    step = instruction.step
    return {"reason": step.exit if isinstance(step, ExitStep) else instruction.role or "exit"}


def run(batch: Batch, version: Version, pc: int, said: dict[str, Any]) -> None:
    """Out."""
    batch.end(version, pc, EXITED, said["reason"])
