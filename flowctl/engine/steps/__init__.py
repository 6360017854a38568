"""Steps as set operations: one kind a module, each with `compiled` for apply and `run` for a tick."""

from __future__ import annotations

import functools
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flowctl.engine.compiler import Compiler
    from flowctl.engine.runtime import Version
    from flowctl.engine.work import Batch
    from flowctl.program.instructions import Instruction

# The op of an instruction → the module that runs it. Ops without a module are refused by `apply`.
MODULES: Mapping[str, str] = {
    "branch": "branch",
    "send": "send",
    "wait": "wait",
    "wait_until": "wait_until",
    "wait_for": "wait_for",
    "split": "split",
    "repeat": "repeat",
    "again": "again",
    "set": "set",
    "add": "add",
    "tag": "tag",
    "untag": "tag",
    "consent": "consent",
    "assign": "assign",
    "create": "create",
    "notify": "notify",
    "task": "task",
    "fetch": "fetch",
    "advertise": "advertise",
    "start": "start",
    "stop": "stop",
    "exit": "exit",
    "end": "end",
}


class StepKind(Protocol):
    """What a step's module offers."""

    def compiled(self, instruction: Instruction, compiler: Compiler) -> dict[str, Any]:
        """What a tick needs of the step, as JSON; faults go to `compiler.refuse`."""
        ...

    def run(self, batch: Batch, version: Version, pc: int, said: dict[str, Any]) -> None:
        """Take every running row at a position one step on: moved, parked or over."""
        ...


@functools.cache  # asked at every position of every batch
def kind_of(op: str) -> StepKind | None:
    """The module of an op, loaded when first used."""
    name = MODULES.get(op)
    return import_module(f"flowctl.engine.steps.{name}") if name else None
