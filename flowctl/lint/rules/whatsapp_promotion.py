"""CNS007 whatsapp-promotion: marketing by WhatsApp.

## What it does

Reports a marketing message with a `whatsapp` variant.

## Why is this bad

People keep WhatsApp for friends and for what they wait for, such as a parcel. Blocks and reports lower the number's quality rating until
nothing goes out, the parcels' news neither.

## Example

```yaml
message: spring-offer
topic: offers
whatsapp: {template: spring}
```

## Use instead

```yaml
message: parcel
purpose: transactional
whatsapp: {template: parcel_arrived}
```

## Options

None.

## Source

Meta's quality rating and messaging limits of business phone numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowctl.language.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.language.problem import Severity
    from flowctl.lint.context import Context

CODE = "CNS007"
SLUG = "whatsapp-promotion"
SEVERITY: Severity = "warning"


def check(context: Context) -> Iterator[Problem]:
    """Every one."""
    for message in context.marketing():
        if message.whatsapp is not None:
            yield Problem(
                code=CODE,
                slug=SLUG,
                severity=SEVERITY,
                message=f"`{message.name}` is marketing, and goes out by WhatsApp",
                place=message.place_of_key("whatsapp"),
                help="write it for e-mail or push, or declare it transactional if people wait for it",
                step=message.name,
            )
