"""AUD001 everyone: marketing to everybody.

## What it does

Reports a workflow that sends marketing at a `moment` or by a `schedule` to an `audience` of a single criterion that leaves nobody out. Other triggers
choose people by what they did, and are left alone.

## Why is this bad

A second question, or one exclusion (who bought last week, who complained), makes fewer and better mails.

## Example

```yaml
triggers: [{moment: 2199-12-01T09:00}]
audience: {reachable: email}
steps: [{send: offer}]
```

## Use instead

```yaml
triggers: [{moment: 2199-12-01T09:00}]
audience: {all: [{segment: subscribers}, {not: {event: purchase_completed, since: 7d}}]}
steps: [{send: offer}]
```

## Options

None.

## Source

The second of the five questions of `flowctl new`: for whom, and for whom not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowctl.language.conditions import Not, leaves
from flowctl.language.problem import Problem
from flowctl.language.triggers import MomentTrigger, ScheduleTrigger

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.language.conditions import Condition
    from flowctl.language.problem import Severity
    from flowctl.lint.context import Context

CODE = "AUD001"
SLUG = "everyone"
SEVERITY: Severity = "info"


def check(context: Context) -> Iterator[Problem]:
    """Every workflow without a choice of people."""
    for journey in context.journeys:
        workflow = journey.workflow
        timed = any(isinstance(trigger, MomentTrigger | ScheduleTrigger) for trigger in workflow.triggers)
        if not timed or not journey.marketing_sends or _chooses(workflow.audience):
            continue
        yield Problem(
            code=CODE,
            slug=SLUG,
            severity=SEVERITY,
            message=f"`{journey.name}` writes to everybody of one criterion",
            place=workflow.place_of("audience"),
            help="say in `audience:` for whom it is, and for whom not",
            step=journey.name,
        )


def _chooses(condition: Condition | None) -> bool:
    return condition is not None and (isinstance(condition, Not) or len(list(leaves(condition))) > 1)
