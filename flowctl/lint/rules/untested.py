"""VER002 untested: no scenario test goes through a workflow.

## What it does

Reports a workflow that no scenario names in `of`, unless one says `of: all`.

## Why is this bad

A scenario says what a journey must do, on the real engine, in a tenth of a second. Without one the first test is on people.

## Example

```yaml
workflow: spring-offer
```

## Use instead

```yaml
test: a buyer hears nothing more
of: spring-offer
contact: {email: ana@example.com}
timeline: [{at: +1h, event: purchase_completed}]
expect: [{until: +14d, sends: []}]
```

## Options

None.

## Source

`flowctl test --coverage` tells which steps, branches and time-outs no scenario went through.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowctl.language.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.language.problem import Severity
    from flowctl.lint.context import Context

CODE = "VER002"
SLUG = "untested"
SEVERITY: Severity = "info"


def check(context: Context) -> Iterator[Problem]:
    """Every workflow without a scenario."""
    tested = {name for scenario in context.project.scenarios.values() for name in scenario.of}
    if "all" in tested:
        return
    for journey in context.journeys:
        if journey.name not in tested and journey.workflow.state != "draining":
            yield Problem(
                code=CODE,
                slug=SLUG,
                severity=SEVERITY,
                message=f"no scenario tests `{journey.name}`",
                place=journey.workflow.place_of("workflow"),
                help=f"write one beside it: `test: …` with `of: {journey.name}`",
                step=journey.name,
            )
