"""PRS004 cap-will-drop: the cap or quiet hours can hold a message for longer than it lives, so that it is lost.

## What it does

With `on_cap: defer` a message that finds a window full waits until there is room; it is given up `expire_after` its arrival (the
step's, else the message's, else 3 days). Reports a send that one workflow alone can make wait for so long: as many messages as the
window holds left before it, on the fastest way, and the window opens only after it expired; one finding a workflow. Also a send on a channel whose
`quiet_hours:` can be closed for as long as the message lives: overnight, over a Sunday, or over a holiday next to it. After a `wait` with
`time:` only that time of day is looked at; after a `slot` none.

Where the cap is `on_cap: skip`, PRS001 and PRS002 tell what is lost.

## Why is this bad

The message is not late, it never comes; in the report it is one of the skipped, and nobody meant it so.

## Example

```yaml
pressure: {email: [1 per 3d]}
```
```yaml
steps:
  - send: offer
  - wait: 1d
  - send: offer-again
    expire_after: 1d
```

## Use instead

```yaml
steps:
  - send: offer
  - wait: 3d
  - send: offer-again
    expire_after: 1d
```

## Options

None. Where a late message is worth nothing, say so: `# flowctl: ignore[PRS004] an offer of the day`.

## Source

`on_cap` and `expire_after` of the language; the fastest way is that of PRS001.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowctl.language.durations import DAY_MS, Duration
from flowctl.language.problem import Problem, Related
from flowctl.language.settings import Hours
from flowctl.language.steps import SendStep, Step, WaitStep, WaitUntilStep
from flowctl.language.steps.wait_until import UntilSlot
from flowctl.language.times import DAYS
from flowctl.lint.bounds import ALL, expires_ms, told

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import time

    from flowctl.language.problem import Severity
    from flowctl.language.times import Rate
    from flowctl.lint.bounds import Bound, Pressure
    from flowctl.lint.budgets import Measure
    from flowctl.lint.context import Context, Journey
    from flowctl.program.graph import Node

CODE = "PRS004"
SLUG = "cap-will-drop"
SEVERITY: Severity = "warning"

MINUTE_MS = 60_000
DAY_MINUTES = 24 * 60
WEEK = 7
_Hours = dict[str, list[tuple[str, Hours]]]
"""By channel: each country with its hours."""


def check(context: Context) -> Iterator[Problem]:
    """For each workflow the longest hold by the cap, and for each other send the first by quiet hours."""
    caps = context.settings.pressure
    hours: _Hours = {channel: list(_hours(said)) for channel, said in context.settings.quiet_hours.items()}
    for journey in context.journeys:
        if journey.pressure is None or journey.pressure.is_too_large:
            continue
        known: set[int] = set()
        if caps is not None and caps.on_cap == "defer":
            holds = _holds(journey, journey.pressure, context)
            known = set(holds)
            if holds:
                yield _capped(journey, list(holds.values()))
        for step, problem in _by_quiet_hours(journey, context, hours) if hours else ():
            if id(step) not in known:
                known.add(id(step))
                yield problem


@dataclass(frozen=True, kw_only=True, slots=True)
class _Hold:
    """A send that the cap can hold for longer than it lives."""

    measure: Measure
    rate: Rate
    bound: Bound
    send: int
    node: Node
    held_ms: int
    lives_ms: int


def _holds(journey: Journey, pressure: Pressure, context: Context) -> dict[int, _Hold]:
    """By step its longest hold."""
    found: dict[int, _Hold] = {}
    for measure in context.measures(pressure.used_channels()):
        bound = pressure.bound(measure.channels)
        if not measure.is_cap or not bound.can_exceed(min(rate.count for rate in measure.rates)):
            continue
        for rate in measure.rates:
            for send, at_ms in bound.late_comers(rate.count + 1).items():
                node = journey.graph.nodes[send]
                held_ms = rate.per.elapsed_ms - at_ms
                step = node.instruction.step if node.instruction is not None else None
                lives_ms = expires_ms(node, context.project.messages)
                if step is None or held_ms < lives_ms or (id(step) in found and found[id(step)].held_ms >= held_ms):
                    continue
                if bound.has_way_to(send, rate.count + 1):
                    found[id(step)] = _Hold(
                        measure=measure,
                        rate=rate,
                        bound=bound,
                        send=send,
                        node=node,
                        held_ms=held_ms,
                        lives_ms=lives_ms,
                    )
    return found


def _capped(journey: Journey, holds: Sequence[_Hold]) -> Problem:
    worst = max(holds, key=lambda hold: hold.held_ms - hold.lives_ms)
    rate, last = worst.rate, worst.node
    way = worst.bound.way_to(worst.send, rate.count + 1) or []
    first = way[0].node
    of = "" if worst.measure.name == ALL else f"{worst.measure.name} "
    others = dict.fromkeys(f"`{hold.node.name}`" for hold in holds if hold.node.name != last.name)
    also = [f"so can it hold {', '.join(others)}"] if others else []
    return _problem(
        journey,
        last,
        message=f"the {of}cap of {rate} can hold `{last.name}` for {_span(worst.held_ms)}; it is given up after {_span(worst.lives_ms)}",
        label=f"number {len(way)} in {rate.per}",
        related=(Related(place=first.place, label="the first of them"),) if first.place != last.place else (),
        detail=(*told(way, journey.name), *also),
        help_=f"lengthen the wait before `{last.name}`, or its `expire_after`",
    )


def _by_quiet_hours(journey: Journey, context: Context, hours: _Hours) -> Iterator[tuple[Step, Problem]]:
    for index in journey.pressure.sends if journey.pressure else []:
        node = journey.graph.nodes[index]
        step = node.instruction.step if node.instruction is not None else None
        if node.sending is None or not isinstance(step, SendStep):
            continue
        earlier = journey.before.get(id(step))
        if isinstance(earlier, WaitUntilStep) and isinstance(earlier.wait_until, UntilSlot):
            continue
        clock = earlier.time if isinstance(earlier, WaitStep) else None
        lives_ms = expires_ms(node, context.project.messages)
        for channel in node.sending.channels:
            for where, said in hours.get(channel, ()):
                closed_ms = longest_closed_min(said, clock) * MINUTE_MS
                if closed_ms >= lives_ms:
                    yield step, _quiet(journey, node, channel, where, closed_ms, lives_ms)


def _quiet(journey: Journey, node: Node, channel: str, where: str, closed_ms: int, lives_ms: int) -> Problem:
    place = f" in {where}" if where else ""
    return _problem(
        journey,
        node,
        message=f"quiet hours{place} can hold `{node.name}` on {channel} for {_span(closed_ms)}; it is given up after {_span(lives_ms)}",
        label=f"{channel}{place}",
        help_="wait for hours that are open before it (`wait: …` with `time:`, or `wait_until: {slot: …}`), or lengthen its `expire_after`",
    )


def _problem(
    journey: Journey,
    node: Node,
    *,
    message: str,
    label: str,
    help_: str,
    related: tuple[Related, ...] = (),
    detail: tuple[str, ...] = (),
) -> Problem:
    step = node.instruction.step if node.instruction is not None else None
    return Problem(
        code=CODE,
        slug=SLUG,
        severity=SEVERITY,
        confidence="possible",
        message=message,
        place=node.place,
        label=label,
        related=related,
        detail=detail,
        help=help_,
        step=journey.label(step) if step is not None else journey.name,
    )


def longest_closed_min(hours: Hours, clock: time | None) -> int:
    """The most minutes a message waits that arrives at any time, or at that time of day; a holiday may close any one day."""
    longest = 0
    for holiday in [None, *range(WEEK, 2 * WEEK)] if not hours.holidays else [None]:
        opens = [span for day in range(3 * WEEK) if day != holiday for span in _open(hours, day)]
        if not opens:
            return 3 * WEEK * DAY_MINUTES
        for day in range(WEEK, 2 * WEEK):
            at_times = (
                [clock.hour * 60 + clock.minute] if clock is not None else [0, *(end % DAY_MINUTES for _, end in opens)]
            )
            for minute in at_times:
                at = day * DAY_MINUTES + minute
                longest = max(longest, min(max(0, begin - at) for begin, end in opens if end > at))
    return longest


def _open(hours: Hours, day: int) -> list[tuple[int, int]]:
    """When a day is open, in minutes from the first day's midnight."""
    if DAYS[day % WEEK] not in hours.days:
        return []
    begin, end = 0, DAY_MINUTES
    if hours.between is not None:
        begin, end = (said.hour * 60 + said.minute for said in hours.between)
        end += DAY_MINUTES if end <= begin else 0
    return [(day * DAY_MINUTES + begin, day * DAY_MINUTES + end)]


def _hours(said: Hours | Mapping[str, Hours]) -> Iterator[tuple[str, Hours]]:
    """The hours of each country, `default` among them."""
    if isinstance(said, Hours):
        yield "", said
    else:
        yield from (("" if country == "default" else country, hours) for country, hours in said.items())


def _span(ms: int) -> str:
    days, rest = divmod(ms, DAY_MS)
    return str(Duration(days=days, ms=rest))
