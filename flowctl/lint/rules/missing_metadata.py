"""STY001 missing-metadata: a workflow does not say what it is for and whose it is.

## What it does

Reports workflows without `description`, `owner`, `type` or `goal`. No goal is asked of a workflow that is only started by hand
or by others, nor of the types `transactional`, `internal-alert`, `record-creation` and `attribution`: they serve, they do not
persuade.

## Why is this bad

In a year somebody asks whether it may be switched off. Without a goal nobody can say what it achieved; without an owner
there is nobody to ask.

## Example

```yaml
workflow: spring-offer
triggers:
  - {enters: gardeners}
```

## Use instead

```yaml
workflow: spring-offer
description: Seeds and tools for people who bought plants last year.
owner: shop
type: activation
goal: {event: purchase_completed, within: 14d}
triggers:
  - {enters: gardeners}
```

## Options

None.

## Source

The five questions of `flowctl new`: strategy, audience, goal, flow and timing, what earlier workflows taught.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowctl.language.faults import listed
from flowctl.language.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.language.problem import Severity
    from flowctl.language.workflow import Workflow
    from flowctl.lint.context import Context

CODE = "STY001"
SLUG = "missing-metadata"
SEVERITY: Severity = "warning"
SERVING = frozenset({"transactional", "internal-alert", "record-creation", "attribution"})
_EXAMPLES = {
    "description": "description: what it does, for whom",
    "owner": "owner: the team",
    "type": "type: follow-up",
    "goal": "goal: {event: …, within: 14d}",
}


def check(context: Context) -> Iterator[Problem]:
    """Every workflow that lacks any of them."""
    for journey in context.journeys:
        missing = list(_missing(journey.workflow))
        if not missing:
            continue
        yield Problem(
            code=CODE,
            slug=SLUG,
            severity=SEVERITY,
            message=f"`{journey.name}` does not say its {listed(missing).replace(' or ', ' and ')}",
            place=journey.workflow.place_of("workflow"),
            help="; ".join(f"add `{_EXAMPLES[name]}`" for name in missing),
            step=journey.name,
        )


def _missing(workflow: Workflow) -> Iterator[str]:
    if not workflow.description:
        yield "description"
    if not workflow.owner:
        yield "owner"
    if workflow.type is None:
        yield "type"
    if workflow.goal is None and workflow.type not in SERVING and not workflow.is_manual:
        yield "goal"
