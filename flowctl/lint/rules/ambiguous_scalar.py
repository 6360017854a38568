"""YML003 ambiguous-scalar: text here, something else to other readers.

## What it does

Reports plain `no`, `on`, `22:30`, `010`, `+33612345678` and the like. flowctl keeps them as text, as YAML 1.2 says; the YAML 1.1
readers of many other tools make `false`, `true`, 81000, 8 and a number of them.

## Why is this bad

An editor, a formatter or a script that reads the file and writes it back changes what it means: the country code of Norway
becomes `false`.

## Example

```yaml
when: {field: country, is: no}
```

## Use instead

```yaml
when: {field: country, is: "no"}
```

## Options

None.

## Source

YAML 1.1 types (yaml.org/type/bool.html, int.html) against the core schema of YAML 1.2.2.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.language.problem import Problem, Severity
    from flowctl.lint.context import Context

CODE = "YML003"
SLUG = "ambiguous-scalar"
SEVERITY: Severity = "warning"

# Whether a file is worth a closer look: a plain word or number of the kinds that `language.scalars` knows.
_SUSPECT = re.compile(
    r"[\n:\-,\[{][ \t]*(?=[ynoYNO0-9.+-])"
    r"(?:yes|Yes|YES|no|No|NO|on|On|ON|off|Off|OFF|[-+]?[1-9][0-9_]*:[0-5]?[0-9][0-9:.]*|[-+]?0[0-9_]+[0-9.]*"
    r"|\+[0-9][0-9_.eE]*|-?[0-9]+_[0-9_.]*|-?[0-9]{19,}|0b[01_]+|[-+]?\.(?:inf|Inf|INF|nan|NaN|NAN))"
    r"[ \t]*(?:$|[:,\]}#])",
    re.MULTILINE,
)


def check(context: Context) -> Iterator[Problem]:
    """Every such scalar of every file."""
    from flowctl.language.doubts import ambiguous  # noqa: PLC0415 - most projects have none

    for path, text in context.project.sources.items():
        if _SUSPECT.search("\n" + text) and (root := context.root(path)) is not None:
            yield from ambiguous(root)
