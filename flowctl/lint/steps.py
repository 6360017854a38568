"""What rules ask of steps: where they stand, which are decisions, whether one goes on behind them."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

from flowctl.language.steps import (
    ChooseStep,
    ExitStep,
    IfStep,
    RepeatStep,
    SendStep,
    SplitStep,
    Step,
    TaskStep,
    WaitForStep,
    branches,
    walk,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from flowctl.language.conditions import Condition
    from flowctl.language.problem import Place
    from flowctl.language.workflow import Workflow

_DECIDING = frozenset({"if", "choose", "wait_for"})
_ASKING = frozenset({IfStep, WaitForStep, ChooseStep, RepeatStep})  # beside `when`
TAKING_TIME = frozenset({"wait", "wait_until", "wait_for", "task", "repeat"})


def spot(step: Step) -> Place:
    """Where to point at a step: its verb and, where it fits on the line, what the verb says."""
    entry = step.entry(step.verb)
    if entry is None:
        return step.place
    start, end = entry.key.place, entry.value.place
    return replace(start, end_column=end.end_column) if end.end_line == start.line else start


def said(step: Step) -> str:
    """A step in the message of a finding that points at it: no line, since a baseline must not know lines."""
    return f"`{step.name}`" if step.name else f"this `{step.verb}`"


def told(step: Step) -> str:
    """A step told from afar: its name, else its verb and line."""
    return f"`{step.name}`" if step.name else f"the `{step.verb}` of line {step.place.line}"


def is_decision(step: Step) -> bool:
    """Whether contacts part here by what is true of them: `if`, `choose`, `wait_for`, a send with steps of its own for who is skipped."""
    return step.verb in _DECIDING or (isinstance(step, SendStep) and isinstance(step.on_skip, list))


def goes_on(steps: Sequence[Step]) -> bool:
    """Whether time passes somewhere in a list of steps."""
    return any(step.verb in TAKING_TIME for step in walk(steps))


def falls_through(steps: Sequence[Step]) -> bool:
    """Whether somebody can come out behind the last of them."""
    for step in steps:
        if step.when is not None:
            continue
        if isinstance(step, ExitStep):
            return False
        if isinstance(step, IfStep | ChooseStep | SplitStep | WaitForStep | TaskStep):
            inner = branches(step)
            if inner and not any(falls_through(branch) for _, branch in inner):
                return False
        if isinstance(step, RepeatStep) and not falls_through(step.steps):
            return False
    return True


def size(steps: Sequence[Step]) -> int:
    """How many steps, those inside steps too."""
    return sum(1 for _ in walk(steps))


def questions(step: Step) -> Iterator[Condition]:
    """Every condition that a step itself asks."""
    if step.when is not None:
        yield step.when
    if type(step) not in _ASKING:
        return
    match step:
        case IfStep():
            yield step.if_
        case WaitForStep():
            yield step.wait_for
        case ChooseStep():
            yield from (option.when for option in step.choose)
        case RepeatStep() if step.repeat.while_ is not None:
            yield step.repeat.while_
        case _:
            pass


def around(workflow: Workflow) -> dict[int, tuple[Condition, ...]]:
    """The conditions that hold for whoever comes to a step, by the step's identity: those of the branches and `when` around it."""
    found: dict[int, tuple[Condition, ...]] = {}
    pending: list[tuple[Sequence[Step], tuple[Condition, ...]]] = [(workflow.steps, ()), (workflow.on_goal, ())]
    while pending:
        steps, above = pending.pop()
        for step in steps:
            found[id(step)] = above
            inside = above if step.when is None else (*above, step.when)
            for key, branch in branches(step):
                asked = _asked_before(step, key)
                pending.append((branch, inside if asked is None else (*inside, asked)))
    return found


def before(steps: Sequence[Step]) -> Iterator[tuple[int, Step]]:
    """The step right before each step of a list, those inside steps too, by the later one's identity."""
    for earlier, step in pairwise(steps):
        yield id(step), earlier
    for step in steps:
        for _, inner in branches(step):
            yield from before(inner)


def _asked_before(step: Step, key: str) -> Condition | None:
    """What is known to hold in a branch."""
    match step:
        case IfStep() if key == "then":
            return step.if_
        case ChooseStep() if key.startswith("choose."):
            return step.choose[int(key.removeprefix("choose."))].when
        case WaitForStep() if key == "then":
            return step.wait_for
        case RepeatStep():
            return step.repeat.while_
        case _:
            return None
