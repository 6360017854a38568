"""CPX001 multiple-goals: one workflow pursues several things.

## What it does

Reports a goal that is met by any of several different facts, and a decision whose branches wait for different events.
Different statuses of messages are not different aims.

## Why is this bad

Its conversion rate means nothing: nobody can tell which of the aims was reached. Two workflows with one aim each are shorter,
and their numbers can be compared.

## Example

```yaml
goal:
  any:
    - {event: purchase_completed}
    - {event: webinar_registered}
```

## Use instead

```yaml
goal: {event: purchase_completed}
secondary_goals:
  registered: {event: webinar_registered, since: entry}
```

## Options

None.

## Source

One goal a workflow, as the language has it: `goal` is one condition, further ones are `secondary_goals`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowctl.language.conditions import AnyOf, EventLeaf, leaves
from flowctl.language.faults import listed
from flowctl.language.problem import Problem, Related
from flowctl.language.steps import WaitForStep, branches, walk
from flowctl.lint.steps import spot

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.language.conditions import Leaf
    from flowctl.language.problem import Severity
    from flowctl.language.steps import Step
    from flowctl.lint.context import Context, Journey

CODE = "CPX001"
SLUG = "multiple-goals"
SEVERITY: Severity = "warning"


def check(context: Context) -> Iterator[Problem]:
    """Every goal of `any`, and every decision whose branches part in aim."""
    for journey in context.journeys:
        goal = journey.workflow.goal
        if goal is not None and isinstance(goal.condition, AnyOf):
            aims = list(
                dict.fromkeys(aim for part in goal.condition.any_ for leaf in leaves(part) if (aim := _aim(leaf)))
            )
            if len(aims) > 1:
                yield Problem(
                    code=CODE,
                    slug=SLUG,
                    severity=SEVERITY,
                    message=f"the goal is any of {len(aims)}: {listed(aims)}",
                    place=goal.condition.place_of_key("any"),
                    label="one workflow, one goal",
                    help="split the workflow, or keep the one that counts and move the others to `secondary_goals:`",
                    step=journey.name,
                )
        parting = (_parting(journey, step) for step in journey.steps if step.verb in ("if", "choose", "split"))
        yield from (finding for finding in parting if finding is not None)


def _aim(leaf: Leaf) -> str:
    """What a leaf pursues, in a word; empty where it only limits another."""
    name = {
        "event": "event",
        "field": "field",
        "segment": "segment",
        "workflow": "workflow",
        "survey": "survey",
        "inside": "inside",
    }.get(leaf.subject)
    if leaf.subject == "message":
        return "an answer to a message"
    return f"{leaf.subject} `{getattr(leaf, name)}`" if name else ""


def _parting(journey: Journey, step: Step) -> Problem | None:
    """A decision two of whose branches wait for events, and for no event in common."""
    pursued: list[dict[str, WaitForStep]] = []
    for _, branch in branches(step):
        events = {
            one.wait_for.event: one
            for one in walk(branch)
            if isinstance(one, WaitForStep) and isinstance(one.wait_for, EventLeaf)
        }
        if events:
            pursued.append(events)
    for index, mine in enumerate(pursued):
        for other in pursued[:index]:
            if not mine.keys() & other.keys():
                first, second = next(iter(other.values())), next(iter(mine.values()))
                return _finding(journey, step, first, second)
    return None


def _finding(journey: Journey, step: Step, first: WaitForStep, second: WaitForStep) -> Problem:
    names = [wait.wait_for.event for wait in (first, second) if isinstance(wait.wait_for, EventLeaf)]
    return Problem(
        code=CODE,
        slug=SLUG,
        severity=SEVERITY,
        message=f"the branches pursue different events: `{names[0]}` and `{names[1]}`",
        place=spot(step),
        related=(Related(place=spot(first), label="one"), Related(place=spot(second), label="the other")),
        help="make two workflows of it, and `start` the one that fits where they part",
        step=journey.label(step),
    )
