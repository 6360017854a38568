"""YML008 invalid-suppression: a comment that silences nothing, or does not say why.

## What it does

Looks at `# flowctl: ignore[CODE] reason`. Such a comment stands above a step, or behind its first line, and covers the whole step;
above another block it covers that one, above the first key of a file the file. Reports comments that name no rule or one that
does not exist, give no reason (they silence nothing), name a fault of reading, or cover nothing that their rule finds.

## Why is this bad

A suppression without a reason cannot be judged by the next reader, and one that is no longer needed hides the next finding.

## Example

```yaml
# flowctl: ignore[PRS001]
- send: reminder
```

## Use instead

```yaml
# flowctl: ignore[PRS001] asked for by the customer in the same call
- send: reminder
```

## Options

None.

## Source

flake8-noqa and ruff's unused-noqa (RUF100) find the same; the reason is the project's own demand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowctl.language.problem import Problem
from flowctl.lint.suppressions import remove

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.language.problem import Severity
    from flowctl.lint.context import Context

CODE = "YML008"
SLUG = "invalid-suppression"
SEVERITY: Severity = "warning"


def check(context: Context) -> Iterator[Problem]:
    """Every comment at fault. Asked last: only then it is known what the others found."""
    for one, why, help_ in context.suppressions.faults(context.ran):
        yield Problem(
            code=CODE,
            slug=SLUG,
            severity=SEVERITY,
            message=f"this suppression does not hold: {why}",
            place=one.place,
            help=help_,
            fix=remove(one, context.project.sources),
        )
