"""Which adapters there are, and what each may be told: a channel's settings in, a `Channel` out."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowctl.failure import Failure
from flowctl.language.adapters import ADAPTERS as KNOWN
from flowctl.language.adapters import DESCRIPTIVE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from flowctl.channels.channel import Channel

Settings = dict[str, Any]
_RATE = re.compile(r"\s*(\d+(?:[.,]\d+)?)\s*(?:/|per)\s*(s|sec|second|m|min|minute|h|hour)\s*")
_RATE_UNIT_S = {"s": 1, "m": 60, "h": 3600}
CONNECTIONS_MAX = 64
PORT_MAX = 65_535
_DESCRIPTIVE = DESCRIPTIVE | {"provider"}


def make_channel(channel: str, settings: Mapping[str, Any]) -> Channel:
    """The channel `channel` as its settings say; secrets are already in them, and never come out in an error.

    A setting of None, an empty mapping, and `private: false`, is one that was not made.

    Raises:
        Failure: the adapter or a setting is unknown, or a value makes no sense.
    """
    said = {
        name: value
        for name, value in settings.items()
        if value is not None and value != {} and (name, value) != ("private", False) and name not in _DESCRIPTIVE
    }
    adapter = said.pop("adapter", None)
    if adapter not in ADAPTERS:
        message = f"channel {channel}: {f'unknown adapter {adapter!r}' if adapter else 'no adapter'}"
        raise Failure(message, help=_nearest(str(adapter), ADAPTERS, "adapters are"))
    make, known = ADAPTERS[adapter]
    for name in said:
        if name not in known:
            message = f"channel {channel}: adapter {adapter} has no setting {name!r}"
            raise Failure(message, help=_nearest(name, known, "its settings are"))
    try:
        return make({name: _READ[name](value) for name, value in said.items()})
    except ValueError as error:
        message = f"channel {channel}: {error}"
        raise Failure(message) from None


def _smtp(settings: Settings) -> Channel:
    from flowctl.channels.smtp import SmtpChannel, SmtpSettings  # noqa: PLC0415 - smtplib and ssl cost 15 ms

    ports = {"none": 25, "starttls": 587, "tls": 465}
    settings.setdefault("port", ports[settings.get("security", "none")])
    in_seconds = {"rate": "rate_per_s", "timeout": "timeout_s", "reply_timeout": "reply_timeout_s"}
    return SmtpChannel(SmtpSettings(**{in_seconds.get(name, name): value for name, value in settings.items()}))


def _maildir(settings: Settings) -> Channel:
    from flowctl.channels.maildir import MaildirChannel  # noqa: PLC0415 - only what is used

    if "path" not in settings:
        message = "adapter maildir needs a `path`"
        raise ValueError(message)
    return MaildirChannel(settings["path"], connections=settings.get("connections", 1))


def _twilio(settings: Settings) -> Channel:
    from flowctl.channels import twilio  # noqa: PLC0415 - http.client and ssl cost 20 ms

    for needed in ("account", "token"):
        if not settings.get(needed):
            message = f"adapter twilio needs `{needed}`"
            raise ValueError(message)
    own = {name: settings.pop(name, None) for name in ("account", "token", "username", "callback")}
    return twilio.channel(
        account=own["account"], token=own["token"], user=own["username"], callback=own["callback"], **_of_http(settings)
    )


def _http(settings: Settings) -> Channel:
    from flowctl.channels.http import HttpChannel, HttpSettings  # noqa: PLC0415 - the same

    description = settings.pop("description", None)
    if not description:
        message = "adapter http needs a `provider`"
        raise ValueError(message)
    values = settings.pop("values", {})
    missing = [name for name in description.get("values", []) if not values.get(name)]
    if missing:
        message = f"provider {description.get('provider')} needs `values: {{{missing[0]}: …}}`"
        raise ValueError(message)
    return HttpChannel(HttpSettings(description=description, values=values, **_of_http(settings)))


def _of_http(settings: Settings) -> Settings:
    names = {"rate": "rate_per_s", "timeout": "timeout_s", "reply_timeout": "reply_timeout_s", "from": "sender"}
    return {names.get(name, name): value for name, value in settings.items()}


def _inbox(settings: Settings) -> Channel:
    from flowctl.channels.inbox import InboxChannel  # noqa: PLC0415 - only what is used

    if "store" not in settings:
        message = "adapter inbox needs the store that it delivers to"
        raise ValueError(message)
    return InboxChannel(settings["store"])


def _text(value: object) -> str:
    return str(value)


def _url(value: object) -> str:
    from flowctl.channels.wire import NoAddress, split  # noqa: PLC0415 - ssl, only for HTTP

    try:
        split(str(value))
    except NoAddress as fault:
        message = f"url: {fault}"
        raise ValueError(message) from None
    return str(value)


def _texts(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        message = f"values: {value!r} is no block of names"
        raise ValueError(message)  # noqa: TRY004 - what a channel's settings fail with
    return {str(name): str(each) for name, each in value.items() if each is not None}


def _as_it_is(value: object) -> Any:
    return value


def _security(value: object) -> str:
    if value not in ("none", "starttls", "tls"):
        message = f"security: {value!r} is none of none, starttls, tls"
        raise ValueError(message)
    return str(value)


def _number_between(name: str, highest: int) -> Callable[[object], int]:
    def read(value: object) -> int:
        text = str(value).strip()
        if not (text.isascii() and text.isdigit() and 1 <= int(text) <= highest):
            message = f"{name}: {value!r} is no number from 1 to {highest}"
            raise ValueError(message)
        return int(text)

    return read


def _rate(value: object) -> float:
    """Letters a second, from `50/s`, `600/min`, `2 per s`."""
    found = _RATE.fullmatch(str(value))
    if not found or not (number := float(found[1].replace(",", "."))):
        message = f"rate: {value!r} is no rate; write it like 50/s or 600/min"
        raise ValueError(message)
    return number / _RATE_UNIT_S[found[2][0]]


def _seconds(value: object) -> float:
    """Seconds, from a number of them, a duration, or its text."""
    if isinstance(value, str):
        from flowctl.language.durations import parse  # noqa: PLC0415 - brings pydantic, which a tick does not need

        value = parse(value)
    elapsed_ms = getattr(value, "elapsed_ms", None)
    seconds = value if isinstance(value, int | float) else (elapsed_ms or 0) / 1000
    if seconds <= 0:
        message = f"timeout: {value!r} is no time to wait"
        raise ValueError(message)
    return seconds


_READ: dict[str, Callable[[object], Any]] = {
    "host": _text,
    "port": _number_between("port", PORT_MAX),
    "security": _security,
    "username": _text,
    "password": _text,
    "ca": _text,
    "connections": _number_between("connections", CONNECTIONS_MAX),
    "rate": _rate,
    "timeout": _seconds,
    "reply_timeout": _seconds,
    "path": lambda value: Path(_text(value)),
    "url": _url,
    "account": _text,
    "token": _text,
    "callback": _text,
    "from": _text,
    "private": bool,
    "pipelining": bool,
    "values": _texts,
    "description": _as_it_is,
    "store": _as_it_is,
}
# What is handed over besides the settings of flowctl.yaml: a release's description of the provider, the store.
_INSIDE = {"http": {"description"}, "inbox": {"store"}}
_MAKERS = {"http": _http, "inbox": _inbox, "maildir": _maildir, "smtp": _smtp, "twilio": _twilio}
# What makes each adapter, and the settings it takes.
ADAPTERS: dict[str, tuple[Callable[[Settings], Channel], frozenset[str]]] = {
    name: (make, KNOWN[name].may | _INSIDE.get(name, set())) for name, make in _MAKERS.items()
}


def _nearest(name: str, known: Iterable[str], introduction: str) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return (f"did you mean {near[0]!r}? " if near else "") + f"{introduction} {', '.join(sorted(known))}"
