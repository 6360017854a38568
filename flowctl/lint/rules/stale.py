"""VER003 stale: nobody has looked at a workflow for 90 days, or it was written 30 days ago and never applied.

## What it does

Reports a live workflow whose file is older than 90 days in git, counted from the last commit that touched it. With `--store` or
`--state` also one whose file is older than 30 days and that no release has applied. Silent outside git.

## Why is this bad

Offers end, prices change, people leave; a journey goes on sending what was true when it was written. One that was never applied is
mostly forgotten work that everybody takes for running.

## Example

```yaml
workflow: spring-offer    # last changed eight months ago
state: live
```

## Use instead

Read it, run `flowctl report spring-offer`, and commit what you change; where all is still right, say so in its description:

```yaml
workflow: spring-offer
description: Every March. Reviewed in March 2026.
```

## Options

`lint: {max: {review_days: 90}}` in flowctl.yaml, or in one workflow.

## Source

Half a season: a house rule. Set your own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowctl import clock
from flowctl.language.durations import DAY_MS
from flowctl.language.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.language.problem import Severity
    from flowctl.lint.context import Context

CODE = "VER003"
SLUG = "stale"
SEVERITY: Severity = "info"
UNAPPLIED_DAYS = 30


def check(context: Context) -> Iterator[Problem]:
    """Every workflow whose file is too old."""
    if not context.last_commits:
        return
    now = clock.now()
    applied = context.live.applied if context.live is not None else None
    for journey in context.journeys:
        place = journey.workflow.place_of("workflow")
        at = context.last_commits.get(place.path)
        if at is None or journey.workflow.state == "draining":
            continue
        most = journey.most("review_days")
        if applied is not None and journey.name not in applied.workflows and now - at > UNAPPLIED_DAYS * DAY_MS:
            message = f"`{journey.name}` was written more than {UNAPPLIED_DAYS} days ago and never applied"
            help_ = "apply it, or delete it: git keeps it"
        elif journey.workflow.state == "live" and now - at > most * DAY_MS:
            message = f"nobody has changed `{journey.name}` for more than {most} days: is all of it still right?"
            help_ = "read it and commit what you change; or say in its description when it was reviewed"
        else:
            continue
        yield Problem(
            code=CODE, slug=SLUG, severity=SEVERITY, message=message, place=place, help=help_, step=journey.name
        )
