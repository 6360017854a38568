"""YML005 over-limit: a file is larger, deeper or richer than any person wrote.

## What it does

Reports files over 1 MiB, over 64 levels of nesting or over 50,000 values.

## Why is this bad

Such a file is a mistake of a program, or meant to exhaust the reader.

## Example

```yaml
# a file of 2 MiB
```

## Use instead

```yaml
# several files, one a workflow
```

## Options

None: `flowctl validate` finds it too, and nothing switches it off.

## Source

Limits of the reader, flowctl/language/source.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.language.problem import Problem, Severity
    from flowctl.lint.context import Context

CODE = "YML005"
SLUG = "over-limit"
SEVERITY: Severity = "error"


def check(context: Context) -> Iterator[Problem]:
    """What reading the files found."""
    return (problem for problem in context.project.problems if problem.code == CODE)
