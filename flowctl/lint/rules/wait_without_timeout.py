"""FLO003 wait-without-timeout: a contact can be stuck for ever.

## What it does

Reports `wait_for` and `task` steps without a `timeout`.

## Why is this bad

Who never does what is waited for stays on the step for good: counted as active, kept out of the workflow's next run, and still
there in the release after next. A goal or an `exit_when` frees only those to whom it happens.

## Example

```yaml
- wait_for: {event: app_downloaded}
```

## Use instead

```yaml
- wait_for: {event: app_downloaded}
  timeout: 7d
  on_timeout:
    - send: app-reminder
```

## Options

None.

## Source

language.md: `timeout` is required for `wait_for`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowctl.language.problem import Problem
from flowctl.language.steps import TaskStep, WaitForStep
from flowctl.lint.steps import said, spot

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.language.problem import Severity
    from flowctl.lint.context import Context

CODE = "FLO003"
SLUG = "wait-without-timeout"
SEVERITY: Severity = "error"


def check(context: Context) -> Iterator[Problem]:
    """Every wait for a fact or a person that may never end."""
    for journey in context.journeys:
        for step in journey.steps:
            match step:
                case WaitForStep(timeout=None):
                    where, never = "`timeout: 7d` beside `wait_for`", "it never happens"
                case TaskStep() if step.task.timeout is None:
                    where, never = "`timeout: 2d` in the `task`", "nobody does it"
                case _:
                    continue
            yield Problem(
                code=CODE,
                slug=SLUG,
                severity=SEVERITY,
                message=f"{said(step)} has no time-out: a contact can be stuck on it for ever",
                place=spot(step),
                label=f"and if {never}?",
                help=f"write {where}, and `on_timeout:` if something is to happen then",
                step=journey.label(step),
            )
