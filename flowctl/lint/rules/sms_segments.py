"""CNT002 sms-segments: an SMS that goes out, and is paid, as several.

## What it does

Reports a text of an SMS that takes more than one segment, counted without its variables: so at least that many. Names the characters that force the
short alphabet away, where there are any: one curly quote or emoji leaves 70 characters instead of 160.

## Why is this bad

Every segment is paid, and phones may show them in the wrong order.

## Example

```yaml
sms: {text: "C’est le moment : vos livres préférés vous attendent, avec vingt pour cent de remise jusqu’à dimanche"}
```

## Use instead

```yaml
sms: {text: "C'est le moment : vos livres préférés vous attendent, avec vingt pour cent de remise jusqu'à dimanche"}
```

## Options

`lint: {max: {segments: 1}}`, in flowctl.yaml.

## Source

3GPP TS 23.038 (the alphabets) and 23.040 (concatenation).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from flowctl.language.problem import Problem
from flowctl.language.sms import UCS2, segments
from flowctl.language.source import Mapping, Scalar

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.language.problem import Severity
    from flowctl.lint.context import Context

CODE = "CNT002"
SLUG = "sms-segments"
SEVERITY: Severity = "warning"
SHOWN_MAX = 5
_VARIABLE = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", re.DOTALL)


def check(context: Context) -> Iterator[Problem]:
    """Every such text."""
    most = context.maxima["segments"]
    for message in context.project.messages.values():
        for variant in (message, *message.variants.values()):
            entry = variant.sms.entry("text") if variant.sms is not None else None
            if entry is None:
                continue
            texts = (
                [part.value for part in entry.value.entries.values()]
                if isinstance(entry.value, Mapping)
                else [entry.value]
            )
            for text in texts:
                if not isinstance(text, Scalar) or not isinstance(text.value, str):
                    continue
                counted = segments(_VARIABLE.sub("", text.value))
                if counted.parts <= most:
                    continue
                why = ""
                if counted.encoding == UCS2:
                    shown = " ".join(f"`{character}`" for character in counted.culprits[:SHOWN_MAX])
                    why = f": {shown} {'is' if len(counted.culprits) == 1 else 'are'} not of the alphabet of SMS"
                at_least = "at least " if _VARIABLE.search(text.value) else ""
                yield Problem(
                    code=CODE,
                    slug=SLUG,
                    severity=SEVERITY,
                    message=f"this SMS of `{message.name}` takes {at_least}{counted.parts} segments, of which each is paid{why}",
                    place=text.place,
                    help=f"replace {'it' if len(counted.culprits) == 1 else 'them'} by plain characters, or shorten the text"
                    if why
                    else "shorten it",
                    step=message.name,
                )
