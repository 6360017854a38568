"""Workflow to flat program: steps are laid out last to first, so that every target is known when it is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from flowctl.language.steps import (
    ChooseStep,
    ExitStep,
    IfStep,
    RepeatStep,
    SendStep,
    SplitStep,
    TaskStep,
    WaitForStep,
    WaitUntilStep,
)
from flowctl.program.instructions import NEXT, Instruction, Program

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowctl.language.steps import Step
    from flowctl.language.workflow import Workflow
    from flowctl.program.instructions import Op

_STRAIGHT_ON = frozenset(
    {
        "wait",
        "set",
        "add",
        "tag",
        "untag",
        "consent",
        "assign",
        "create",
        "notify",
        "start",
        "stop",
        "fetch",
        "advertise",
    }
)  # steps with one way on


def compile_program(workflow: Workflow) -> Program:
    """Lay a workflow out flat. Total: whatever validated compiles."""
    layout = _Layout()
    end = layout.add(op="end", name="", place=workflow.place_of_key("steps"))
    on_goal = layout.steps(workflow.on_goal, end) if workflow.on_goal else None
    start = layout.steps(workflow.steps, end)
    if start != len(layout.drafts) - 1:  # no steps at all, or the layout did not end on the first one
        first = layout.drafts[start]
        start = layout.add(
            op="branch", name="", place=first["place"], targets={"then": start, "else": start}, role="begin"
        )
    last = len(layout.drafts) - 1
    instructions = tuple(
        Instruction(pc=pc, targets={label: last - target for label, target in targets.items()}, **draft)
        for pc, (draft, targets) in enumerate(zip(reversed(layout.drafts), reversed(layout.targets), strict=True))
    )
    return Program(
        workflow=workflow,
        instructions=instructions,
        on_goal=None if on_goal is None else last - on_goal,
        step_positions={name: last - pc for name, pc in layout.positions.items()},
    )


class _Layout:
    """Instructions in reverse order; positions count from the end until the last step."""

    def __init__(self) -> None:
        self.drafts: list[dict[str, Any]] = []  # of each instruction what does not depend on where it comes to stand
        self.targets: list[dict[str, int]] = []
        self.positions: dict[str, int] = {}

    def add(self, targets: dict[str, int] | None = None, **said: Any) -> int:
        self.drafts.append(said)
        self.targets.append(targets or {})
        return len(self.drafts) - 1

    def steps(self, steps: Sequence[Step], after: int) -> int:
        """Lay out a list of steps; returns where it begins."""
        for step in reversed(steps):
            after = self.step(step, after)
        return after

    def step(self, step: Step, after: int) -> int:
        begin = self._verb(step, after)
        if step.when is not None:
            targets = {"then": begin, "else": after}
            begin = self.add(
                op="branch",
                name=step.name,
                place=step.place,
                targets=targets,
                step=step,
                condition=step.when,
                role="when",
            )
        if step.name:
            self.positions[step.name] = begin
        return begin

    def _verb(self, step: Step, after: int) -> int:
        said: dict[str, Any] = {"name": step.name, "place": step.place, "step": step}
        if step.verb in _STRAIGHT_ON:  # most steps: quicker than to ask for the class of each of the others
            return self.add(op=cast("Op", step.verb), targets={NEXT: after}, **said)
        match step:
            case IfStep():
                targets = {"else": self.steps(step.else_, after), "then": self.steps(step.then, after)}
                return self.add(op="branch", condition=step.if_, role="if", targets=targets, **said)
            case ChooseStep():
                return self._choose(step, after)
            case SendStep():
                return self.add(
                    op="send", targets={NEXT: after, "skipped": self._way(step.on_skip, "skipped", step, after)}, **said
                )
            case WaitForStep() | TaskStep():
                targets = {"timeout": self.steps(step.on_timeout, after), "then": self.steps(step.then, after)}
                return self.add(op=cast("Op", step.verb), targets=targets, **said)
            case WaitUntilStep():
                targets = {NEXT: after}
                if step.on_missing is not None and step.on_past is not None:
                    targets["past"] = self._way(step.on_past, "past", step, after)
                    targets["missing"] = self._way(step.on_missing, "missing", step, after)
                return self.add(op="wait_until", targets=targets, **said)
            case SplitStep():
                targets = {path: self.steps(steps, after) for path, steps in reversed(step.paths.items())}
                return self.add(op="split", targets=dict(reversed(targets.items())), **said)
            case RepeatStep():
                return self._repeat(step, after)
            case ExitStep():
                return self.add(op="exit", **said)
            case _:
                message = f"nothing lays out `{step.verb}`"  # a step that we forgot
                raise AssertionError(message)

    def _choose(self, step: ChooseStep, after: int) -> int:
        otherwise = self.steps(step.otherwise, after)
        for option in reversed(step.choose):
            targets = {"then": self.steps(option.do, after), "else": otherwise}
            otherwise = self.add(
                op="branch",
                name=step.name,
                place=option.place,
                targets=targets,
                step=step,
                condition=option.when,
                role="choose",
            )
        return otherwise

    def _repeat(self, step: RepeatStep, after: int) -> int:
        said: dict[str, Any] = {"name": step.name, "place": step.place, "step": step}
        again = self.add(op="again", **said)  # its target, the head, stands one round later
        turn = self.steps(step.steps, again)
        head = self.add(op="repeat", targets={"turn": turn, NEXT: after}, **said)
        self.targets[again] = {NEXT: head}
        return head

    def _way(self, way: Any, role: str, step: Step, after: int) -> int:
        if isinstance(way, list):
            return self.steps(way, after)
        if way == "exit":
            return self.add(op="exit", name="", place=step.place, step=step, role=role)
        return after
