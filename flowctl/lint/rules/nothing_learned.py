"""STY003 nothing-learned: a workflow that leaves no trace of what it taught.

## What it does

Reports a workflow that sends marketing, changes no field, score or tag, splits nobody, and does not say in `learn:` which question it answers.

## Why is this bad

After a year of campaigns one knows as much about the contacts as before. One field, or one question, makes the next campaign better.

## Example

```yaml
workflow: spring-offer
steps:
  - send: offer
```

## Use instead

```yaml
workflow: spring-offer
learn: Do gardeners buy before the last frost?
steps:
  - send: offer
```

## Options

None.

## Source

The fifth question of `flowctl new`: what earlier workflows with such a goal taught.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowctl.language.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.language.problem import Severity
    from flowctl.lint.context import Context

CODE = "STY003"
SLUG = "nothing-learned"
SEVERITY: Severity = "info"
LEARNING = frozenset({"set", "add", "tag", "untag", "split", "create", "advertise"})


def check(context: Context) -> Iterator[Problem]:
    """Every workflow that keeps nothing."""
    for journey in context.journeys:
        if (
            journey.workflow.learn
            or not journey.marketing_sends
            or any(step.verb in LEARNING for step in journey.steps)
        ):
            continue
        if any(context.project.messages[step.send].variants for step in journey.marketing_sends):
            continue
        yield Problem(
            code=CODE,
            slug=SLUG,
            severity=SEVERITY,
            message=f"`{journey.name}` changes no field, score or tag, and asks no question",
            place=journey.workflow.place_of("workflow"),
            help="say in `learn:` what it is to find out, or keep what people do in a field",
            step=journey.name,
        )
