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
from flowctl.lint.bounds import ALL, SENDS_MAX, told

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from flowctl.language.problem import Severity
    from flowctl.language.times import Rate
    from flowctl.lint.bounds import Bound
    from flowctl.lint.budgets import Measure
    from flowctl.lint.context import Context, Journey

CODE = "PRS001"
SLUG = "workflow-pressure"
SEVERITY: Severity = "warning"
WORST: Severity = "error"


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
        for measure in context.measures(pressure.used_channels()):
            if measure.name == ALL and len(measure.channels) == 1 and set(measure.channels) <= reported:
                continue
            found = pressure.bound(measure.channels)
            if exceeded := _exceeded(found, measure):
                reported.add(measure.name)
                yield _finding(journey, measure, found, exceeded)


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


def _exceeded(found: Bound, measure: Measure) -> list[Rate]:
    """The windows that can hold more than they should."""
    if not found.can_exceed(min(rate.count for rate in measure.rates)) or found.is_unbounded:
        return []
    return [rate for rate in measure.rates if found.most(rate.per.elapsed_ms, measure.told_max) > rate.count]


def _finding(journey: Journey, measure: Measure, found: Bound, exceeded: Sequence[Rate]) -> Problem:
    rate, is_cap = exceeded[0], measure.is_cap
    count = found.most(rate.per.elapsed_ms, measure.told_max)
    shown = f"{count} or more" if count == measure.told_max else str(count)
    way = found.witness(rate.count + 1)
    over, first = way[-1].node, way[0].node
    nth = f"number {len(way)}" if len(way) > rate.count else "one of them, in each run"
    each = f" for each `{found.key}`" if found.key else ""
    also = [f"also over: {one.count + 1} or more in {one.per} ({measure.kind} {one.count})" for one in exceeded[1:]]
    step = over.instruction.step if over.instruction is not None else None
    related = (Related(place=first.place, label="the first of them"),) if first.place != over.place else ()
    return Problem(
        code=CODE,
        slug=SLUG,
        severity=SEVERITY if is_cap else WORST,
        message=f"one contact can be sent {shown} marketing {measure.noun} in {rate.per}{each} ({measure.kind} {rate.count})",
        place=over.place,
        label=nth + (", held back here" if is_cap else ""),
        related=related,
        detail=(*told(way, journey.name), *also),
        help=_help(over.name, found, measure),
        note="a bound: how many values the key takes for one contact is not known" if found.key else "",
        step=journey.label(step) if step is not None else journey.name,
    )


def _help(name: str, found: Bound, measure: Measure) -> str:
    advice = f"lengthen the wait before `{name}`"
    if found.graph.comeback_arrows or found.is_side_by_side:
        advice += ", or the gap in `reentry:`"
    if found.graph.has_loops or any(node.turns for node in found.graph.nodes):
        advice += ", or `every` of its `repeat`"
    return advice if measure.is_cap else f"{advice}; and declare a cap: {measure.declared} in flowctl.yaml"
