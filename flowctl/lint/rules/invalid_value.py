"""YML007 invalid-value: a value is not what the key takes.

## What it does

Reports wrong types, choices, durations, dates, and operators that do not fit the type of what they compare.

## Why is this bad

It cannot run, or would never hold.

## Example

```yaml
- wait: 2 day and a bit
```

## Use instead

```yaml
- wait: 2d
```

## Options

None: `flowctl validate` finds it too, and nothing switches it off.

## Source

The language's own types.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.language.problem import Problem, Severity
    from flowctl.lint.context import Context

CODE = "YML007"
SLUG = "invalid-value"
SEVERITY: Severity = "error"


def check(context: Context) -> Iterator[Problem]:
    """What reading the files found."""
    return (problem for problem in context.project.problems if problem.code == CODE)
