"""CPX004 too-many-steps: a workflow longer than one screen.

## What it does

Counts all steps, those inside steps and those after the goal too. Over 25 is a warning, over 50 an error. The help names the
stretch of steps that would be a workflow of its own, and the `start` to put in its place: the cut that leaves the two parts
most alike in size, in front of a wait where there is one, and where nothing behind the cut refers to a step or to data before it.
`flowctl split WORKFLOW --at STEP` makes the cut, and says why where the two parts would mean something else.

## Why is this bad

A long workflow has several aims in truth, and a change to any of them makes a new version of all. Modules are tested, paused,
measured and replaced one by one.

## Example

```yaml
workflow: onboarding
steps:
  - send: welcome
  # and 29 more
```

## Use instead

```yaml
workflow: onboarding
steps:
  - send: welcome
  # 12 more
  - start: onboarding-2
```

## Options

`lint: {max: {steps: 25, steps_error: 50}}` in flowctl.yaml, or `lint: {max: {steps: 40}}` in one workflow.

## Source

25 steps of two lines fill a screen of 50 lines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowctl.language.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.language.problem import Severity
    from flowctl.lint.context import Context, Journey

CODE = "CPX004"
SLUG = "too-many-steps"
SEVERITY: Severity = "warning"
WORST: Severity = "error"


def check(context: Context) -> Iterator[Problem]:
    """Every workflow with too many."""
    for journey in context.journeys:
        count, most, far_too_many = len(journey.steps), journey.most("steps"), journey.most("steps_error")
        if count <= most:
            continue
        severity = WORST if count > max(most, far_too_many) else SEVERITY
        yield Problem(
            code=CODE,
            slug=SLUG,
            severity=severity,
            message=f"`{journey.name}` has {count} steps; at most {most} fit on a screen",
            place=journey.workflow.place_of("workflow"),
            help=_help(journey, context),
            step=journey.name,
        )


def _help(journey: Journey, context: Context) -> str:
    from flowctl.lint.cutting import free_name, module_of  # noqa: PLC0415 - most projects have no such workflow

    module = module_of(journey.workflow.steps)
    if module is None:
        return "split it into workflows with one aim each, and hand over with `start`"
    name = free_name(journey.name, context.project.declared.get("workflow", {}))
    stretch = f"{module.described} are {module.size} steps that stand for themselves"
    if module.is_end:
        at = f" --at {module.steps[0].name}" if module.steps[0].name else ""
        return (
            f"{stretch}: `flowctl split {journey.name}{at}` moves them to a workflow `{name}` with "
            f"`triggers: [{{manual: true}}]`, and puts `- start: {name}` in their place"
        )
    return (
        f"{stretch}: move them to a workflow `{name}` with `triggers: [{{manual: true}}]`, and put `- start: {name}` in "
        f"their place, behind a `wait` that lasts until `{name}` is through"
    )
