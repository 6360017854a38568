"""PRS011 duplicate-objective: two workflows chase the same goal among the same people.

## What it does

Reports two workflows that send marketing, have word for word the same goal (`within` apart), and take their contacts from the same
segment: by the trigger `enters`, or in the `audience`. Silent where they share an `exclusive_group`, where one starts the other, and where
their audiences ask different values of a field that nothing here writes.

## Why is this bad

Each counts the other's conversions as its own, and the contact is asked twice for one thing.

## Example

```yaml
workflow: win-back
goal: {event: purchase_completed, within: 30d}
triggers: [{enters: lapsed}]
```
```yaml
workflow: come-back-offer
goal: {event: purchase_completed, within: 14d}
triggers: [{moment: 2026-12-01T09:00}]
audience: {segment: lapsed}
```

## Use instead

```yaml
workflow: win-back
goal: {event: purchase_completed, within: 30d}
triggers: [{enters: lapsed}]
exclusive_group: win-back
```
```yaml
workflow: come-back-offer
goal: {event: purchase_completed, within: 14d}
triggers: [{moment: 2026-12-01T09:00}]
audience: {segment: lapsed}
exclusive_group: win-back
```

## Options

None.

## Source

One workflow, one aim: see CPX001.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from flowctl.language.conditions import AllOf, SegmentLeaf
from flowctl.language.problem import Problem, Related
from flowctl.language.triggers import EntersTrigger
from flowctl.lint.exclusion import exclude

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.language.conditions import Condition
    from flowctl.language.problem import Severity
    from flowctl.lint.context import Context, Journey

CODE = "PRS011"
SLUG = "duplicate-objective"
SEVERITY: Severity = "warning"


def check(context: Context) -> Iterator[Problem]:
    """Each workflow that has an earlier one's objective."""
    known: dict[tuple[str, str], Journey] = {}
    for journey in context.journeys:
        goal = journey.workflow.goal
        if goal is None or not journey.marketing_sends or journey.workflow.state == "draft":
            continue
        segments = _segments(journey)
        if not segments:
            continue
        said = json.dumps(goal.condition.model_dump(mode="json", exclude_defaults=True), sort_keys=True)
        keys = [(said, segment) for segment in sorted(segments)]
        for key in keys:
            other = known.get(key)
            if other is not None and _compete(journey, other, context):
                yield _finding(journey, other, key[1])
                break
        for key in keys:
            known.setdefault(key, journey)


def _segments(journey: Journey) -> set[str]:
    """The segments whose members it takes."""
    found = {trigger.enters for trigger in journey.workflow.triggers if isinstance(trigger, EntersTrigger)}
    return found | set(_asked(journey.workflow.audience))


def _asked(condition: Condition | None) -> Iterator[str]:
    match condition:
        case SegmentLeaf():
            yield condition.segment
        case AllOf():
            for part in condition.all_:
                yield from _asked(part)
        case _:
            pass


def _compete(journey: Journey, other: Journey, context: Context) -> bool:
    group = journey.workflow.exclusive_group
    if group is not None and group == other.workflow.exclusive_group:
        return False
    starts = {(origin.name, target) for target, origins in context.starters.items() for origin, _ in origins}
    if (journey.name, other.name) in starts or (other.name, journey.name) in starts:
        return False
    return not exclude(journey.kept, other.kept)


def _finding(journey: Journey, other: Journey, segment: str) -> Problem:
    goal, theirs = journey.workflow.goal, other.workflow.goal
    place = journey.workflow.place_of_key("goal") if goal is not None else journey.workflow.place
    related = (
        (Related(place=other.workflow.place_of_key("goal"), label=f"the goal of `{other.name}`"),) if theirs else ()
    )
    return Problem(
        code=CODE,
        slug=SLUG,
        severity=SEVERITY,
        confidence="possible",
        message=f"`{journey.name}` and `{other.name}` have one goal, and both take contacts of the segment `{segment}`",
        place=place,
        related=related,
        help="make them one workflow, give both one `exclusive_group:`, or part their audiences",
        step=journey.name,
    )
