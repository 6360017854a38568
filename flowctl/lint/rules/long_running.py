"""CPX005 long-running: the longest way through a workflow takes more than 90 days.

## What it does

Reports a workflow whose waits, time-outs and lives of messages add up to more than 90 days on the longest way. Ways that nothing
bounds, such as a wait for a date in a field, and repeats are not judged.

## Why is this bad

Whoever enters keeps the version of that day. After a quarter of a year there are many versions in flight, all of which must still
make sense.

## Example

```yaml
steps:
  - send: offer
  - wait: 6 months
  - send: offer-again
```

## Use instead

```yaml
triggers: [{enters: silent-for-six-months}]
steps:
  - send: offer-again
```

## Options

`lint: {max: {days: 90}}`, in flowctl.yaml or in one workflow.

## Source

A quarter; the gallery's longest journey, two months of welcome, stays below it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowctl.language.durations import DAY_MS
from flowctl.language.problem import Problem
from flowctl.program.paths import longest_way

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.language.problem import Severity
    from flowctl.lint.context import Context

CODE = "CPX005"
SLUG = "long-running"
SEVERITY: Severity = "info"


def check(context: Context) -> Iterator[Problem]:
    """Every workflow that takes longer."""
    for journey in context.journeys:
        longest_ms = longest_way(journey.program, context.project.messages)
        most = journey.most("days")
        if longest_ms is None or longest_ms <= most * DAY_MS:
            continue
        yield Problem(
            code=CODE,
            slug=SLUG,
            severity=SEVERITY,
            message=f"somebody can be in `{journey.name}` for {longest_ms // DAY_MS} days; more than {most} keep many versions in flight",
            place=journey.workflow.place_of("workflow"),
            help="let a segment begin the later part as a workflow of its own: it then follows the newest version",
            step=journey.name,
        )
