"""YML004 alias-or-tag: anchors, aliases, merge keys and tags are not read.

## What it does

Reports `&name`, `*name`, `<<:` and `!tag`.

## Why is this bad

An alias makes one line of a review change many places, and a few of them nested can fill the memory; a tag asks a
reader to make objects.

## Example

```yaml
steps: &usual
  - wait: 2d
```

## Use instead

```yaml
steps:
  - wait: 2d
```

## Options

None: `flowctl validate` finds it too, and nothing switches it off.

## Source

Strict reading: YAML 1.2 without what programs need and people do not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.language.problem import Problem, Severity
    from flowctl.lint.context import Context

CODE = "YML004"
SLUG = "alias-or-tag"
SEVERITY: Severity = "error"


def check(context: Context) -> Iterator[Problem]:
    """What reading the files found."""
    return (problem for problem in context.project.problems if problem.code == CODE)
