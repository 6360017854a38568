"""YML001 syntax-error: a file is no YAML.

## What it does

Reports what cannot be parsed: a missing quote or bracket, a wrong indentation, a tab, a second document, bytes that
are no UTF-8.

## Why is this bad

Nothing in the file can run, and other files that refer to it cannot be judged.

## Example

```yaml
workflow: welcome
description: "Hello
```

## Use instead

```yaml
workflow: welcome
description: "Hello"
```

## Options

None: `flowctl validate` finds it too, and nothing switches it off.

## Source

YAML 1.2.2, read strictly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.language.problem import Problem, Severity
    from flowctl.lint.context import Context

CODE = "YML001"
SLUG = "syntax-error"
SEVERITY: Severity = "error"


def check(context: Context) -> Iterator[Problem]:
    """What reading the files found."""
    return (problem for problem in context.project.problems if problem.code == CODE)
