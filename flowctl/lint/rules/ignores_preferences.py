"""AUD006 ignores-preferences: a promotion that asks neither what people like nor how well they know you.

## What it does

Reports a workflow that sends marketing at a `moment` or by a `schedule` and reads no field of the types `tags` and `choice` anywhere: not in its audience and segments, its choices, nor its messages. Projects without such fields are
left alone.

## Why is this bad

What people told, or showed, is in the store, and everybody gets the same.

## Example

```yaml
triggers: [{schedule: "0 9 1 * *"}]
audience: {reachable: email}
steps: [{send: offer}]
```

## Use instead

```yaml
triggers: [{schedule: "0 9 1 * *"}]
audience: {all: [{reachable: email}, {field: interests, has: cookbooks}]}
steps: [{send: offer}]
```

## Options

None.

## Source

The gallery: each promotion reads an interest or the life cycle.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowctl.language.conditions import FieldLeaf, SegmentLeaf, leaves
from flowctl.language.problem import Problem
from flowctl.language.triggers import EntersTrigger, FieldTrigger, MomentTrigger, ScheduleTrigger
from flowctl.lint.texts import message_texts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.language.conditions import Condition
    from flowctl.language.problem import Severity
    from flowctl.lint.context import Context, Journey

CODE = "AUD006"
SLUG = "ignores-preferences"
SEVERITY: Severity = "info"
SHOWN_MAX = 3


def check(context: Context) -> Iterator[Problem]:
    """Every promotion that reads neither."""
    told = {name for name, kind in context.project.field_types.items() if kind in ("tags", "choice")}
    if not told:
        return
    for journey in context.journeys:
        timed = any(isinstance(trigger, MomentTrigger | ScheduleTrigger) for trigger in journey.workflow.triggers)
        if not journey.marketing_sends or not timed or told & set(_read(journey, context)):
            continue
        texts = [
            text.value
            for step in journey.marketing_sends
            for text in message_texts(context.project.messages[step.send], context.project)
        ]
        if any(f"contact.{name}" in text for name in told for text in texts):
            continue
        yield Problem(
            code=CODE,
            slug=SLUG,
            severity=SEVERITY,
            message=f"`{journey.name}` asks for no interest and no stage of life, and the project knows {len(told)}",
            place=journey.workflow.place_of("workflow"),
            help=f"choose by one: {', '.join(f'`{name}`' for name in sorted(told)[:SHOWN_MAX])}",
            step=journey.name,
        )


def _read(journey: Journey, context: Context) -> Iterator[str]:
    """The fields that decide who gets what."""
    workflow = journey.workflow
    conditions: list[Condition] = [] if workflow.audience is None else [workflow.audience]
    conditions += [condition for _, condition in journey.questions]
    for trigger in workflow.triggers:
        if isinstance(trigger, FieldTrigger):
            yield trigger.field
        if isinstance(trigger, EntersTrigger) and trigger.enters in context.project.segments:
            conditions.append(context.project.segments[trigger.enters].match)
    seen: set[str] = set()
    while conditions:
        for leaf in leaves(conditions.pop()):
            if isinstance(leaf, FieldLeaf):
                yield leaf.field
            elif (
                isinstance(leaf, SegmentLeaf) and leaf.segment in context.project.segments and leaf.segment not in seen
            ):
                seen.add(leaf.segment)
                conditions.append(context.project.segments[leaf.segment].match)
