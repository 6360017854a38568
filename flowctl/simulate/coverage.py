"""Which steps, branches and time-outs no scenario went through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowctl.program.compiling import compile_program

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.language.problem import Place
    from flowctl.language.workflow import Workflow
    from flowctl.program.instructions import Instruction
    from flowctl.project.project import Project
    from flowctl.simulate.scenario import Trail

_SILENT = frozenset({"end", "again"})  # positions that no step of the file stands for
_WAYS = {"branch": ("then", "else"), "wait_for": ("then", "timeout"), "task": ("then", "timeout")}


@dataclass(frozen=True, kw_only=True, slots=True)
class Gap:
    """Something that no test went through."""

    place: Place
    what: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Coverage:
    """Of one workflow: how much there is, how much was gone through, and what was not."""

    workflow: str
    total: int
    covered: int
    gaps: tuple[Gap, ...]


def coverage(project: Project, trail: Trail) -> list[Coverage]:
    """By workflow, in the order of names."""
    return [_of(workflow, trail) for _, workflow in sorted(project.workflows.items())]


def _of(workflow: Workflow, trail: Trail) -> Coverage:
    total = 0
    gaps: list[Gap] = []
    for instruction in compile_program(workflow).instructions:
        if instruction.op in _SILENT or instruction.role == "begin":
            continue
        total += 1
        if (workflow.name, instruction.pc) not in trail.positions:
            gaps.append(Gap(place=instruction.place, what=f"{_label(instruction)} was never reached"))
            continue
        for way in _ways(instruction):
            total += 1
            if (workflow.name, instruction.pc, way) not in trail.ways:
                gaps.append(
                    Gap(place=instruction.place, what=f"{_label(instruction)} never went {_spoken(instruction, way)}")
                )
    return Coverage(workflow=workflow.name, total=total, covered=total - len(gaps), gaps=tuple(gaps))


def _ways(instruction: Instruction) -> Iterator[str]:
    if instruction.op == "split":
        yield from instruction.targets
    yield from _WAYS.get(instruction.op, ())


def _label(instruction: Instruction) -> str:
    verb = instruction.role or instruction.op
    return f"{verb} {instruction.name}" if instruction.name else verb


def _spoken(instruction: Instruction, way: str) -> str:
    if instruction.op == "split":
        return f"to {way}"
    return {"then": "to `then`", "else": "to `else`", "timeout": "to its time-out"}[way]
