"""YML002 duplicate-key: the later of two equal keys would silently win.

## What it does

Reports a key that stands twice in one block.

## Why is this bad

YAML readers keep one of the two, most of them the later, and say nothing: half of what was written would be lost.

## Example

```yaml
- wait: 2d
  id: pause
  wait: 3d
```

## Use instead

```yaml
- wait: 3d
  id: pause
```

## Options

None: `flowctl validate` finds it too, and nothing switches it off.

## Source

YAML 1.2.2, section 3.2.1.1: keys are unique.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.language.problem import Problem, Severity
    from flowctl.lint.context import Context

CODE = "YML002"
SLUG = "duplicate-key"
SEVERITY: Severity = "error"


def check(context: Context) -> Iterator[Problem]:
    """What reading the files found."""
    return (problem for problem in context.project.problems if problem.code == CODE)
