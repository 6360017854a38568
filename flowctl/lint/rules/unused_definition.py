"""REF003 unused-definition: nothing mentions it.

## What it does

Reports messages, segments, surveys and geofences whose name stands nowhere else in the project: in no YAML file and in no body.
A segment may still serve `flowctl segments members`; say so with a suppression.

## Why is this bad

It is kept in order, translated and reviewed for nothing, or something that was to use it has its name wrong.

## Example

```yaml
message: old-offer
email: {subject: Gone, text: …}
```

## Use instead

```yaml
# delete the file: git keeps it
```

## Options

None.

## Source

Unused names, as every compiler reports them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from flowctl.language.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from flowctl.language.model import Model
    from flowctl.language.problem import Place, Severity
    from flowctl.lint.context import Context

CODE = "REF003"
SLUG = "unused-definition"
SEVERITY: Severity = "warning"


def check(context: Context) -> Iterator[Problem]:
    """Every definition that is mentioned once only: where it is made."""
    project = context.project
    kinds: tuple[tuple[str, Mapping[str, Model]], ...] = (
        ("message", {name: message for name, message in project.messages.items() if name not in context.senders}),
        ("segment", project.segments),
        ("survey", project.surveys),
        ("geofence", project.geofences),
    )
    suspects = [(kind, name) for kind, models in kinds for name in models]
    if not suspects:
        return
    words = _words(context)
    for kind, name in suspects:
        if words.get(name, 0) <= 1:
            yield Problem(
                code=CODE,
                slug=SLUG,
                severity=SEVERITY,
                confidence="possible",
                message=f"nothing uses the {kind} `{name}`",
                place=_place(context, kind, name),
                help="use it, or delete it: git keeps it",
                step=name,
            )


def _words(context: Context) -> dict[str, int]:
    """How often each word that could be a name stands in the project's files."""
    counts: dict[str, int] = {}
    for texts in (context.project.sources, context.project.bodies):
        for text in texts.values():
            for word in re.findall(r"[A-Za-z0-9][\w-]*", text):
                counts[word] = counts.get(word, 0) + 1
    return counts


def _place(context: Context, kind: str, name: str) -> Place:
    return context.project.declared[kind][name]
