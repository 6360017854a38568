"""FLO001 unreachable-step: no path leads to a step.

## What it does

Follows every way through a workflow from its start, from the steps after its goal, and from every step that another
workflow names with `start: {at_step: …}`. Reports the first step of each stretch that none of them reaches.

## Why is this bad

The step looks as if it did something, in a review too, and never runs.

## Example

```yaml
steps:
  - send: offer
  - exit: done
  - send: reminder
```

## Use instead

```yaml
steps:
  - send: offer
  - wait: 3d
  - send: reminder
  - exit: done
```

## Options

None.

## Source

Dead code, as every compiler reports it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowctl.language.problem import Fix, Problem, Related
from flowctl.language.steps import branches
from flowctl.lint.edits import step_deleted
from flowctl.lint.steps import said, spot

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from flowctl.language.problem import Severity
    from flowctl.language.steps import Step
    from flowctl.lint.context import Context, Journey

CODE = "FLO001"
SLUG = "unreachable-step"
SEVERITY: Severity = "error"


def check(context: Context) -> Iterator[Problem]:
    """Every first step of an unreachable stretch."""
    for journey in context.journeys:
        reached = _reached(journey, context)
        if all(id(step) in reached for step in journey.steps):
            continue
        workflow = journey.workflow
        for steps in (workflow.steps, workflow.on_goal):
            yield from _first_unreached(journey, steps, reached, None, context)


def _reached(journey: Journey, context: Context) -> set[int]:
    """The identities of the steps that some way reaches."""
    program = journey.program
    pending = [0] if program.on_goal is None else [0, program.on_goal]
    for _, start in context.starters.get(journey.name, ()):
        if start.start.at_step in program.step_positions:
            pending.append(program.step_positions[start.start.at_step])
    seen = set(pending)
    while pending:
        instruction = program.instructions[pending.pop()]
        untimed = instruction.op == "wait_for" and getattr(instruction.step, "timeout", None) is None
        for label, target in instruction.targets.items():
            if target not in seen and not (untimed and label == "timeout"):
                seen.add(target)
                pending.append(target)
    return {id(program.instructions[pc].step) for pc in seen}


def _first_unreached(
    journey: Journey, steps: Sequence[Step], reached: set[int], above: Step | None, context: Context
) -> Iterator[Problem]:
    before = above
    for step in steps:
        if id(step) not in reached:
            related = (
                (Related(place=spot(before), label=_why(before, is_above=before is above)),)
                if before is not None
                else ()
            )
            yield Problem(
                code=CODE,
                slug=SLUG,
                severity=SEVERITY,
                message=f"no path leads to {said(step)}",
                place=spot(step),
                label="never runs",
                related=related,
                help="delete it, or move it before the step that ends the way",
                fix=_deleted(step, steps, context),
                step=journey.label(step),
            )
            return
        for _, inside in branches(step):
            yield from _first_unreached(journey, inside, reached, step, context)
        before = step


def _deleted(step: Step, steps: Sequence[Step], context: Context) -> Fix | None:
    """Away with it; the only step of its list would leave an empty one behind."""
    source = context.project.sources.get(step.place.path)
    edit = step_deleted(step.node, source) if step.node and source is not None and len(steps) > 1 else None
    return Fix(title="delete it", edits=(edit,), safe=False) if edit else None


def _why(before: Step, *, is_above: bool) -> str:
    if before.verb == "exit":
        return "every contact leaves here"
    return "this has no `timeout`" if is_above else "nobody comes out of this"
