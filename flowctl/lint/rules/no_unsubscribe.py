"""CNS004 no-unsubscribe: marketing e-mail that nobody could unsubscribe from.

## What it does

Reports a project that has marketing e-mail and no `public_url`. With a `public_url` every marketing e-mail carries one-click
unsubscribe headers (List-Unsubscribe and List-Unsubscribe-Post) by itself, and templates have `unsubscribe_url`; without one
there is no address to put into them, and `flowctl tick` refuses to send. It is one finding for the project, with the messages
it concerns.

## Why is this bad

The law asks for a way out in every marketing e-mail (ePrivacy directive, article 13; CAN-SPAM), and the large mailbox providers
refuse bulk mail without the headers.

## Example

```yaml
project: maison-lune
```

## Use instead

```yaml
project: maison-lune
public_url: https://news.maison-lune.example
```

## Options

None.

## Source

RFC 8058 (one-click unsubscribe); Google's and Yahoo's rules for bulk senders, in force since February 2024.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowctl.language.problem import Problem, Related

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.language.problem import Severity
    from flowctl.lint.context import Context

CODE = "CNS004"
SLUG = "no-unsubscribe"
SEVERITY: Severity = "error"
SHOWN_MAX = 3


def check(context: Context) -> Iterator[Problem]:
    """At most one, in flowctl.yaml."""
    settings = context.settings
    mails = [message for message in context.marketing() if message.email is not None]
    if settings.public_url or not mails or not context.project.settings_sound:
        return
    count = f"{len(mails)} marketing e-mails" if len(mails) > 1 else f"the marketing e-mail `{mails[0].name}`"
    yield Problem(
        code=CODE,
        slug=SLUG,
        severity=SEVERITY,
        message=f"nobody could unsubscribe from {count}: the project has no `public_url`",
        place=settings.place_of("project"),
        related=tuple(
            Related(place=mail.place_of_key("email"), label="refused when it is to leave") for mail in mails[:SHOWN_MAX]
        ),
        help="add `public_url: https://news.example.com`, where `flowctl serve` will be reached; the headers then come by themselves",
    )
