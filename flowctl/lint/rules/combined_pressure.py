"""PRS002 combined-pressure: workflows together can send one contact more than the cap allows.

## What it does

Adds up the worst cases of all workflows that can have the same contact (see PRS001 for the worst case of one), channel by channel
and over all channels, and compares the sum with the windows of `pressure:`. Names the three that add most.

A cap that defers is there to spread what comes together, so it is a warning only where some of it is lost: held back for longer
than its `expire_after`. What is merely late is an info. With `on_cap: skip`, and where no cap is declared and the default budgets of
PRS001 are the measure, all that exceeds is a warning. There is at most one finding, on the channel where most is lost.

Not added up: workflows whose audiences ask different values of a field that no workflow and no score writes (`{field: country, is:
FR}` and `is: BE`); drafts. Merged, because a contact is in one of them at a time: workflows of one `exclusive_group`; a workflow that
only `start` enters, with the one that hands over to it as the last thing it does (who is put in by hand is left out of account).

With `--store` it says how many contacts are in several of them now.

## Why is this bad

Each workflow is reasonable by itself. The contact sees all of them: what exceeds the cap is held back or lost, and which of the
messages that is, nobody decided.

## Example

```yaml
workflow: cart-recovery
triggers: [{event: cart_updated}]
steps:
  - send: cart-reminder
```
```yaml
workflow: price-alert
triggers: [{event: cart_updated}]
steps:
  - send: price-news
```

## Use instead

```yaml
workflow: cart-recovery
triggers: [{event: cart_updated}]
exclusive_group: cart
priority: 60
steps:
  - send: cart-reminder
  - wait: 2d
```
```yaml
workflow: price-alert
triggers: [{event: cart_updated}]
exclusive_group: cart
steps:
  - wait: 1d
  - send: price-news
```

## Options

`pressure:` in flowctl.yaml sets the caps; without them the default budgets of PRS001 are the measure. Where the cap is meant to choose,
say so there: `# flowctl: ignore[PRS002] who is in all of them hears what comes first` above `pressure:`.

## Source

Arrival curves add up: Le Boudec, Thiran, Network Calculus, 2001, section 1.2. The sum is a bound: two of the paths may exclude each
other in a way that only the contact's data tells.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowctl.language.problem import Problem, Related
from flowctl.lint.bounds import expires_ms
from flowctl.lint.combined import told

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from flowctl.language.problem import Severity
    from flowctl.language.times import Rate
    from flowctl.lint.budgets import Measure
    from flowctl.lint.combined import Sighting, Total
    from flowctl.lint.context import Context

CODE = "PRS002"
SLUG = "combined-pressure"
SEVERITY: Severity = "warning"

SEVERAL = 2  # workflows; one alone is PRS001's
LOOKED_MAX = 60  # messages of a worst case looked at
_SHOWN_MAX = 12  # and shown


def check(context: Context) -> Iterator[Problem]:
    """At most one: of the channel where most is lost, else where most is over."""
    if sum(len(unit.journeys) for unit in context.combined.units) < SEVERAL:
        return
    excesses = [
        excess for measure in context.measures(context.combined.channels) for excess in _excesses(context, measure)
    ]
    if excesses:
        worst = max(excesses, key=lambda excess: (excess.lost, excess.total.count / excess.rate.count))
        yield _finding(context, worst, [excess for excess in excesses if excess is not worst])


@dataclass(frozen=True, kw_only=True, slots=True)
class _Excess:
    """A window that several workflows together exceed; `lost` of the messages that come at worst never leave."""

    measure: Measure
    rate: Rate
    total: Total
    way: Sequence[Sighting]
    over: int  # which of the way is the first to be lost, or held back
    lost: int


def _excesses(context: Context, measure: Measure) -> Iterator[_Excess]:
    for rate in measure.rates:
        total = context.combined.total(measure.channels, rate.per.elapsed_ms, measure.told_max)
        if total.count <= rate.count or sum(len(part.unit.journeys) for part in total.parts) < SEVERAL:
            continue
        way = context.combined.witness(total, measure.channels, LOOKED_MAX)
        if len(way) <= rate.count:
            continue
        lost = _lost(context, measure, rate, way)
        yield _Excess(
            measure=measure, rate=rate, total=total, way=way, over=lost[0] if lost else rate.count, lost=len(lost)
        )


def _lost(context: Context, measure: Measure, rate: Rate, way: Sequence[Sighting]) -> list[int]:
    """Which messages of a worst case never leave in time, where the cap lets them go one after the other."""
    caps = context.settings.pressure
    if not measure.is_cap or (caps and caps.on_cap == "skip"):
        return list(range(rate.count, len(way)))
    lost: list[int] = []
    leaves: list[int] = []
    for number, one in enumerate(way):
        free_ms = leaves[-rate.count] + rate.per.elapsed_ms if len(leaves) >= rate.count else 0
        if free_ms - one.at_ms >= expires_ms(one.node, context.project.messages):
            lost.append(number)
        else:
            leaves.append(max(one.at_ms, free_ms))
    return lost


def _finding(context: Context, worst: _Excess, others: Sequence[_Excess]) -> Problem:
    measure, rate, total = worst.measure, worst.rate, worst.total
    over, first = worst.way[worst.over], worst.way[0]
    step = over.node.instruction.step if over.node.instruction is not None else None
    is_held = measure.is_cap and not worst.lost
    keys = sorted({journey.graph.comeback.key for part in total.parts for journey in part.unit.journeys} - {""})
    way = worst.way[: max(_SHOWN_MAX, worst.over + 1)]
    also = [
        f"also over: {one.total.shown} marketing {one.measure.noun} in {one.rate.per} ({one.measure.kind} {one.rate.count})"
        for one in others
    ]
    caps = context.settings.pressure
    limit = (
        (Related(place=caps.place_of(measure.name), label="the cap"),) if caps is not None and measure.is_cap else ()
    )
    begin = (Related(place=first.node.place, label="the first of them"),) if first.node.place != over.node.place else ()
    return Problem(
        code=CODE,
        slug=SLUG,
        severity="info" if is_held else SEVERITY,
        confidence="possible",
        message=f"one contact can be sent {total.shown} marketing {measure.noun} in {rate.per} ({measure.kind} {rate.count}): {total.named}",
        place=over.node.place,
        label=_label(worst),
        related=(*begin, *limit),
        detail=(*told(way, more=total.count - len(way)), *also, *_live(context, total)),
        help=f"lengthen the wait before `{over.node.name}`, put the workflows in one `exclusive_group` whose members end with a "
        "wait, or part their audiences by a field that does not change"
        + ("" if measure.is_cap else f"; and declare a cap: {measure.declared} in flowctl.yaml"),
        note="a bound: the ways may exclude each other"
        + (f"; it holds for each value of {' and '.join(f'`{key}`' for key in keys)}" if keys else ""),
        step=over.journey.label(step) if step is not None else over.journey.name,
    )


def _label(worst: _Excess) -> str:
    nth = f"number {worst.over + 1}"
    if not worst.measure.is_cap:
        return nth
    if not worst.lost:
        return f"{nth}, held back here"
    return f"{nth}, lost here: held for longer than its `expire_after`"


def _live(context: Context, total: Total) -> list[str]:
    """What the store says: how many contacts really are in several of them."""
    if context.live is None:
        return []
    names = frozenset(journey.name for part in total.parts for journey in part.unit.journeys)
    inside = context.live.inside_several(names)
    if inside is None:
        return []
    return [
        f"now {inside} contact{'' if inside == 1 else 's'} {'is' if inside == 1 else 'are'} inside two of them or more"
    ]
