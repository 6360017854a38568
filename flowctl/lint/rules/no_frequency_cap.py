"""PRS005 no-frequency-cap: nothing limits how many messages a contact gets.

## What it does

Reports a project that has marketing messages and no `pressure:` in flowctl.yaml, or one without any window.

## Why is this bad

Each workflow is reasonable by itself; together they tire people. The cap is the one place that sees all of them when a message
is about to leave.

## Example

```yaml
project: maison-lune
timezone: Europe/Paris
```

## Use instead

```yaml
project: maison-lune
timezone: Europe/Paris
pressure:
  email: [1 per 16h, 3 per 7d, 8 per 30d]
  all: [2 per 24h, 5 per 7d]
  on_cap: defer
```

## Options

None.

## Source

Frequency capping; the numbers are those of PRS001.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowctl.language.problem import Problem, Related
from flowctl.lint.bounds import ALL, CHANNELS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.language.problem import Severity
    from flowctl.lint.context import Context

CODE = "PRS005"
SLUG = "no-frequency-cap"
SEVERITY: Severity = "error"


def check(context: Context) -> Iterator[Problem]:
    """At most one, in flowctl.yaml."""
    settings = context.settings
    first = next(context.marketing(), None)
    if first is None or not context.project.settings_sound:
        return
    caps = settings.pressure
    if caps is not None and any(caps.of(channel) for channel in (*CHANNELS, ALL)):
        return
    yield Problem(
        code=CODE,
        slug=SLUG,
        severity=SEVERITY,
        message="the project sends marketing and has no frequency cap",
        place=settings.place_of_key("pressure") if caps is not None else settings.place_of("project"),
        related=(Related(place=first.place_of("message"), label="marketing"),),
        help="add `pressure: {email: [1 per 16h, 3 per 7d, 8 per 30d], all: [2 per 24h, 5 per 7d]}`",
    )
