"""FLO007 missing-else: a choice that sends, and does not say what becomes of whoever fits no option.

## What it does

Reports a `choose` without `otherwise` of which an option sends a message.

## Why is this bad

Those who fit none of the options get nothing, perhaps because a value was not thought of. `otherwise: []` says that
it was.

## Example

```yaml
- choose:
    - when: {field: lifecycle, is: lead}
      do: [{send: offer}]
```

## Use instead

```yaml
- choose:
    - when: {field: lifecycle, is: lead}
      do: [{send: offer}]
  otherwise: []
```

## Options

None.

## Source

A `match` without a last case, which linters of programming languages report for the same reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowctl.language.problem import Fix, Problem
from flowctl.language.steps import ChooseStep, SendStep, walk
from flowctl.lint.edits import key_added
from flowctl.lint.steps import said, spot

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.language.problem import Severity
    from flowctl.lint.context import Context

CODE = "FLO007"
SLUG = "missing-else"
SEVERITY: Severity = "warning"


def check(context: Context) -> Iterator[Problem]:
    """Every such choice."""
    for journey in context.journeys:
        for step in journey.steps:
            if not isinstance(step, ChooseStep) or "otherwise" in step.model_fields_set:
                continue
            if not any(isinstance(inner, SendStep) for option in step.choose for inner in walk(option.do)):
                continue
            yield Problem(
                code=CODE,
                slug=SLUG,
                severity=SEVERITY,
                message=f"{said(step)} does not say what becomes of contacts that fit none of its {len(step.choose)} options",
                place=spot(step),
                help="add `otherwise:` with steps, or `otherwise: []` where nothing is meant",
                fix=_fix(step, context),
                step=journey.label(step),
            )


def _fix(step: ChooseStep, context: Context) -> Fix | None:
    """Not safe: it says that nothing is meant, which only the author knows."""
    source = context.project.sources.get(step.place.path)
    edit = key_added(step.node, "otherwise: []", source, behind="choose") if step.node and source is not None else None
    return Fix(title="add `otherwise: []`", edits=(edit,), safe=False) if edit else None
