"""FLO005 no-goal-exit: who converted keeps receiving.

## What it does

Reports a workflow that sends marketing messages and has a goal which does not take people out: because the goal says
`ends: false`, or because its `within` is over before a message can leave, so that who converts later is not seen. An `exit_when`
is taken to see to it, and nothing is reported.

## Why is this bad

"Still thinking about it?" to somebody who bought yesterday is the complaint that marketers hear most.

## Example

```yaml
goal: {event: purchase_completed, within: 3d}
steps:
  - send: offer
  - wait: 7d
  - send: offer-again
```

## Use instead

```yaml
goal: {event: purchase_completed, within: 14d}
steps:
  - send: offer
  - wait: 7d
  - send: offer-again
```

## Options

None.

## Source

The journeys of the gallery: "converts" means that nothing further is sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowctl.language.problem import Fix, Problem, Related
from flowctl.lint.edits import key_deleted
from flowctl.lint.pressure import distances
from flowctl.lint.steps import said, spot

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.language.problem import Severity
    from flowctl.language.steps import SendStep
    from flowctl.language.workflow import Goal
    from flowctl.lint.context import Context, Journey

CODE = "FLO005"
SLUG = "no-goal-exit"
SEVERITY: Severity = "warning"


def check(context: Context) -> Iterator[Problem]:
    """Every goal that leaves people in."""
    for journey in context.journeys:
        goal = journey.workflow.goal
        if goal is None or journey.workflow.exit_when or not journey.marketing_sends:
            continue
        if not goal.ends:
            yield _finding(
                journey,
                goal,
                "ends",
                "the goal does not end the journey, so who converted keeps receiving",
                Related(place=spot(journey.marketing_sends[0]), label="sent to converts too"),
                "delete `ends: false`, or say in `exit_when:` who leaves",
                _without(goal, "ends", context),
            )
        elif goal.within is not None and (late := _too_late(journey, goal)):
            yield _finding(
                journey,
                goal,
                "within",
                f"the goal counts for {goal.within} only; who converts later still gets {said(late)}",
                Related(place=spot(late), label=f"leaves more than {goal.within} after entry"),
                "lengthen `within`, or leave it out: the goal then counts while the journey runs",
                _without(goal, "within", context),
            )


def _too_late(journey: Journey, goal: Goal) -> SendStep | None:
    """The first marketing send that cannot leave before the goal's time is over."""
    graph = journey.graph
    earliest = distances(graph.arrows, graph.start)
    marketing = {id(step) for step in journey.marketing_sends}
    soonest: dict[int, int] = {}
    for index, node in enumerate(graph.nodes):
        if node.sending is not None and node.instruction is not None and index in earliest:
            step = id(node.instruction.step)
            soonest[step] = min(soonest.get(step, earliest[index]), earliest[index])
    limit_ms = goal.within.elapsed_ms if goal.within is not None else 0
    return next((step for step in journey.sends if id(step) in marketing and soonest.get(id(step), 0) > limit_ms), None)


def _without(goal: Goal, key: str, context: Context) -> Fix | None:
    """The goal without that key."""
    source = context.project.sources.get(goal.place.path)
    edit = key_deleted(goal.node, key, source) if goal.node and source is not None else None
    return Fix(title=f"delete `{key}`", edits=(edit,), safe=False) if edit else None


def _finding(
    journey: Journey, goal: Goal, key: str, message: str, related: Related, help_: str, fix: Fix | None
) -> Problem:
    return Problem(
        code=CODE,
        slug=SLUG,
        severity=SEVERITY,
        message=message,
        place=goal.place_of(key),
        related=(related,),
        help=help_,
        fix=fix,
        step=journey.name,
    )
