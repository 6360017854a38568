"""STY004 unnamed-step: a step that reports show has no name.

## What it does

Reports a `split` or a `task` without `id`, in a workflow that has several of the kind: reports, `explain` and tests then call
them by their number.

## Why is this bad

`split-2, path b` says nothing in a report, and the number changes when a step is put before it: what was measured under it
before and after is not the same.

## Example

```yaml
- task: {team: sales, title: Call, outcomes: [called]}
- task: {team: sales, title: Write, outcomes: [written]}
```

## Use instead

```yaml
- id: call
  task: {team: sales, title: Call, outcomes: [called]}
- id: letter
  task: {team: sales, title: Write, outcomes: [written]}
```

## Options

None.

## Source

"Contacts in flight finish their version" and `move:` go by steps' names.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from flowctl.language.problem import Fix, Problem
from flowctl.language.steps import SplitStep, TaskStep
from flowctl.lint.edits import key_added
from flowctl.lint.steps import spot

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.language.problem import Severity
    from flowctl.language.steps import Step
    from flowctl.lint.context import Context

CODE = "STY004"
SLUG = "unnamed-step"
SEVERITY: Severity = "warning"


def check(context: Context) -> Iterator[Problem]:
    """Every such step."""
    for journey in context.journeys:
        counted = Counter(step.verb for step in journey.steps)
        if counted["split"] < 2 and counted["task"] < 2:  # noqa: PLR2004 - one is known by its verb
            continue
        taken = {step.id for step in journey.steps if step.id} | {step.send for step in journey.sends}
        for step in journey.steps:
            if not isinstance(step, SplitStep | TaskStep) or step.id or counted[step.verb] == 1:
                continue
            name = _free(step, taken)
            taken.add(name)
            yield Problem(
                code=CODE,
                slug=SLUG,
                severity=SEVERITY,
                message=f"this `{step.verb}` has no name, and `{journey.name}` has {counted[step.verb]} of them",
                place=spot(step),
                help=f"add `id: {name}`, or a better name: reports and tests will call it so",
                fix=_fix(step, name, context),
                step=journey.label(step),
            )


def _free(step: Step, taken: set[str]) -> str:
    number = 1
    while f"{step.verb}_{number}" in taken:
        number += 1
    return f"{step.verb}_{number}"


def _fix(step: Step, name: str, context: Context) -> Fix | None:
    """Safe but for a split: its name is part of the hash that parts the contacts."""
    source = context.project.sources.get(step.place.path)
    edit = key_added(step.node, f"id: {name}", source, behind=step.verb) if step.node and source is not None else None
    return Fix(title=f"add `id: {name}`", edits=(edit,), safe=not isinstance(step, SplitStep)) if edit else None
