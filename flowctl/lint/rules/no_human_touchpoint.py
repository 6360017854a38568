"""STY002 no-human-touchpoint: somebody raises a hand, and nobody of the team hears of it.

## What it does

Reports a workflow that begins with a form, a lead or a request (an event, segment, record or score of such a name) and
has no step that reaches a person: `notify`, `task`, `assign`, `create`, nor a `start` of another workflow.

## Why is this bad

Somebody who asks for a call back wants to be called. Automation that only writes to them loses those who were ready to buy.

## Example

```yaml
triggers: [{event: quote_form_submitted}]
steps:
  - send: offer
```

## Use instead

```yaml
triggers: [{event: quote_form_submitted}]
steps:
  - send: offer
  - notify: {team: sales}
    text: "{{ contact.key }} asked for a quote"
```

## Options

None.

## Source

The gallery's journeys for leads: each ends with a person.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from flowctl.language.problem import Problem
from flowctl.language.triggers import EntersTrigger, EventTrigger, RecordTrigger

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.language.problem import Severity
    from flowctl.language.triggers import Trigger
    from flowctl.lint.context import Context

CODE = "STY002"
SLUG = "no-human-touchpoint"
SEVERITY: Severity = "info"
HUMAN = frozenset({"notify", "task", "assign", "create", "start"})
_ASKS = re.compile(
    r"(?:^|[_-])(?:form|lead|leads|demo|quote|devis|offerte|mql|sql|contact_request|call_?back)(?:$|[_-])"
)


def check(context: Context) -> Iterator[Problem]:
    """Every workflow for people who asked, without people who answer."""
    for journey in context.journeys:
        asking = next((trigger for trigger in journey.workflow.triggers if _ASKS.search(_subject(trigger))), None)
        if asking is None or any(step.verb in HUMAN for step in journey.steps):
            continue
        yield Problem(
            code=CODE,
            slug=SLUG,
            severity=SEVERITY,
            confidence="possible",
            message=f"`{_subject(asking)}` looks like somebody asking, and `{journey.name}` never tells the team",
            place=asking.place,
            help="add a `notify`, `task`, `assign` or `create` step",
            step=journey.name,
        )


def _subject(trigger: Trigger) -> str:
    match trigger:
        case EventTrigger():
            return trigger.event
        case EntersTrigger():
            return trigger.enters
        case RecordTrigger():
            return trigger.record
        case _:
            return ""
