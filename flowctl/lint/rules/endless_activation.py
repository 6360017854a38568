"""AUD004 endless-activation: an activation that nothing ends.

## What it does

Reports a workflow of `type: activation` without a goal, `exit_when` or an `active: {until}`.

## Why is this bad

Activation is a push towards one act. Without an end it goes on behind those who have done it, and after the offer is over.

## Example

```yaml
type: activation
triggers: [{enters: gardeners}]
steps: [{send: offer}]
```

## Use instead

```yaml
type: activation
goal: {event: purchase_completed, within: 14d}
triggers: [{enters: gardeners}]
steps: [{send: offer}]
```

## Options

None.

## Source

The types of journeys of the language: an activation has one act in mind.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowctl.language.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.language.problem import Severity
    from flowctl.lint.context import Context

CODE = "AUD004"
SLUG = "endless-activation"
SEVERITY: Severity = "warning"


def check(context: Context) -> Iterator[Problem]:
    """Every one without an end."""
    for journey in context.journeys:
        workflow = journey.workflow
        ends = workflow.active is not None and workflow.active.until is not None
        if workflow.type != "activation" or workflow.goal is not None or workflow.exit_when or ends:
            continue
        yield Problem(
            code=CODE,
            slug=SLUG,
            severity=SEVERITY,
            message=f"nothing ends `{journey.name}`, an activation: no goal, no `exit_when`, no last day",
            place=workflow.place_of("type"),
            help="add `goal: {event: …, within: 14d}`, or `active: {until: …}`",
            step=journey.name,
        )
