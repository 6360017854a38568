"""VER001 lost-step: a workflow loses a step on which contacts stand, and nothing says where they go on.

## What it does

Only with `--store` or `--state`. Reports each step of an applied version that holds contacts and that the files no longer have, where
`move:` does not name it.

## Why is this bad

Those contacts finish the version they entered, with its old messages and waits, however long that takes; nobody sees them on the new
way. Where a step was only renamed, that is seldom meant.

## Example

```yaml
workflow: onboarding      # 4,000 contacts stand on `second_mail`, which is `tips_mail` now
steps:
  - {id: tips_mail, send: tips}
```

## Use instead

```yaml
workflow: onboarding
move: {second_mail: tips_mail}
steps:
  - {id: tips_mail, send: tips}
```

Or let them finish on purpose: `# flowctl: ignore[VER001] they finish the old way`.

## Options

None.

## Source

`flowctl plan` counts the same contacts, before anything is applied.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowctl.language.faults import nearest
from flowctl.language.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.language.problem import Severity
    from flowctl.lint.context import Context, Journey

CODE = "VER001"
SLUG = "lost-step"
SEVERITY: Severity = "warning"


def check(context: Context) -> Iterator[Problem]:
    """Every such step of what the next apply changes."""
    if context.live is None or context.live.applied is None:
        return
    from flowctl.lint.live import is_another_version  # noqa: PLC0415 - as in PRS009

    applied = context.live.applied.workflows
    for journey in context.journeys:
        old = applied.get(journey.name)
        if old is None or not is_another_version(old, journey.workflow):
            continue
        for step, contacts in _held(context, journey).items():
            if step and step not in journey.program.step_positions and step not in journey.workflow.move:
                yield _finding(journey, step, contacts)


def _held(context: Context, journey: Journey) -> dict[str, int]:
    """How many contacts are on each step, over all versions."""
    held: dict[str, int] = {}
    for one in context.live.in_flight if context.live is not None else ():
        if one.workflow == journey.name:
            for step, contacts in one.steps.items():
                held[step] = held.get(step, 0) + contacts
    return dict(sorted(held.items()))


def _finding(journey: Journey, step: str, contacts: int) -> Problem:
    near = nearest(step, journey.program.step_positions) or "NEW_STEP"
    are = "contact is" if contacts == 1 else "contacts are"
    return Problem(
        code=CODE,
        slug=SLUG,
        severity=SEVERITY,
        message=f"`{journey.name}` loses its step `{step}`, on which contacts stand",
        place=journey.workflow.place_of_key("steps"),
        label=f"{contacts:,} {are} on `{step}` now",
        help=f"carry them over with `move: {{{step}: {near}}}`, or let them finish the old version: `# flowctl: ignore[VER001] why`",
        step=f"{journey.name}/{step}",
    )
