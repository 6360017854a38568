"""FLO006 no-reachability-check: a push, SMS or WhatsApp message that whoever lacks the channel never hears of.

## What it does

Reports a send that knows one channel only, and one that not every contact has (push, web push, SMS, WhatsApp), in a workflow that
never writes on another channel, where nothing asks whether the contact can be reached: no `reachable` in the audience, around
the step or in its `when`, no `on_skip` of its own.

## Why is this bad

Few contacts let themselves be pushed, and not all give a number. Those who cannot be reached are skipped, and the journey
goes on as if they had been told.

## Example

```yaml
steps:
  - send: app-news
    via: push
```

## Use instead

```yaml
steps:
  - send: app-news
    via: [push, email]
```

## Options

None.

## Source

Every journey of the gallery that pushes or texts names another way for those who cannot be reached.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowctl.language.conditions import ReachableLeaf, leaves
from flowctl.language.problem import Problem
from flowctl.language.steps.send import AllChannels, SameChannel
from flowctl.lint.steps import said, spot

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.language.conditions import Condition
    from flowctl.language.problem import Severity
    from flowctl.language.steps import SendStep
    from flowctl.lint.context import Context

CODE = "FLO006"
SLUG = "no-reachability-check"
SEVERITY: Severity = "warning"
RARE = {"push": "push", "web_push": "web push", "sms": "SMS", "whatsapp": "WhatsApp"}


def check(context: Context) -> Iterator[Problem]:
    """Every send on one rare channel that nothing asked for."""
    for journey in context.journeys:
        asked = {*_asked(journey.workflow.audience)}
        channels = [_only(step, context) for step in journey.sends]
        if len(set(channels)) != 1 or channels[0] is None:
            continue  # another channel is the way out
        for step, channel in zip(journey.sends, channels, strict=True):
            if channel is None or channel in asked or step.on_skip != "continue":
                continue
            conditions = [*journey.above.get(id(step), ()), step.when]
            if any(channel in _asked(condition) for condition in conditions):
                continue
            yield Problem(
                code=CODE,
                slug=SLUG,
                severity=SEVERITY,
                message=f"whoever cannot be reached by {RARE[channel]} gets nothing from {said(step)}, and nothing says so",
                place=spot(step),
                help=f"name another channel (`via: [{channel}, email]`), ask first (`if: {{reachable: {channel}}}`), or say what then: `on_skip:`",
                step=journey.label(step),
            )


def _only(step: SendStep, context: Context) -> str | None:
    """The one rare channel that a send knows; None where it knows another, or follows an earlier send."""
    message = context.project.messages.get(step.send)
    if message is None or isinstance(step.via, SameChannel):
        return None
    via = step.via
    written = via.all_ if isinstance(via, AllChannels) else [via] if isinstance(via, str) else via or message.channels
    return written[0] if len(set(written)) == 1 and written[0] in RARE else None


def _asked(condition: Condition | None) -> Iterator[str]:
    """The channels that a condition asks about."""
    for leaf in leaves(condition) if condition is not None else ():
        if isinstance(leaf, ReachableLeaf):
            yield leaf.reachable.channel
