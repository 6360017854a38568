"""CPX006 mixed-purposes: one workflow sends both what people must get and what they may want.

## What it does

Reports a workflow that sends transactional and marketing messages.

## Why is this bad

Goals, exits, pauses and guards take people out of the whole workflow: a guard that stops the offers stops the receipts too.

## Example

```yaml
steps:
  - send: receipt
  - wait: 7d
  - send: offer
```

## Use instead

```yaml
steps:
  - send: receipt
  - start: offers-after-purchase
```

## Options

None.

## Source

The two classes of messages that the law and the engine tell apart: consent, caps and quiet hours hold for one of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowctl.language.problem import Problem, Related
from flowctl.lint.steps import said, spot

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.language.problem import Severity
    from flowctl.lint.context import Context

CODE = "CPX006"
SLUG = "mixed-purposes"
SEVERITY: Severity = "info"


def check(context: Context) -> Iterator[Problem]:
    """Every workflow that mixes them."""
    for journey in context.journeys:
        marketing = {id(step) for step in journey.marketing_sends}
        others = [step for step in journey.sends if id(step) not in marketing and step.send in context.project.messages]
        if not marketing or not others:
            continue
        first = journey.marketing_sends[0]
        yield Problem(
            code=CODE,
            slug=SLUG,
            severity=SEVERITY,
            message=f"{said(others[0])} is transactional, in a workflow that sends marketing too: what stops one stops both",
            place=spot(others[0]),
            related=(Related(place=spot(first), label="marketing"),),
            help="send them from two workflows; `start:` hands over",
            step=journey.label(others[0]),
        )
