"""CNS001 no-consent-basis: marketing that does not say what people agreed to.

## What it does

Reports a message that says neither its `purpose` nor a `topic`. It is taken for marketing, leaves only to who consented to marketing on its
channel, and nobody can opt out of its kind alone.

## Why is this bad

Consent is given for something. Without a purpose in the file nobody who reviews it decided that this may go out, and to imported
lists, whose consent is a column of `true`, it goes out all the same.

## Example

```yaml
message: spring-offer
email: {subject: Spring, text: Hello}
```

## Use instead

```yaml
message: spring-offer
purpose: marketing
topic: offers
email: {subject: Spring, text: Hello}
```

## Options

None.

## Source

Article 7 of the GDPR: consent is shown to be given, for a purpose; article 13 of the ePrivacy directive.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowctl.language.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.language.problem import Severity
    from flowctl.lint.context import Context

CODE = "CNS001"
SLUG = "no-consent-basis"
SEVERITY: Severity = "error"


def check(context: Context) -> Iterator[Problem]:
    """Every message without either."""
    for message in context.project.messages.values():
        if message.topic is None and "purpose" not in message.model_fields_set:
            yield Problem(
                code=CODE,
                slug=SLUG,
                severity=SEVERITY,
                message=f"`{message.name}` says neither its purpose nor a topic",
                place=message.place,
                help="add `topic: offers`, what a contact can opt out of, or `purpose: marketing`, or `purpose: transactional` if it is",
                step=message.name,
            )
