"""CNT006 unauthenticated-sender: e-mail from a domain that does not prove to be its own.

## What it does

Reports the e-mail channel where a sender's domain has neither a `dkim` of its own nor one of the channel's for that domain, and where the channel does not say
`spf: true`. Projects without an e-mail channel, and those that write to a maildir, are left alone.

## Why is this bad

Large mailbox providers refuse bulk mail whose domain signs nothing or does not name its servers, or put it among the spam.

## Example

```yaml
senders: {shop: {name: Maison Lune, email: bonjour@maison-lune.example}}
channels: {email: {adapter: smtp, host: smtp.example.com}}
```

## Use instead

```yaml
channels:
  email: {adapter: smtp, host: smtp.example.com, spf: true, dkim: {domain: maison-lune.example}}
```

## Options

None.

## Source

Google's and Yahoo's rules for bulk senders, in force since February 2024: SPF and DKIM for the domain in From.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowctl.language.problem import Problem, Related

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.language.problem import Severity
    from flowctl.lint.context import Context

CODE = "CNT006"
SLUG = "unauthenticated-sender"
SEVERITY: Severity = "warning"


def check(context: Context) -> Iterator[Problem]:
    """Every domain that lacks either."""
    settings = context.settings
    channel = settings.channels.get("email")
    if channel is None or channel.adapter in ("maildir", "inbox") or not context.project.settings_sound:
        return
    told: set[str] = set()
    for sender in settings.senders.values():
        domain = (sender.email or "").rpartition("@")[2].lower()
        if not domain or domain in told or "{" in domain:
            continue
        told.add(domain)
        signing = [said.domain.lower() for said in (sender.dkim, channel.dkim) if said is not None]
        missing = [] if any(domain == name or domain.endswith(f".{name}") for name in signing) else ["DKIM"]
        missing += [] if channel.spf else ["SPF"]
        if missing:
            yield Problem(
                code=CODE,
                slug=SLUG,
                severity=SEVERITY,
                message=f"nothing says that mail from {domain} is proved to be its own: no {' and no '.join(missing)}",
                place=sender.place_of("email"),
                related=(Related(place=settings.channels["email"].place, label="leaves here"),),
                help=f"set both up in the DNS, then say so: `spf: true, dkim: {{domain: {domain}}}` (with `selector` and `key` where flowctl is to sign)",
            )
