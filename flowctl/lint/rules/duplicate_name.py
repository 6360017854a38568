"""REF002 duplicate-name: two definitions share a name.

## What it does

Reports two resources of a kind, or two steps of a workflow, with one name, and both places.

## Why is this bad

Nobody could say which of them a reference means.

## Example

```yaml
# a.yaml
segment: vip
# b.yaml
segment: vip
```

## Use instead

```yaml
# a.yaml
segment: vip
# b.yaml
segment: vip-france
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

CODE = "REF002"
SLUG = "duplicate-name"
SEVERITY: Severity = "error"


def check(context: Context) -> Iterator[Problem]:
    """What reading the files found."""
    return (problem for problem in context.project.problems if problem.code == CODE)
