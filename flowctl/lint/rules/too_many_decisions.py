"""CPX002 too-many-decisions: more decisions than a reader can hold.

## What it does

Counts `if`, `choose`, `wait_for`, and sends with steps of their own for who cannot be reached (`on_skip: [steps]`).

## Why is this bad

Each decision can double the number of ways through the workflow. With more than six nobody has seen them all, the tests included.

## Example

```yaml
steps:
  - if: {…}        # the first of seven
```

## Use instead

```yaml
steps:
  - start: the-second-half      # a workflow of its own, with its own goal
```

## Options

`lint: {max: {decisions: 6}}` in flowctl.yaml, or in one workflow.

## Source

Six binary decisions are 64 ways; the number is a convention, as McCabe's 10 for functions (A Complexity Measure, 1976).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowctl.language.problem import Problem, Related
from flowctl.lint.steps import is_decision, spot

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.language.problem import Severity
    from flowctl.lint.context import Context

CODE = "CPX002"
SLUG = "too-many-decisions"
SEVERITY: Severity = "warning"


def check(context: Context) -> Iterator[Problem]:
    """Every workflow with too many."""
    for journey in context.journeys:
        decisions = [step for step in journey.steps if is_decision(step)]
        most = journey.most("decisions")
        if len(decisions) <= most:
            continue
        yield Problem(
            code=CODE,
            slug=SLUG,
            severity=SEVERITY,
            message=f"`{journey.name}` takes {len(decisions)} decisions; at most {most} can be followed",
            place=journey.workflow.place_of("workflow"),
            related=(Related(place=spot(decisions[most]), label=f"number {most + 1}"),),
            help="move what belongs together into a workflow of its own and `start` it; `choose` says several `if` at once",
            step=journey.name,
        )
