"""PRS006 cap-bypass: marketing goes out as transactional, past consent and caps.

## What it does

Reports a message of `purpose: transactional` that hands out a coupon (`coupon(…)` in a text), or whose `topic` is one that
marketing messages of the project have too; and, as a warning, one that only workflows of `type: activation` or `nurturing` send: people
there are courted, not served.

## Why is this bad

Transactional messages need no consent and pass the cap and quiet hours. An offer that goes out as one is unsolicited mail, in the
eyes of the law and of those who get it.

## Example

```yaml
message: voucher
purpose: transactional
email: {subject: For you, text: "Your code: {{ coupon('WELCOME10') }}"}
```

## Use instead

```yaml
message: voucher
purpose: marketing
topic: offers
email: {subject: For you, text: "Your code: {{ coupon('WELCOME10') }}"}
```

## Options

None.

## Source

Directive 2002/58/EC, article 13: direct marketing by electronic mail needs prior consent, whatever it is called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowctl.language.problem import Problem, Related
from flowctl.lint.templates import read
from flowctl.lint.texts import message_texts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.language.message import Message
    from flowctl.language.problem import Place, Severity
    from flowctl.lint.context import Context

CODE = "PRS006"
SLUG = "cap-bypass"
SEVERITY: Severity = "error"

COURTING = frozenset({"activation", "nurturing"})
_HELP = "say `purpose: marketing`, or take what sells out of it"


def check(context: Context) -> Iterator[Problem]:
    """Every such message, with the first reason found."""
    topics = {message.topic: message for message in context.marketing() if message.topic is not None}
    for message in context.project.messages.values():
        if message.purpose != "transactional":
            continue
        if place := _coupon(message, context):
            said = f"the transactional message `{message.message}` hands out a coupon"
            yield _finding(message, said, place, label="the coupon")
        elif message.topic in topics:
            other = topics[message.topic]
            said = (
                f"the transactional message `{message.message}` has the topic `{message.topic}` of marketing messages"
            )
            related = Related(place=other.place_of("topic"), label=f"`{other.message}` is marketing")
            yield _finding(message, said, message.place_of("topic"), related=(related,))
        else:
            yield from _courted(message, context)


def _coupon(message: Message, context: Context) -> Place | None:
    for text in message_texts(message, context.project):
        if "coupon" in text.value:
            for use in read(text.value).uses:
                if use.chain[0] == "coupon":
                    return text.place_at(use.offset, "coupon")
    return None


def _courted(message: Message, context: Context) -> Iterator[Problem]:
    senders = context.senders.get(message.message, [])
    if not senders or any(journey.workflow.type not in COURTING for journey, _ in senders):
        return
    journey, step = senders[0]
    said = f"the transactional message `{message.message}` is sent only where people are courted: `{journey.name}` is of `type: {journey.workflow.type}`"
    related = Related(place=step.place_of("send"), label="sent here")
    yield _finding(message, said, message.place_of("purpose"), related=(related,), severity="warning")


def _finding(
    message: Message,
    said: str,
    place: Place,
    *,
    label: str = "",
    related: tuple[Related, ...] = (),
    severity: Severity = SEVERITY,
) -> Problem:
    return Problem(
        code=CODE,
        slug=SLUG,
        severity=severity,
        confidence="proved" if severity == SEVERITY else "possible",
        message=said,
        place=place,
        label=label,
        related=related
        or ((Related(place=message.place_of("purpose"), label="declared transactional"),) if label else ()),
        help=_HELP,
        step=message.message,
    )
