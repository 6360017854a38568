"""The flat program of a workflow: numbered instructions with labelled jump targets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from flowctl.language.conditions import Condition
    from flowctl.language.problem import Place
    from flowctl.language.steps import Step
    from flowctl.language.workflow import Workflow

Op = Literal[
    "branch", "send", "wait", "wait_until", "wait_for", "split", "repeat", "again", "set", "add", "tag", "untag", "consent", "assign", "create",
    "notify", "task", "start", "stop", "fetch", "advertise", "exit", "end",
]  # fmt: skip

NEXT = "next"


@dataclass(frozen=True, kw_only=True, slots=True)
class Instruction:
    """One position. `targets` maps a label to the position that follows it.

    Labels: `next` where there is one way on; branch `then`, `else`; send `next`, `skipped`; wait_for and task `then`, `timeout`; wait_until
    `next`, `missing`, `past`; split one a path; repeat `turn`, `next`; again `next` (the head of its repeat); exit and end none.
    """

    pc: int
    op: Op
    name: str  # the step's id, or what stands for it; '' where nobody named it
    place: Place
    targets: dict[str, int] = field(default_factory=dict)
    step: Step | None = None
    condition: Condition | None = None  # of a branch
    role: str = ""  # of a branch: when, if, choose

    @property
    def next(self) -> int:
        """Where the only way on leads.

        Raises:
            KeyError: there is no such way.
        """
        return self.targets[NEXT]


@dataclass(frozen=True, kw_only=True, slots=True)
class Program:
    """A workflow's instructions; it starts at 0, `on_goal` is where the steps after a goal begin, `end` is the last position."""

    workflow: Workflow
    instructions: tuple[Instruction, ...]
    on_goal: int | None
    step_positions: dict[str, int]  # step id → the position where the step begins

    @property
    def end(self) -> int:
        """The position that completes an enrollment."""
        return len(self.instructions) - 1

    def successors(self, pc: int) -> tuple[int, ...]:
        """The positions that can follow one."""
        return tuple(self.instructions[pc].targets.values())
