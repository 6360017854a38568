"""Which adapters a channel can have, what each may and must be told, and which channels it serves."""

from __future__ import annotations

from dataclasses import dataclass

_LINE = frozenset({"connections", "rate", "timeout", "reply_timeout", "ca"})
_HTTP = _LINE | {"url", "from", "private"}
# Settings that describe a channel to lint, reports and people, and that no adapter reads.
DESCRIPTIVE = frozenset({"dkim", "spf", "cost"})
_SHORT = frozenset({"sms", "whatsapp", "push", "web_push", "in_app", "on_site"})
_EVERY = _SHORT | {"email"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Adapter:
    """Settings by their keys in flowctl.yaml."""

    channels: frozenset[str]
    may: frozenset[str] = frozenset()
    must: tuple[str, ...] = ()


ADAPTERS: dict[str, Adapter] = {
    "http": Adapter(channels=_SHORT, may=_HTTP | {"provider", "values"}, must=("provider",)),
    "inbox": Adapter(channels=_SHORT),
    "maildir": Adapter(channels=_EVERY, may=frozenset({"path", "connections"}), must=("path",)),
    "smtp": Adapter(
        channels=frozenset({"email"}), may=_LINE | {"host", "port", "security", "username", "password", "pipelining"}
    ),
    "twilio": Adapter(
        channels=frozenset({"sms", "whatsapp"}),
        may=_HTTP | {"account", "token", "username", "callback"},
        must=("account", "token"),
    ),
}
