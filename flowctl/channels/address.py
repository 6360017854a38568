"""E-mail addresses as they may stand in an envelope or a header: nothing in them can end a command or a line."""

from __future__ import annotations

import re

ADDRESS_CHARS_MAX = 254  # RFC 5321 §4.5.3.1.3, without the angle brackets
LOCAL_OCTETS_MAX = 64
# Quoted local parts are left out on purpose: nobody has one, and quoting is where commands get smuggled.
_LOCAL = re.compile(r"""[^\s\x00-\x20\x7f-\x9f<>()\[\]\\,;:@"]+""")
_LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")


class NotAnAddress(ValueError):
    """The text cannot be written to."""


def wire_address(text: str) -> str:
    """The address as it goes over the wire: the domain in ASCII, the local part as it is.

    Raises:
        NotAnAddress: it is none, or holds what could end a command or header.
    """
    local, at, domain = text.rpartition("@")
    if not at or not _LOCAL.fullmatch(local) or len(local.encode("utf-8", "replace")) > LOCAL_OCTETS_MAX:
        message = f"{text!r} is no e-mail address"
        raise NotAnAddress(message)
    try:
        text.encode()
        domain = domain if domain.isascii() else _ascii_domain(domain)
    except UnicodeError:
        domain = ""
    if not _DOMAIN.fullmatch(domain) or len(local) + 1 + len(domain) > ADDRESS_CHARS_MAX:
        message = f"{text!r} is no e-mail address"
        raise NotAnAddress(message)
    return f"{local}@{domain}"


def domain_of(address: str) -> str:
    """The domain of an address in ASCII and lower case.

    Raises:
        NotAnAddress: it is none.
    """
    return wire_address(address).rpartition("@")[2].lower()


def _ascii_domain(domain: str) -> str:
    import idna  # noqa: PLC0415 - 10 ms that most ticks never need

    return idna.encode(domain, uts46=True).decode()
