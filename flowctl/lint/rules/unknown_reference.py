"""REF001 unknown-reference: a name that nothing has.

## What it does

Reports steps, messages, segments, fields, events, properties, workflows, teams, channels and body files that do not
exist, with the nearest name that does.

## Why is this bad

The workflow would fail at that point, or ask about an event that never comes.

## Example

```yaml
- send: welcom-1
```

## Use instead

```yaml
- send: welcome-1
```

## Options

None: `flowctl validate` finds it too, and nothing switches it off.

## Source

The project's own declarations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.language.problem import Problem, Severity
    from flowctl.lint.context import Context

CODE = "REF001"
SLUG = "unknown-reference"
SEVERITY: Severity = "error"


def check(context: Context) -> Iterator[Problem]:
    """What reading the files found."""
    return (problem for problem in context.project.problems if problem.code == CODE)
