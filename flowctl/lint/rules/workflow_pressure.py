"""PRS001 workflow-pressure: one workflow alone can send a contact more than the cap allows.

## What it does

Computes for each workflow and channel the most marketing messages that any window of time can hold: the shortest way through
its steps from send to send, its `repeat` turns, and the next run after `reentry`. Events are taken to come at once, dates in
fields to be now, a calendar day to have 23 hours once. Compares that with `pressure:` in flowctl.yaml. A message that goes to
several recipients or on all of several channels counts each of them; a fallback (`via: [push, email]`) counts once.

It is an error where nothing caps the channel: the built-in budgets are then the measure; and where a workflow has more than
400 sends, repeats counted turn by turn. The bound is per value of
`reentry.key` where there is one: how many keys a contact has is unknown.

## Why is this bad

What exceeds the cap is held back at the place reported, and is lost where the hold outlasts its `expire_after`. So the workflow
that was drawn is not the one that contacts live through.

## Example

```yaml
steps:
  - send: offer
  - wait: 2h
  - send: offer-reminder
```

## Use instead

```yaml
steps:
  - send: offer
  - wait: 3d
  - send: offer-reminder
```

## Options

`pressure:` in flowctl.yaml sets the caps. Where it says nothing of a channel and nothing of `all`: e-mail 1 per 16h, 3 per 7d,
8 per 30d; sms, push, web_push and whatsapp 1 per 24h, 3 per 7d; all together 2 per 24h, 5 per 7d.

## Source

The arrival curve of a digraph real-time task: Stigge, Ekberg, Guan, Yi, The Digraph Real-Time Task Model, RTAS 2011. The
budgets are the project's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowctl.language.problem import Problem, Related
from flowctl.language.times import Rate
from flowctl.lint.bounds import ALL, SENDS_MAX, SENDS_TOLD, told

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from flowctl.language.problem import Severity
    from flowctl.lint.bounds import Bound
    from flowctl.lint.context import Context, Journey

CODE = "PRS001"
SLUG = "workflow-pressure"
SEVERITY: Severity = "warning"
WORST: Severity = "error"

_PUSHY = ("1 per 24h", "3 per 7d")
BUDGETS: dict[str, tuple[Rate, ...]] = {
    channel: tuple(Rate.read(rate) for rate in rates)
    for channel, rates in {
        "email": ("1 per 16h", "3 per 7d", "8 per 30d"),
        "sms": _PUSHY,
        "push": _PUSHY,
        "web_push": _PUSHY,
        "whatsapp": _PUSHY,
        ALL: ("2 per 24h", "5 per 7d"),
    }.items()
}
_NAMES = {
    "email": "e-mails",
    "sms": "SMS",
    "whatsapp": "WhatsApp messages",
    "push": "push messages",
    "web_push": "web push messages",
    ALL: "messages",
}


def check(context: Context) -> Iterator[Problem]:
    """For each workflow and channel, the first window that holds too many."""
    for journey in context.journeys:
        pressure = journey.pressure
        if pressure is None:
            continue
        if pressure.is_too_large:
            yield _too_large(journey)
            continue
        reported: set[str] = set()
        for channel, channels, rates, is_cap in _measures(context, pressure.used_channels()):
            if channel == ALL and len(channels) == 1 and set(channels) <= reported:
                continue
            found = pressure.bound(channels)
            told_max = max(SENDS_TOLD, *(rate.count + 1 for rate in rates))
            if exceeded := _exceeded(found, rates, told_max):
                reported.add(channel)
                yield _finding(journey, channel, found, exceeded, told_max, is_cap=is_cap)


def _too_large(journey: Journey) -> Problem:
    return Problem(
        code=CODE,
        slug=SLUG,
        severity=WORST,
        message=f"`{journey.name}` has too many sends to tell what a contact can get: more than {SENDS_MAX}",
        place=journey.workflow.place_of("workflow"),
        help="split it: `flowctl rule CPX004` says how",
        step=journey.name,
    )


def _exceeded(found: Bound, rates: Sequence[Rate], told_max: int) -> list[Rate]:
    """The windows that can hold more than they should."""
    if not found.can_exceed(min(rate.count for rate in rates)) or found.is_unbounded:
        return []
    return [rate for rate in rates if found.most(rate.per.elapsed_ms, told_max) > rate.count]


def _measures(context: Context, used: Sequence[str]) -> Iterator[tuple[str, Sequence[str], Sequence[Rate], bool]]:
    """What to compare: the name of the measure, the channels it counts, its windows, and whether a cap enforces it."""
    caps = context.settings.pressure
    all_caps = caps.all_ if caps else []
    uncapped: list[str] = []
    for channel in used:
        if caps and (rates := caps.of(channel)):
            yield channel, (channel,), rates, True
        elif not all_caps and channel in BUDGETS:
            uncapped.append(channel)
            yield channel, (channel,), BUDGETS[channel], False
    if all_caps:
        yield ALL, used, all_caps, True
    elif len(uncapped) > 1:
        yield ALL, uncapped, BUDGETS[ALL], False


def _finding(
    journey: Journey, channel: str, found: Bound, exceeded: Sequence[Rate], told_max: int, *, is_cap: bool
) -> Problem:
    rate = exceeded[0]
    count = found.most(rate.per.elapsed_ms, told_max)
    shown = f"{count} or more" if count == told_max else str(count)
    measure = "cap" if is_cap else "default budget"
    way = found.witness(rate.count + 1)
    over, first = way[-1].node, way[0].node
    nth = f"number {len(way)}" if len(way) > rate.count else "one of them, in each run"
    each = f" for each `{found.key}`" if found.key else ""
    also = [f"also over: {one.count + 1} or more in {one.per} ({measure} {one.count})" for one in exceeded[1:]]
    step = over.instruction.step if over.instruction is not None else None
    related = (Related(place=first.place, label="the first of them"),) if first.place != over.place else ()
    return Problem(
        code=CODE,
        slug=SLUG,
        severity=SEVERITY if is_cap else WORST,
        message=f"one contact can be sent {shown} marketing {_NAMES.get(channel, channel)} in {rate.per}{each} ({measure} {rate.count})",
        place=over.place,
        label=nth + (", held back here" if is_cap else ""),
        related=related,
        detail=(*told(way, journey.name), *also),
        help=_help(over.name, found, channel, is_cap=is_cap),
        note="a bound: how many values the key takes for one contact is not known" if found.key else "",
        step=journey.label(step) if step is not None else journey.name,
    )


def _help(name: str, found: Bound, channel: str, *, is_cap: bool) -> str:
    advice = f"lengthen the wait before `{name}`"
    if found.graph.comeback_arrows or found.is_side_by_side:
        advice += ", or the gap in `reentry:`"
    if found.graph.has_loops or any(node.turns for node in found.graph.nodes):
        advice += ", or `every` of its `repeat`"
    return (
        advice
        if is_cap
        else f"{advice}; and declare a cap: `pressure: {{{channel}: [{', '.join(map(str, BUDGETS[channel]))}]}}` in flowctl.yaml"
    )
