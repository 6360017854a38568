"""AUD005 overlapping-tiers: tiers of a score that overlap, or leave a hole.

## What it does

Reports tiers that begin at the same points, or not in rising order, and a lowest tier above what the score can fall to: those below have no tier at all.

## Why is this bad

A workflow for `cold` contacts misses whoever fell below the lowest tier, and nobody sees it.

## Example

```yaml
score: engagement
rules: [{when: {event: cart_updated}, add: 10}]
min: -200
tiers: [{cold: 0}, {mql: 50}]
```

## Use instead

```yaml
score: engagement
rules: [{when: {event: cart_updated}, add: 10}]
min: -200
tiers: [{cold: -200}, {mql: 50}]
```

## Options

None.

## Source

"Highest reached wins", in the meaning of the language.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from flowctl.language.problem import Problem
from flowctl.language.steps import AddStep

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.language.problem import Severity
    from flowctl.lint.context import Context

CODE = "AUD005"
SLUG = "overlapping-tiers"
SEVERITY: Severity = "warning"


def check(context: Context) -> Iterator[Problem]:
    """Every overlap and every hole."""
    for score in context.project.scores.values():
        tiers = [next(iter(tier.items())) for tier in score.tiers]
        if not tiers:
            continue
        fault = None
        for (name, points), (above, more) in pairwise(tiers):
            if more <= points:
                fault = f"the tier `{above}` begins at {more:g}, not above `{name}` at {points:g}"
                break
        lowest, least = min(tiers, key=lambda tier: tier[1])
        can_fall = any(rule.add < 0 for rule in score.rules) or _is_taken_from(score.name, context)
        bottom = score.min if score.min is not None else (float("-inf") if can_fall else 0)
        if fault is None and (can_fall or least > 0) and bottom < least:
            below = "below it" if bottom == float("-inf") else f"from {bottom:g} to {least:g}"
            fault = f"the lowest tier `{lowest}` begins at {least:g}; who is {below} has none"
        if fault is not None:
            yield Problem(
                code=CODE,
                slug=SLUG,
                severity=SEVERITY,
                message=f"{fault}",
                place=score.place_of_key("tiers"),
                help="let the tiers rise, and the lowest begin at `min:`",
                step=score.name,
            )


def _is_taken_from(name: str, context: Context) -> bool:
    """Whether a step takes points away."""
    for journey in context.journeys:
        for step in journey.steps:
            points = step.add.get(name) if isinstance(step, AddStep) else None
            if isinstance(points, int | float) and points < 0:
                return True
    return False
