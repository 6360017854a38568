"""PRS008 duplicate-trigger: one fact puts a contact into several workflows that send marketing.

## What it does

Compares the triggers of all workflows that send marketing messages, drafts left out. Two are one where the same fact sets off both: the
same event (unless their `where` ask different values of a property), segment, field, date, schedule, message, survey, geofence or
record. Silent where the workflows share an `exclusive_group`, or their audiences ask different values of a field that nothing here
writes.

## Why is this bad

Two teams answer one act of the contact, at the same moment, and neither knows of the other.

## Example

```yaml
workflow: cart-recovery
triggers: [{event: cart_updated}]
```
```yaml
workflow: cart-survey
triggers: [{event: cart_updated}]
```

## Use instead

```yaml
workflow: cart-recovery
triggers: [{event: cart_updated, where: {items: {gt: 0}}}]
exclusive_group: cart
priority: 60
```
```yaml
workflow: cart-survey
triggers: [{event: cart_updated, where: {items: 0}}]
exclusive_group: cart
```

## Options

None.

## Source

The gallery: a purchase, a cart and a registration each have one workflow that answers.
"""

from __future__ import annotations

from operator import ge, gt, le, lt
from typing import TYPE_CHECKING

from flowctl.language.problem import Problem, Related
from flowctl.language.triggers import (
    ArrivesTrigger,
    DateTrigger,
    EntersTrigger,
    EventTrigger,
    ExitsTrigger,
    FieldTrigger,
    LeavesTrigger,
    MessageTrigger,
    RecordTrigger,
    ScheduleTrigger,
    SurveyTrigger,
)
from flowctl.language.values import Comparison
from flowctl.lint.exclusion import exclude

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.language.problem import Severity
    from flowctl.language.triggers import Trigger
    from flowctl.language.values import Where
    from flowctl.lint.context import Context, Journey

CODE = "PRS008"
SLUG = "duplicate-trigger"
SEVERITY: Severity = "warning"

LOOKED_MAX = 20  # earlier workflows with the same trigger that one is compared with
Fact = tuple[str, ...]


def check(context: Context) -> Iterator[Problem]:
    """Each trigger that an earlier workflow has too, once."""
    known: dict[Fact, list[tuple[Journey, Trigger]]] = {}
    for journey in context.journeys:
        if not journey.marketing_sends or journey.workflow.state == "draft":
            continue
        own: list[tuple[Fact, Trigger]] = []
        told: set[str] = set()
        for trigger in journey.workflow.triggers:
            fact = fact_of(trigger)
            if fact is None:
                continue
            own.append((fact, trigger))
            for other, theirs in known.get(fact, ())[:LOOKED_MAX]:
                if other.name not in told and _clash(journey, trigger, other, theirs):
                    told.add(other.name)
                    yield _finding(journey, trigger, other, theirs)
                    break
        for fact, trigger in own:
            known.setdefault(fact, []).append((journey, trigger))


def fact_of(trigger: Trigger) -> Fact | None:
    """What sets a trigger off, without its finer conditions; None for what is nobody's fact: a moment, a hand."""
    match trigger:
        case EventTrigger():
            return "event", trigger.event
        case EntersTrigger():
            return "enters", trigger.enters
        case ExitsTrigger():
            return "exits", trigger.exits
        case FieldTrigger():
            how = [trigger.to, trigger.from_, trigger.rises_to, trigger.rises_above, trigger.drops_below]
            return "field", trigger.field, *map(str, how)
        case DateTrigger():
            return "date", trigger.date, str(trigger.every), str(trigger.offset)
        case ScheduleTrigger():
            return "schedule", str(trigger.schedule)
        case MessageTrigger():
            return "message", trigger.message, trigger.status, str(trigger.link)
        case SurveyTrigger():
            return "survey", trigger.survey, str(trigger.question), str(trigger.answer)
        case ArrivesTrigger():
            return "arrives", trigger.arrives
        case LeavesTrigger():
            return "leaves", trigger.leaves
        case RecordTrigger():
            return "record", trigger.record
        case _:
            return None


def _clash(journey: Journey, trigger: Trigger, other: Journey, theirs: Trigger) -> bool:
    group = journey.workflow.exclusive_group
    if group is not None and group == other.workflow.exclusive_group:
        return False
    asks = EventTrigger | RecordTrigger
    if isinstance(trigger, asks) and isinstance(theirs, asks) and _differ(trigger.where, theirs.where):
        return False
    return not exclude(journey.kept, other.kept)


def _differ(first: Where, second: Where) -> bool:
    """Whether no fact meets both: they name different values of a property, or values on two sides of a number."""
    return any(name in second and _apart(asked, second[name]) for name, asked in first.items())


def _apart(first: object, second: object) -> bool:
    mine, theirs = _values(first), _values(second)
    if mine is not None and theirs is not None:
        return not mine & theirs
    if mine is not None or theirs is not None:
        values, asked = (mine, second) if mine is not None else (theirs, first)
        return all(_is_outside(value, asked) for value in values or ())
    return False


def _values(asked: object) -> frozenset[object] | None:
    if isinstance(asked, str | int | float):
        return frozenset([asked])
    if not isinstance(asked, Comparison):
        return None
    if asked.is_ is not None:
        return frozenset([asked.is_]) if isinstance(asked.is_, str | int | float) else None
    if asked.in_ is not None and all(isinstance(value, str | int | float) for value in asked.in_):
        return frozenset(asked.in_)
    return None


def _is_outside(value: object, asked: object) -> bool:
    """Whether a number does not meet the bounds of a comparison."""
    if not isinstance(asked, Comparison) or not isinstance(value, int | float):
        return False
    bounds = [(asked.gt, gt), (asked.gte, ge), (asked.lt, lt), (asked.lte, le)]
    return any(isinstance(bound, int | float) and not holds(value, bound) for bound, holds in bounds)


def _finding(journey: Journey, trigger: Trigger, other: Journey, theirs: Trigger) -> Problem:
    return Problem(
        code=CODE,
        slug=SLUG,
        severity=SEVERITY,
        confidence="possible",
        message=f"`{journey.name}` and `{other.name}` send marketing on one and the same fact",
        place=trigger.place_of(trigger.kind),
        related=(Related(place=theirs.place_of(theirs.kind), label=f"`{other.name}` begins here too"),),
        help=f"give both one `exclusive_group:`, part them by `where:` or `audience:`, or let `{other.name}` `start` the other",
        step=journey.name,
    )
