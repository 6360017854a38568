"""CNS003 sms-without-stop: a marketing SMS that does not say how to stop it.

## What it does

Reports a text of a marketing SMS without the word STOP and without `unsubscribe_url`, in each language.

## Why is this bad

The law wants a way out in every message, and operators cut senders off who give none. Replies with STOP withdraw the consent once they are
imported as `sms_received`.

## Example

```yaml
message: sale
topic: offers
sms: {text: "Maison Lune: 20 % on cookbooks today"}
```

## Use instead

```yaml
message: sale
topic: offers
sms: {text: "Maison Lune: 20 % on cookbooks today. STOP to 36111"}
```

## Options

None.

## Source

Article L34-5 of the French postal and electronic communications code; CTIA Messaging Principles.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from flowctl.language.offsets import span
from flowctl.language.problem import Edit, Fix, Problem
from flowctl.language.source import Mapping, Scalar

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.language.problem import Severity
    from flowctl.lint.context import Context

CODE = "CNS003"
SLUG = "sms-without-stop"
SEVERITY: Severity = "error"
_WAY_OUT = re.compile(r"\bSTOP\b|unsubscribe_url", re.IGNORECASE)


def check(context: Context) -> Iterator[Problem]:
    """Every text without."""
    for message in context.marketing():
        entry = message.sms.entry("text") if message.sms is not None else None
        if entry is None:
            continue
        texts = (
            [part.value for part in entry.value.entries.values()] if isinstance(entry.value, Mapping) else [entry.value]
        )
        for text in texts:
            if isinstance(text, Scalar) and isinstance(text.value, str) and not _WAY_OUT.search(text.value):
                yield Problem(
                    code=CODE,
                    slug=SLUG,
                    severity=SEVERITY,
                    message=f"this SMS of `{message.name}` does not say how to stop it",
                    place=text.place,
                    help="end it with STOP and the number that takes it, such as `STOP au 36111`",
                    fix=_fix(text, context),
                    step=message.name,
                )


def _fix(text: Scalar, context: Context) -> Fix | None:
    """STOP alone, as a reply: not safe, since the number that takes it is the provider's to say."""
    source = context.project.sources.get(text.place.path)
    if source is None or text.place.line != text.place.end_line:
        return None
    begin, end = span(source, text.place)
    at = text.place.end_column - (source[begin] in "\"'" and end > begin + 1)
    place = replace(text.place, column=at, end_column=at)
    said = " STOP" if str(text.value).rstrip().endswith((".", "!", "?")) else ". STOP"
    return Fix(title="add STOP", edits=(Edit(place=place, text=said),), safe=False)
