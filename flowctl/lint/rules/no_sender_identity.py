"""CNS005 no-sender-identity: e-mail that does not say who writes.

## What it does

Reports marketing e-mail without `from` in a project that has no sender or several, and a `from` whose sender has no `email`.

## Why is this bad

People read mail from whom they know, and the law wants the sender to be named. `flowctl tick` does not send it.

## Example

```yaml
senders:
  shop: {name: Maison Lune, email: bonjour@maison-lune.example}
  press: {name: Maison Lune, email: presse@maison-lune.example}
message: spring-offer
email: {subject: Spring, text: Hello}
```

## Use instead

```yaml
message: spring-offer
email: {from: shop, subject: Spring, text: Hello}
```

## Options

None.

## Source

Article 13(4) of the ePrivacy directive; CAN-SPAM; article 5 of the e-commerce directive.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowctl.language.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.language.problem import Severity
    from flowctl.lint.context import Context

CODE = "CNS005"
SLUG = "no-sender-identity"
SEVERITY: Severity = "error"


def check(context: Context) -> Iterator[Problem]:
    """Every such e-mail."""
    senders = context.settings.senders
    if not context.project.settings_sound:
        return
    for message in context.marketing():
        mail = message.email
        if mail is None:
            continue
        name = mail.from_ or (next(iter(senders)) if len(senders) == 1 else None)
        if name is None:
            found = f"it names no sender, and the project has {len(senders) or 'none'}"
        elif name in senders and not senders[name].email:
            found = f"its sender `{name}` has no e-mail address"
        else:
            continue
        yield Problem(
            code=CODE,
            slug=SLUG,
            severity=SEVERITY,
            message=f"nobody knows who writes `{message.name}`: {found}",
            place=message.place_of_key("email"),
            help="add `from:` with a sender of flowctl.yaml, which has a name and an e-mail address",
            step=message.name,
        )
