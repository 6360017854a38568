"""FLO009 silent-reentry: re-entry is spoken of, but not whether one may come again.

## What it does

Reports a `reentry` that says `while_active` or `key` and leaves out `after`, which then is `never`: once out, nobody enters again
(with `key`: not for the same value).

## Why is this bad

Who writes about re-entry mostly wants it. That it never happens shows months later, as a journey in which fewer and fewer people are.

## Example

```yaml
reentry: {while_active: restart}
```

## Use instead

```yaml
reentry: {while_active: restart, after: 30d}
```

## Options

None.

## Source

The defaults of the language: `after: never`, `since: exit`, `while_active: ignore`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowctl.language.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.language.problem import Severity
    from flowctl.lint.context import Context

CODE = "FLO009"
SLUG = "silent-reentry"
SEVERITY: Severity = "info"


def check(context: Context) -> Iterator[Problem]:
    """Every re-entry that leaves it open."""
    for journey in context.journeys:
        reentry = journey.workflow.reentry
        if reentry.node is None or "after" in reentry.model_fields_set:
            continue
        yield Problem(
            code=CODE,
            slug=SLUG,
            severity=SEVERITY,
            message=f"`{journey.name}` speaks of re-entry, and does not say after what gap: it is `never`",
            place=journey.workflow.place_of_key("reentry"),
            help="add `after: 30d`, or `after: never` where that is meant",
            step=journey.name,
        )
