"""CNS006 whatsapp-without-template: a WhatsApp message without an approved template.

## What it does

Reports a `whatsapp` message that names no `template`.

## Why is this bad

WhatsApp lets a business begin a conversation with an approved template only; anything else is refused by the provider.

## Example

```yaml
message: parcel
purpose: transactional
whatsapp: {text: Your parcel is here}
```

## Use instead

```yaml
message: parcel
purpose: transactional
whatsapp: {template: parcel_arrived, parameters: ["{{ trigger.parcel }}"]}
```

## Options

None.

## Source

Meta's WhatsApp Business Platform: free text is allowed within 24 hours of a message of the person only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowctl.language.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.language.problem import Severity
    from flowctl.lint.context import Context

CODE = "CNS006"
SLUG = "whatsapp-without-template"
SEVERITY: Severity = "error"


def check(context: Context) -> Iterator[Problem]:
    """Every one without."""
    for message in context.project.messages.values():
        if message.whatsapp is not None and not message.whatsapp.template:
            yield Problem(
                code=CODE,
                slug=SLUG,
                severity=SEVERITY,
                message=f"`{message.name}` names no template, and WhatsApp takes no other text from a business",
                place=message.place_of_key("whatsapp"),
                help="add `template:` with the name under which it was approved, and its `parameters:`",
                step=message.name,
            )
