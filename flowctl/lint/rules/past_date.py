"""FLO011 past-date: a fixed date that has passed.

## What it does

Reports a `moment` trigger, a `wait_until: {date}` or an `active: {until}` of a workflow in use that lies in the past.

## Why is this bad

Nobody enters any more, or everybody passes the wait at once: last year's Christmas mail leaves in January, to whoever enters.

## Example

```yaml
triggers: [{moment: 2021-12-01T09:00}]
```

## Use instead

```yaml
triggers: [{moment: 2199-12-01T09:00}]
```

## Options

None.

## Source

`flowctl plan` tells whom an apply would take in at once; this one looks at the dates themselves. Today is today in UTC.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from flowctl import clock
from flowctl.language.problem import Problem
from flowctl.language.steps import WaitUntilStep
from flowctl.language.steps.wait_until import UntilDate
from flowctl.language.triggers import MomentTrigger

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.language.problem import Place, Severity
    from flowctl.lint.context import Context, Journey

CODE = "FLO011"
SLUG = "past-date"
SEVERITY: Severity = "warning"
IN_USE = ("live", "paused")
ZONES = timedelta(hours=14)  # the zone that is furthest ahead; a day is past when it is past everywhere


def check(context: Context) -> Iterator[Problem]:
    """Every date that has passed."""
    today = (datetime.fromtimestamp(clock.now() / 1000, UTC) - ZONES).date()
    for journey in context.journeys:
        if journey.workflow.state not in IN_USE:
            continue
        for day, place, what, help_ in _dates(journey):
            if day < today:
                yield Problem(
                    code=CODE,
                    slug=SLUG,
                    severity=SEVERITY,
                    message=f"{day.isoformat()} has passed: {what}",
                    place=place,
                    help=help_,
                    step=journey.name,
                )


def _dates(journey: Journey) -> Iterator[tuple[date, Place, str, str]]:
    """Each fixed date, where it stands, what it being past means, what to do."""
    workflow = journey.workflow
    for trigger in workflow.triggers:
        if isinstance(trigger, MomentTrigger):
            where = trigger.place_of("moment")
            yield (
                trigger.moment.date(),
                where,
                "nobody enters by it any more",
                "set the next one, or delete the workflow: it drains",
            )
    if workflow.active is not None and workflow.active.until is not None:
        where = workflow.active.place_of("until")
        yield (
            workflow.active.until,
            where,
            "the workflow takes nobody in any more",
            "set a later day, or delete the workflow: it drains",
        )
    for step in journey.steps:
        if isinstance(step, WaitUntilStep) and isinstance(step.wait_until, UntilDate):
            where = step.wait_until.place_of("date")
            yield (
                step.wait_until.date.date(),
                where,
                "everybody goes on at once",
                "set a later date, or delete the wait",
            )
