"""CPX003 nested-decisions: decisions within decisions.

## What it does

Adds up how hard a workflow is to follow: 1 for a decision (`if`, `choose`, `wait_for`, `on_skip: [steps]`) and for a loop
(`repeat`), and 1 more for each level they are nested in. Reports a sum over 15, and the steps that add most to it.

## Why is this bad

Six decisions in a row can be read one after the other; six within each other must all be kept in mind at once.

## Example

```yaml
- if: {segment: vip}
  then:
    - if: {reachable: push}
      then:
        - if: {message: offer, status: opened}
```

## Use instead

```yaml
- if: {not: {segment: vip}}
  then:
    - exit: no-vip
- send: offer
  via: [push, email]
```

## Options

`lint: {max: {complexity: 15}}` in flowctl.yaml, or in one workflow.

## Source

G. Ann Campbell, Cognitive Complexity, SonarSource 2017: the same sum, and the same threshold, for functions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowctl.language.problem import Problem, Related
from flowctl.language.steps import RepeatStep, SplitStep, TaskStep, WaitUntilStep, branches
from flowctl.lint.steps import is_decision, spot

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from flowctl.language.problem import Severity
    from flowctl.language.steps import Step
    from flowctl.lint.context import Context, Journey

CODE = "CPX003"
SLUG = "nested-decisions"
SEVERITY: Severity = "warning"
SHOWN_MAX = 3


def check(context: Context) -> Iterator[Problem]:
    """Every workflow whose sum is too high."""
    for journey in context.journeys:
        if _cannot_exceed(journey):
            continue
        costs = [*_costs(journey.workflow.steps, 0), *_costs(journey.workflow.on_goal, 0)]
        total, most = sum(cost for cost, _ in costs), journey.most("complexity")
        if total <= most:
            continue
        dearest = sorted(costs, key=lambda cost: -cost[0])[:SHOWN_MAX]
        yield Problem(
            code=CODE,
            slug=SLUG,
            severity=SEVERITY,
            message=f"`{journey.name}` is hard to follow: its decisions and levels add to {total}, the limit is {most}",
            place=journey.workflow.place_of("workflow"),
            related=tuple(
                Related(place=spot(step), label=f"adds {cost}: {cost - 1} levels deep") for cost, step in dearest
            ),
            help="end early with `exit` instead of nesting, join conditions with `all:`, or move a branch into a workflow of its own",
            step=journey.name,
        )


def _cannot_exceed(journey: Journey) -> bool:
    """Whether even all of them within each other would not be too much: most workflows need no closer look."""
    counted = sum(is_decision(step) or isinstance(step, RepeatStep) for step in journey.steps)
    levels = counted + sum(isinstance(step, SplitStep | TaskStep | WaitUntilStep) for step in journey.steps)
    return counted * levels <= journey.most("complexity")


def _costs(steps: Sequence[Step], level: int) -> Iterator[tuple[int, Step]]:
    for step in steps:
        if is_decision(step) or isinstance(step, RepeatStep):
            yield 1 + level, step
        for _, inside in branches(step):
            yield from _costs(inside, level + 1)
