"""CNT004 missing-language: a text that lacks a language of the project.

## What it does

Reports a text written by language (`{fr: …, en: …}`) in which a language of the project is missing.

## Why is this bad

Contacts of that language get the first language of the project, which they may not read.

## Example

```yaml
languages: [fr, nl]
message: offer
email: {subject: {fr: Une offre}, text: {fr: Bonjour, nl: Hallo}}
```

## Use instead

```yaml
message: offer
email: {subject: {fr: Une offre, nl: Een aanbod}, text: {fr: Bonjour, nl: Hallo}}
```

## Options

None.

## Source

"The first is every message's fallback", in the meaning of the language.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowctl.language.faults import listed
from flowctl.language.message import texts
from flowctl.language.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.language.problem import Severity
    from flowctl.lint.context import Context

CODE = "CNT004"
SLUG = "missing-language"
SEVERITY: Severity = "warning"


def check(context: Context) -> Iterator[Problem]:
    """Every text with a gap."""
    if not context.project.settings_sound:
        return
    languages = context.settings.languages
    for message in context.project.messages.values():
        for name, written in texts(message):
            missing = [language for language in languages if language not in written]
            if "*" in written or not missing:
                continue
            channel, _, key = name.partition(".")
            part = getattr(message, channel)
            yield Problem(
                code=CODE,
                slug=SLUG,
                severity=SEVERITY,
                message=f"the {key} of `{message.name}` is not written in {listed(missing)}; those contacts get {languages[0]}",
                place=part.place_of(key),
                help="write it, or take the language out of `languages:` in flowctl.yaml",
                step=message.name,
            )
