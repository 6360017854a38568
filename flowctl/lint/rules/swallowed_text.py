"""YML009 swallowed-text: YAML cut or joined what was meant as text.

## What it does

Reports a ` #` that begins a comment in the middle of what looks like a text, and a line that was to be a key or a list item but
is indented so that it continues the text above it. A comment written with a space (`# like this`) is taken for one.

## Why is this bad

`subject: Save now #1 offer` sends the subject "Save now". Nothing fails, and the first to notice are the readers.

## Example

```yaml
subject: Our #1 offer
```

## Use instead

```yaml
subject: "Our #1 offer"
```

## Options

None.

## Source

YAML 1.2.2, sections 6.6 (comments) and 7.3.3 (plain scalars).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.language.problem import Problem, Severity
    from flowctl.lint.context import Context

CODE = "YML009"
SLUG = "swallowed-text"
SEVERITY: Severity = "warning"

# Whether a file is worth a closer look: `text #word`, or below `key: text` a deeper line that looks like a key or an item.
_CUT = re.compile(r"\S[ \t]+#[^\s#]")
_JOINED = re.compile(
    r"""\n(?:([ ]*)[\w-]+:[ ]+[^\s'"|>\[{#][^\n]*\n(?:[ ]*\n)*\1[ ]+|([ ]*)-[ ]+[\w-]+:[ ]+[^\s'"|>\[{#][^\n]*\n(?:[ ]*\n)*\2[ ]{3,})"""
    r"(?:-[ ]|[\w-]+:(?:[ \r\n]|\Z))",
)


def check(context: Context) -> Iterator[Problem]:
    """Every such place in every file."""
    from flowctl.language.doubts import swallowed  # noqa: PLC0415 - most projects have none

    for path, text in context.project.sources.items():
        if (("#" in text and _CUT.search(text)) or _JOINED.search("\n" + text)) and (
            root := context.root(path)
        ) is not None:
            yield from swallowed(root, text)
