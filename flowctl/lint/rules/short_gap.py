"""PRS007 short-gap: two marketing messages of one workflow follow each other too fast on a channel.

## What it does

Reports two sends of a workflow that can leave on one channel within less than 16 hours (e-mail) or 24 hours (SMS, WhatsApp, push,
web push) of each other, every wait taken at its shortest. A send that may take several channels counts on each of them. Silent
where PRS001 watches the same: where the channel's cap, or the default budget of a project without one, already holds a window
of one message at least that long.

## Why is this bad

The second message comes before the first was read. It wins little, and it is what people unsubscribe on.

## Example

```yaml
pressure: {email: [3 per 7d]}
```
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
  - wait: 2d
  - send: offer-reminder
```

## Options

None.

## Source

The project's own figures: a night between two e-mails, a day between two messages that make a phone ring.
"""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

from flowctl.language.durations import MS_PER
from flowctl.language.problem import Edit, Fix, Problem, Related
from flowctl.language.steps import WaitStep
from flowctl.language.steps.wait import Spread
from flowctl.lint.bounds import told
from flowctl.lint.budgets import BUDGETS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.language.problem import Severity
    from flowctl.language.steps import Step
    from flowctl.language.times import Rate
    from flowctl.lint.bounds import Sent
    from flowctl.lint.context import Context, Journey

CODE = "PRS007"
SLUG = "short-gap"
SEVERITY: Severity = "warning"

HOUR_MS = MS_PER["h"]
LEAST: dict[str, Rate] = {channel: rates[0] for channel, rates in BUDGETS.items() if rates[0].count == 1}


def check(context: Context) -> Iterator[Problem]:
    """Each send that can follow another too fast, once."""
    for journey in context.journeys:
        pressure = journey.pressure
        if pressure is None or pressure.is_too_large:
            continue
        used = pressure.used_channels()
        watched = {
            measure.name
            for measure in context.measures(used)
            if measure.name in LEAST and any(_covers(rate, LEAST[measure.name]) for rate in measure.rates)
        }
        seen: set[str] = set()
        for channel in used:
            if channel in watched or channel not in LEAST:
                continue
            bound = pressure.bound((channel,))
            if not bound.can_exceed(1):
                continue
            for last, at_ms in bound.late_comers(2).items():
                name = journey.graph.nodes[last].name
                if at_ms >= LEAST[channel].per.elapsed_ms or name in seen:
                    continue
                if way := bound.way_to(last, 2):
                    seen.add(name)
                    yield _finding(journey, channel, way)


def _covers(rate: Rate, least: Rate) -> bool:
    return rate.count == 1 and rate.per.elapsed_ms >= least.per.elapsed_ms


def _finding(journey: Journey, channel: str, way: list[Sent]) -> Problem:
    first, last = way[0].node, way[-1].node
    step = last.instruction.step if last.instruction is not None else None
    follows = f"`{last.name}` can follow `{first.name}`" if first.name != last.name else f"`{last.name}` can come again"
    return Problem(
        code=CODE,
        slug=SLUG,
        severity=SEVERITY,
        message=f"{follows} on {channel} within less than {LEAST[channel].per}",
        place=last.place,
        related=(Related(place=first.place, label="the one before"),) if first.place != last.place else (),
        detail=told(way, journey.name),
        help=f"lengthen the wait before `{last.name}`, or cap the channel: `pressure: {{{channel}: [{LEAST[channel]}]}}` in flowctl.yaml",
        fix=_fix(journey, step, LEAST[channel].per.elapsed_ms - way[-1].at_ms),
        step=journey.label(step) if step is not None else journey.name,
    )


def _fix(journey: Journey, step: Step | None, missing_ms: int) -> Fix | None:
    """The wait right before it, as much longer as is missing; in hours, since a day can have 23. It may upset what the journey is to say when."""
    wait = journey.before.get(id(step))
    if not isinstance(wait, WaitStep) or isinstance(wait.wait, Spread) or wait.when is not None:
        return None
    hours = ceil((wait.wait.shortest_ms + missing_ms) / HOUR_MS)
    return Fix(title=f"wait {hours}h", edits=(Edit(place=wait.place_of("wait"), text=f"{hours}h"),), safe=False)
