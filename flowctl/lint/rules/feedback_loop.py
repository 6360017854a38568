"""AUD003 feedback-loop: a workflow changes what brings people into it.

## What it does

Reports a workflow that may be entered again and has a step that writes (`set`, `add`, `tag`, `untag`) the field that its own trigger watches, or a field that the segment
it is entered by asks for, where time can pass behind that step. Where none passes, reports an `add` to a field whose every change is a trigger, with
`reentry: {after: 0}`: it begins again at once, without end.

## Why is this bad

A workflow's own change starts it again only if the journey ends at that same instant. Where a wait stands behind it, the change that was to begin
the next turn is lost; and where the file is changed one day so that it is not, it goes round for ever.

## Example

```yaml
triggers: [{field: engagement, changes: true}]
reentry: {after: 1h}
steps:
  - add: {engagement: 10}
  - wait: 2d
  - send: offer
```

## Use instead

```yaml
triggers: [{field: engagement, rises_to: 50}]
reentry: {after: 30d}
steps:
  - send: offer
  - wait: 2d
  - add: {engagement: 10}
```

## Options

None.

## Source

"What an enrollment does to its own contact starts its workflow again only if it ends at that same instant."
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowctl.language.conditions import FieldLeaf, leaves
from flowctl.language.problem import Problem, Related
from flowctl.language.steps import AddStep, SetStep, TagStep, UntagStep
from flowctl.language.triggers import EntersTrigger, ExitsTrigger, FieldTrigger
from flowctl.lint.steps import said, spot
from flowctl.program.graph import RESTING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.language.problem import Place, Severity
    from flowctl.language.steps import Step
    from flowctl.lint.context import Context, Journey

CODE = "AUD003"
SLUG = "feedback-loop"
SEVERITY: Severity = "warning"


def check(context: Context) -> Iterator[Problem]:
    """Every step that writes what its own entry reads."""
    for journey in context.journeys:
        reentry = journey.workflow.reentry
        if reentry.after == "never" and reentry.while_active == "ignore":
            continue
        watched = dict(_watched(journey, context))
        for step in journey.steps if watched else ():
            for name in _written(step):
                if name not in watched:
                    continue
                rests = any(one.op in RESTING for one in journey.behind(step))
                if rests or _goes_round(journey, step, name):
                    yield _finding(journey, step, name, watched[name], rests=rests)


def _goes_round(journey: Journey, step: Step, name: str) -> bool:
    """Whether a step without time behind it lets its contact in again, whose step does so again: an `add` changes a field each time."""
    after = journey.workflow.reentry.after
    every = {one.field for one in journey.workflow.triggers if isinstance(one, FieldTrigger) and one.changes}
    return isinstance(step, AddStep) and name in every and after != "never" and after.elapsed_ms == 0


def _finding(journey: Journey, step: Step, name: str, watched: Place, *, rests: bool) -> Problem:
    what = (
        "time passes behind it: it starts nobody anew"
        if rests
        else "ends at that instant: with `after: 0` it starts anew without end"
    )
    return Problem(
        code=CODE,
        slug=SLUG,
        severity=SEVERITY,
        message=f"{said(step)} writes `{name}`, by which `{journey.name}` is entered, and {what}",
        place=spot(step),
        related=(Related(place=watched, label="entered by it"),),
        help="put it at the end of the journey, or write another field"
        if rests
        else "write another field, or let time pass: `reentry: {after: 1d}`",
        step=journey.label(step),
    )


def _watched(journey: Journey, context: Context) -> Iterator[tuple[str, Place]]:
    """The fields that bring people in, each with where that is said."""
    for trigger in journey.workflow.triggers:
        match trigger:
            case FieldTrigger():
                yield trigger.field, trigger.place
            case EntersTrigger() | ExitsTrigger():
                name = trigger.enters if isinstance(trigger, EntersTrigger) else trigger.exits
                segment = context.project.segments.get(name)
                for leaf in leaves(segment.match) if segment is not None else ():
                    if isinstance(leaf, FieldLeaf):
                        yield leaf.field, trigger.place
            case _:
                pass


def _written(step: Step) -> Iterator[str]:
    match step:
        case SetStep():
            yield from step.set
        case AddStep():
            yield from step.add
        case TagStep():
            yield from step.tag
        case UntagStep():
            yield from step.untag
        case _:
            pass
