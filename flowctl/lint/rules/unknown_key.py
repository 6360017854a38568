"""YML006 unknown-key: a key means nothing here.

## What it does

Reports keys that the language does not know at that place, with the nearest one that exists.

## Why is this bad

A misspelt key would be ignored, and the author believes it holds.

## Example

```yaml
- wait: 2d
  tiem: "09:00"
```

## Use instead

```yaml
- wait: 2d
  time: "09:00"
```

## Options

None: `flowctl validate` finds it too, and nothing switches it off.

## Source

The language's own keys.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.language.problem import Problem, Severity
    from flowctl.lint.context import Context

CODE = "YML006"
SLUG = "unknown-key"
SEVERITY: Severity = "error"


def check(context: Context) -> Iterator[Problem]:
    """What reading the files found."""
    return (problem for problem in context.project.problems if problem.code == CODE)
