"""CNT001 repeated-message: the same message twice on one way.

## What it does

Reports a message that one contact can get from two steps of a workflow, one behind the other. A `repeat`, a message that says `once`, and a second send to
those who did not open or click the first are meant.

## Why is this bad

A copied step that was not changed looks like a reminder in the file, and like a mistake in the inbox.

## Example

```yaml
steps:
  - send: offer
  - wait: 3d
  - send: offer
```

## Use instead

```yaml
steps:
  - send: offer
  - wait: 3d
  - send: offer-again
```

## Options

None.

## Source

The most frequent of the complaints that flowctl exists for: "the same mail again".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowctl.language.conditions import MessageLeaf, Not, leaves
from flowctl.language.problem import Problem, Related
from flowctl.lint.steps import spot

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.language.conditions import Condition
    from flowctl.language.problem import Severity
    from flowctl.language.steps import SendStep
    from flowctl.lint.context import Context, Journey

CODE = "CNT001"
SLUG = "repeated-message"
SEVERITY: Severity = "warning"


def check(context: Context) -> Iterator[Problem]:
    """The later send of every such pair."""
    for journey in context.journeys:
        by_message: dict[str, list[SendStep]] = {}
        for step in journey.sends:
            by_message.setdefault(step.send, []).append(step)
        for name, steps in by_message.items():
            message = context.project.messages.get(name)
            if len(steps) < 2 or message is None or message.once is not None:  # noqa: PLR2004 - one cannot repeat itself
                continue
            yield from _pairs(journey, name, steps)


def _pairs(journey: Journey, name: str, steps: list[SendStep]) -> Iterator[Problem]:
    above = journey.above
    told: set[int] = set()
    for first in steps:
        behind = {id(one.step) for one in journey.behind(first)}
        for later in steps:
            if later is first or id(later) not in behind or id(later) in told:
                continue
            conditions = [*above.get(id(later), ()), *([later.when] if later.when is not None else [])]
            if any(_asks_for(condition, name) for condition in conditions):
                continue
            told.add(id(later))
            yield Problem(
                code=CODE,
                slug=SLUG,
                severity=SEVERITY,
                message=f"who got `{name}` here gets it a second time",
                place=spot(later),
                label="again",
                related=(Related(place=spot(first), label="the first time"),),
                help="send another message, ask `not: {message: …, status: opened}` first, or say `once:` in the message",
                step=journey.label(later),
            )


def _asks_for(condition: Condition, name: str) -> bool:
    """Whether a condition asks what became of the message: then the second time is meant."""
    inner = condition.not_ if isinstance(condition, Not) else condition
    return any(isinstance(leaf, MessageLeaf) and leaf.message in (name, "any") for leaf in leaves(inner))
