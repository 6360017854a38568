"""FLO010 goal-shadows-step: steps for those who did what takes them out of the journey.

## What it does

Reports steps that wait for, or ask about, the very event that ends the journey as its goal or by `exit_when`: goals and exits are
applied before any step runs, so that nobody comes there.

## Why is this bad

The thanks behind such a `wait_for` are never sent, and no test of the other branch shows it.

## Example

```yaml
goal: {event: purchase_completed}
steps:
  - send: offer
  - wait_for: {event: purchase_completed}
    timeout: 3d
    then: [{send: thanks}]
```

## Use instead

```yaml
goal: {event: purchase_completed}
on_goal: [{send: thanks}]
steps:
  - send: offer
  - wait: 3d
```

## Options

None.

## Source

"Goals and `exit_when` are applied before any step runs", in the meaning of the language.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowctl.language.conditions import EventLeaf
from flowctl.language.problem import Problem, Related
from flowctl.language.steps import ChooseStep, IfStep, WaitForStep
from flowctl.lint.steps import said, spot

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from flowctl.language.conditions import Condition
    from flowctl.language.problem import Place, Severity
    from flowctl.language.steps import Step
    from flowctl.lint.context import Context, Journey

CODE = "FLO010"
SLUG = "goal-shadows-step"
SEVERITY: Severity = "warning"


def check(context: Context) -> Iterator[Problem]:
    """Every branch that only those reach who are out already."""
    for journey in context.journeys:
        enders = list(_enders(journey))
        if not enders:
            continue
        for step in journey.steps:
            for asked, branch, key in _branches(step):
                ender = next((found for found in enders if branch and _covers(found[0], asked)), None)
                if ender is not None:
                    yield _finding(journey, step, branch[0], key, ender)


def _enders(journey: Journey) -> Iterator[tuple[EventLeaf, str, Place]]:
    """The events that end the journey whenever they come: the leaf, what it is, where it stands."""
    workflow = journey.workflow
    goal = workflow.goal
    if goal is not None and goal.ends and goal.within is None and isinstance(goal.condition, EventLeaf):
        yield goal.condition, "goal", workflow.place_of_key("goal")
    for condition in workflow.exit_when:
        if isinstance(condition, EventLeaf):
            yield condition, "exit", condition.place


def _branches(step: Step) -> Iterator[tuple[Condition, Sequence[Step], str]]:
    match step:
        case WaitForStep():
            yield step.wait_for, step.then, "then"
        case IfStep() if isinstance(step.if_, EventLeaf) and isinstance(step.if_.since, str):
            if step.if_.since != "ever":
                yield step.if_, step.then, "then"
        case ChooseStep():
            for option in step.choose:
                if (
                    isinstance(option.when, EventLeaf)
                    and isinstance(option.when.since, str)
                    and option.when.since != "ever"
                ):
                    yield option.when, option.do, "do"


def _covers(ender: EventLeaf, asked: Condition) -> bool:
    """Whether whatever answers the question has ended the journey before; counts and sums are not judged."""
    if not isinstance(asked, EventLeaf) or asked.event != ender.event:
        return False
    if any(part is not None for leaf in (ender, asked) for part in (leaf.count, leaf.sum_, leaf.last, leaf.between)):
        return False
    return all(asked.where.get(name) == value for name, value in ender.where.items())


def _finding(journey: Journey, step: Step, first: Step, key: str, ender: tuple[EventLeaf, str, Place]) -> Problem:
    leaf, what, place = ender
    instead = (
        "put these steps under `on_goal:`, or say `ends: false`: then they stay in"
        if what == "goal"
        else "delete these steps, or that `exit_when`"
    )
    return Problem(
        code=CODE,
        slug=SLUG,
        severity=SEVERITY,
        message=f"nobody comes to the `{key}` of {said(step)}: `{leaf.event}` is the {what} of `{journey.name}`, and they are out",
        place=spot(first),
        label="never runs",
        related=(Related(place=place, label="ends the journey first"),),
        help=instead,
        step=journey.label(step),
    )
