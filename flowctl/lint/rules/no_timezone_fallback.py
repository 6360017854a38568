"""CNS008 no-timezone-fallback: local hours are used, and the project does not say whose.

## What it does

Reports a flowctl.yaml without `timezone` in a project that goes by local time: quiet hours, `time:`, slots, dates, moments, schedules.
Contacts whose zone nobody knows then live in UTC.

## Why is this bad

"09:00" is then ten o'clock in Paris, eleven in summer, and quiet hours end an hour or two too early.

## Example

```yaml
project: maison-lune
quiet_hours: {sms: {between: ["08:00", "20:00"]}}
```

## Use instead

```yaml
project: maison-lune
timezone: Europe/Paris
quiet_hours: {sms: {between: ["08:00", "20:00"]}}
```

## Options

None.

## Source

The zone of a contact, in the meaning of the language: its `timezone`, its phone prefix or country, the workflow's, the project's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowctl.language.conditions import TimeLeaf, leaves
from flowctl.language.problem import Problem, Related
from flowctl.language.steps import WaitStep, WaitUntilStep
from flowctl.language.triggers import DateTrigger, MomentTrigger, ScheduleTrigger
from flowctl.lint.steps import spot

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.language.problem import Place, Severity
    from flowctl.lint.context import Context, Journey

CODE = "CNS008"
SLUG = "no-timezone-fallback"
SEVERITY: Severity = "warning"


def check(context: Context) -> Iterator[Problem]:
    """At most one, in flowctl.yaml."""
    settings = context.settings
    if "timezone" in settings.model_fields_set or not context.project.settings_sound:
        return
    used = settings.place_of_key("quiet_hours") if settings.quiet_hours else None
    for journey in context.journeys:
        used = used or _local(journey)
    if used is not None:
        yield Problem(
            code=CODE,
            slug=SLUG,
            severity=SEVERITY,
            message="the project has no `timezone`, so that contacts whose zone is unknown live in UTC",
            place=settings.place_of("project"),
            related=(Related(place=used, label="goes by local time"),),
            help="add `timezone: Europe/Paris`, where most of them live",
        )


def _local(journey: Journey) -> Place | None:
    """The first thing of a workflow that goes by local time and says no zone of its own."""
    if journey.workflow.timezone is not None:
        return None
    for trigger in journey.workflow.triggers:
        if isinstance(trigger, DateTrigger | MomentTrigger | ScheduleTrigger):
            return trigger.place
    for step in journey.steps:
        if isinstance(step, WaitUntilStep) or (isinstance(step, WaitStep) and step.time is not None):
            return spot(step)
    timed = (leaf.place for _, asked in journey.questions for leaf in leaves(asked) if isinstance(leaf, TimeLeaf))
    return next(timed, None)
