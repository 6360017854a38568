"""FLO008 open-only-decision: a way is chosen by opens alone, which say little.

## What it does

Reports an `if`, `choose`, `when`, `while` or `wait_for` whose question is about opened e-mails and about nothing else.

## Why is this bad

Mail programs that protect privacy load every picture, so that those contacts open everything; others load none, and never open
anything. A click, a visit or a purchase is somebody's doing.

## Example

```yaml
- if: {message: offer, status: opened}
  then: [{send: offer-again}]
```

## Use instead

```yaml
- if: {message: offer, status: clicked}
  then: [{send: offer-again}]
```

## Options

None.

## Source

Apple's Mail Privacy Protection (iOS 15, September 2021) loads the pictures of all mail through a proxy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowctl.language.conditions import MessageLeaf, leaves
from flowctl.language.problem import Problem
from flowctl.lint.steps import said

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.language.problem import Severity
    from flowctl.lint.context import Context

CODE = "FLO008"
SLUG = "open-only-decision"
SEVERITY: Severity = "warning"


def check(context: Context) -> Iterator[Problem]:
    """Every question that opens alone answer."""
    for journey in context.journeys:
        for step, condition in journey.questions:
            asked = list(leaves(condition))
            by_mail = [
                leaf
                for leaf in asked
                if isinstance(leaf, MessageLeaf) and leaf.status == "opened" and _is_mail(leaf, context)
            ]
            if not by_mail or len(by_mail) < sum(not _asks_sent(leaf) for leaf in asked):
                continue
            yield Problem(
                code=CODE,
                slug=SLUG,
                severity=SEVERITY,
                message=f"{said(step)} is decided by opens alone, which mail programs fake or hide",
                place=by_mail[0].place,
                help="ask for `status: clicked`, or for an event beside it: `any: [{message: …, status: opened}, {event: …}]`",
                step=journey.label(step),
            )


def _is_mail(leaf: MessageLeaf, context: Context) -> bool:
    message = context.project.messages.get(leaf.message)
    return message is None or message.email is not None


def _asks_sent(leaf: object) -> bool:
    """Whether a leaf only makes sure that there was something to open."""
    return isinstance(leaf, MessageLeaf) and leaf.status in ("sent", "delivered")
