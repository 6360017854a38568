"""PRS010 no-fatigue-guard: many messages, and nothing looks whether people tire of them.

## What it does

Reports a workflow with four sends of marketing messages or more on one way (turns of a `repeat` counted), where nothing takes out who
tires: no condition in it asks what became of a message (`opened`, `clicked`, `dismissed`, …), no `exit_when` does, and neither the
workflow nor flowctl.yaml has `guards:`.

## Why is this bad

Who did not open three messages will not open the fourth; they will press "spam". Then the mails to all others suffer.

## Example

```yaml
steps:
  - repeat: {every: 7d, max: 6}
    steps:
      - send: tip
```

## Use instead

```yaml
exit_when:
  - all:
      - {message: tip, status: sent, count: {gte: 3}}
      - not: {message: tip, status: opened}
steps:
  - repeat: {every: 7d, max: 6}
    steps:
      - send: tip
```

## Options

`guards:` in flowctl.yaml, for all workflows: `guards: [{unsubscribed: 1%, over: 7d, then: pause}]`.

## Source

The project's own figure. Google and Yahoo (2024) ask senders to stay below 0.1 % complaints.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowctl.language.conditions import MessageLeaf, leaves
from flowctl.language.problem import Problem
from flowctl.language.steps import RepeatStep, SendStep, branches
from flowctl.lint.steps import questions, spot

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from flowctl.language.problem import Severity
    from flowctl.language.steps import Step
    from flowctl.lint.context import Context, Journey

CODE = "PRS010"
SLUG = "no-fatigue-guard"
SEVERITY: Severity = "info"

SENDS = 4


def check(context: Context) -> Iterator[Problem]:
    """Every long workflow that does not look, at the send that makes it four."""
    if context.settings.guards:
        return
    for journey in context.journeys:
        if not journey.marketing_sends or journey.workflow.guards or _looks(journey):
            continue
        marketing = {id(step) for step in journey.marketing_sends}
        found = _fourth(journey.workflow.steps, marketing)
        if found is not None:
            count, step = found
            yield Problem(
                code=CODE,
                slug=SLUG,
                severity=SEVERITY,
                message=f"`{journey.name}` can send one contact {count} marketing messages in a run, and nothing takes out who tires",
                place=spot(step),
                help="look at what became of the earlier ones: `exit_when: [{not: {message: …, status: opened}}]`; or set `guards:`",
                step=journey.label(step),
            )


def _looks(journey: Journey) -> bool:
    asked = [*journey.workflow.exit_when, *(one for step in journey.steps for one in questions(step))]
    return any(isinstance(leaf, MessageLeaf) and leaf.status != "sent" for one in asked for leaf in leaves(one))


def _fourth(steps: Sequence[Step], marketing: set[int]) -> tuple[int, Step] | None:
    """How many marketing messages the longest way has, and the send with which it has four."""
    found: list[Step] = []
    count = _count(steps, marketing, found)
    return (count, found[0]) if count >= SENDS and found else None


def _count(steps: Sequence[Step], marketing: set[int], found: list[Step], before: int = 0) -> int:
    here = before
    for step in steps:
        if isinstance(step, SendStep) and id(step) in marketing:
            here += 1
            if here >= SENDS and not found:
                found.append(step)
        turns = step.repeat.max if isinstance(step, RepeatStep) else 1
        inside = [_count(branch, marketing, found, here) for _, branch in branches(step)]
        most = max(inside, default=here) - here
        if turns > 1 and here + most * turns >= SENDS and not found and most:
            found.append(step)
        here += most * turns
    return here
