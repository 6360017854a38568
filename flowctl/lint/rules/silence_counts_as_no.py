"""CNT005 silence-counts-as-no: who was never sent a message counts as not having opened it.

## What it does

Reports `not: {message: …, status: opened}` (or `clicked`, `delivered`, `dismissed`) that does not ask beside it whether the message was sent.

## Why is this bad

A contact who was skipped, for a cap or for want of an address, has not opened either, and is sorted among the uninterested, or reminded of
what it never saw.

## Example

```yaml
- if: {not: {message: offer, status: clicked}}
  then: [{set: {lifecycle: cold}}]
```

## Use instead

```yaml
- if: {all: [{message: offer, status: sent}, {not: {message: offer, status: clicked}}]}
  then: [{set: {lifecycle: cold}}]
```

## Options

None.

## Source

Two-valued logic: `not` is the exact opposite, of "nothing is known" too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowctl.language.conditions import AllOf, AnyOf, MessageLeaf, Not, leaves
from flowctl.language.problem import Problem
from flowctl.lint.steps import said

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.language.conditions import Condition
    from flowctl.language.problem import Severity
    from flowctl.language.steps import Step
    from flowctl.lint.context import Context, Journey

CODE = "CNT005"
SLUG = "silence-counts-as-no"
SEVERITY: Severity = "warning"
ANSWERS = ("delivered", "opened", "clicked", "dismissed")


def check(context: Context) -> Iterator[Problem]:
    """Every silence that is taken for an answer."""
    for journey in context.journeys:
        for step, condition in journey.questions:
            sent = {name for outer in journey.above.get(id(step), ()) for name in _sent(outer)}
            for leaf in _silent(condition, sent):
                yield _finding(journey, step, leaf)


def _sent(condition: Condition) -> Iterator[str]:
    """The messages that surely were sent where a condition holds."""
    match condition:
        case MessageLeaf():
            yield condition.message
        case AllOf():
            for part in condition.all_:
                yield from _sent(part)
        case _:
            pass


def _silent(condition: Condition, sent: set[str]) -> Iterator[MessageLeaf]:
    """Denied leaves about messages of which nobody asked whether they were sent."""
    match condition:
        case AllOf():
            inside = sent | {name for part in condition.all_ for name in _sent(part)}
            for part in condition.all_:
                yield from _silent(part, inside)
        case AnyOf():
            for part in condition.any_:
                yield from _silent(part, sent)
        case Not():
            for leaf in leaves(condition.not_):
                if isinstance(leaf, MessageLeaf) and leaf.status in ANSWERS and leaf.message not in sent:
                    yield leaf
        case _:
            pass


def _finding(journey: Journey, step: Step, leaf: MessageLeaf) -> Problem:
    return Problem(
        code=CODE,
        slug=SLUG,
        severity=SEVERITY,
        message=f"in {said(step)}, who was never sent `{leaf.message}` counts as not {leaf.status}",
        place=leaf.place,
        help=f"ask beside it: `all: [{{message: {leaf.message}, status: sent}}, {{not: …}}]`",
        step=journey.label(step),
    )
