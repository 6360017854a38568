"""The last position: the journey is complete."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowctl.engine.runtime import COMPLETED

if TYPE_CHECKING:
    from flowctl.engine.compiler import Compiler
    from flowctl.engine.runtime import Version
    from flowctl.engine.work import Batch
    from flowctl.program.instructions import Instruction


def compiled(instruction: Instruction, compiler: Compiler) -> dict[str, Any]:
    """Nothing to know."""
    return {}


def run(batch: Batch, version: Version, pc: int, said: dict[str, Any]) -> None:
    """Complete."""
    batch.end(version, pc, COMPLETED, None)
