"""Any provider with an HTTP interface, as a description says: what to send, and what its answers mean.

A description is the plain form of `language.provider.Provider`. A value of a message or a setting is data wherever it
goes: percent-encoded in an address, one JSON string in JSON, one field in a form, refused in a header that it would break.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import re
import ssl
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from functools import cached_property
from time import monotonic
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, quote, urlencode, urlsplit

from flowctl import __version__, clock
from flowctl.channels.channel import FENCED, Letter, Receipt, one_line
from flowctl.channels.pace import Pace
from flowctl.channels.wire import Answer, NoAddress, Wire, dial, is_public, origin, request_bytes, split
from flowctl.language.sms import segments, sender_fault

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from flowctl.channels.channel import Commit, Outcome, Phase, Scope

Description = dict[str, Any]
ANSWER_BYTES_MAX = 64 * 1024
IDLE_S = 4.0  # servers hang up on lines that idle, Node's after 5 s: an older line is not trusted with a message
SECRET_CHARS_MIN = 4  # shorter settings are no secrets, and masking them would make answers unreadable
RETRY_AFTER_S_MAX = 86_400.0
_PHONE_CHANNELS = frozenset({"sms", "whatsapp"})
_E164 = re.compile(r"\+[1-9]\d{6,14}")
_PARTS = re.compile(r"\{\{|\}\}|\{([a-z][a-z0-9_.]*)\}")
_ABSENT = object()
# What a meaning makes of an attempt. Past the point of no return all the same, but what concerns the account or the pace is
# said in phases that the pool takes at their word: the second letter would only meet the same answer.
_RECEIPTS: dict[str, tuple[Outcome, Scope, Phase]] = {
    "sent": ("sent", "message", "body"),
    "refused": ("failed", "message", "body"),
    "dead": ("failed", "address", "body"),
    "account": ("retry", "sender", "login"),
    "down": ("retry", "provider", "mail"),
    "limited": ("retry", "provider", "mail"),
    "later": ("retry", "message", "body"),
    "doubtful": ("in_doubt", "message", "body"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class HttpSettings:
    """A provider and how to reach it. `url` puts another scheme, host and port in the place of the description's."""

    description: Description = field(repr=False)
    values: Mapping[str, str] = field(default_factory=dict, repr=False)
    sender: str | None = None  # instead of the message's
    url: str | None = None
    connections: int = 1
    rate_per_s: float | None = None
    timeout_s: float = 10.0  # to connect
    reply_timeout_s: float = 30.0  # for the request and the whole answer: giving up makes a doubt
    ca: str | None = None
    private: bool = False  # addresses inside the own network are fine
    # More names for between braces, made of those there are: what a description alone cannot say.
    derived: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = field(default=None, repr=False)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no reply may show, in the forms in which it is sent."""
        said = [value for value in self.values.values() if len(value) >= SECRET_CHARS_MIN]
        said += [quote(value, safe="") for value in said]
        basic = self.description["request"].get("basic")
        said += [_basic(basic, self.values)] if basic else []
        return tuple(sorted(set(said), key=len, reverse=True))


class HttpChannel:
    """One HTTP provider; its connections share one pace and one TLS context."""

    def __init__(self, settings: HttpSettings, *, pace: Pace | None = None) -> None:
        self._settings = settings
        self._pace = pace or Pace(settings.rate_per_s)
        self._requests = _Requests(settings)

    def __repr__(self) -> str:
        return f"HttpChannel({self._settings.description.get('provider')!r}, {self._settings!r})"

    @property
    def connections(self) -> int:
        """How many connections may be open at once."""
        return self._settings.connections

    def open(self) -> HttpConnection:
        """A connection that is yet to connect."""
        return HttpConnection(self._settings, self._pace, self._requests, self._context)

    def _context(self) -> ssl.SSLContext:
        return self._tls

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self._settings.ca)


class HttpConnection:
    """One line to the provider, kept open between messages while both sides like."""

    def __init__(
        self, settings: HttpSettings, pace: Pace, requests: _Requests, context: Callable[[], ssl.SSLContext]
    ) -> None:
        self._settings = settings
        self._pace = pace
        self._requests = requests
        self._context = context
        self._wire: Wire | None = None
        self._to: tuple[str, str, int] | None = None
        self._used_at_s = 0.0

    def __repr__(self) -> str:
        return f"HttpConnection({self._settings!r})"

    def transmit(self, letter: Letter, commit: Commit) -> Receipt:
        """Send one message; see `channel.Connection`."""
        try:
            request = self._requests.of(letter)
        except _CannotSay as fault:
            return Receipt(outcome="failed", reply=self._clean(str(fault)), phase="open")
        except _WrongSender as fault:
            return Receipt(outcome="retry", reply=self._clean(str(fault)), phase="open", scope="sender")
        except NoAddress as fault:
            return Receipt(outcome="retry", reply=self._clean(str(fault)), phase="open", scope="provider")
        unreached = self._connect(request.parts)
        if unreached:
            return unreached
        self._pace.wait()
        if not commit():
            return FENCED
        # While leave was asked for the server may have hung up: nothing has left yet, so a new line is as good.
        if self._wire is None or not self._wire.is_idle():
            self.close()
            unreached = self._connect(request.parts)
            if unreached:
                return Receipt(outcome="retry", reply=unreached.reply, phase="data", scope="provider")
        return self._exchange(request)

    def close(self) -> None:
        """Hang up."""
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.close()

    def reach(self) -> str:
        """Connect, ask nothing; empty, or what stands in the way."""
        try:
            unreached = self._connect(self._requests.address())
        except NoAddress as fault:
            return self._clean(str(fault))
        return unreached.reply if unreached else ""

    def _connect(self, parts: SplitResult) -> Receipt | None:
        """The safe phase: a line to the right host, new or still good; or why there is none."""
        to = origin(parts)
        if self._wire is not None:
            fresh = monotonic() - self._used_at_s < IDLE_S
            if fresh and self._to == to and self._wire.is_idle():
                return None
            self.close()
        private = self._settings.private
        try:
            end = monotonic() + self._settings.timeout_s
            self._wire = dial(parts, end, allowed=lambda address: private or is_public(address), context=self._context)
        except NoAddress as fault:
            hint = "; `private: true` allows it" if str(fault).endswith("private address") else ""
            return Receipt(outcome="retry", reply=self._clean(f"{fault}{hint}"), phase="connect", scope="provider")
        except ssl.SSLCertVerificationError as error:
            said = f"certificate not trusted: {error.verify_message}"
            return Receipt(outcome="retry", reply=self._clean(said), phase="tls", scope="provider")
        except OSError as error:
            said = f"no connection to {to[1]}: {error.strerror or str(error) or 'timed out'}"
            return Receipt(outcome="retry", reply=self._clean(said), phase="connect", scope="provider")
        self._to, self._used_at_s = to, monotonic()
        return None

    def _exchange(self, request: _Request) -> Receipt:
        """Past the point of no return: whatever is no complete answer is a doubt, unless the provider knows the message again."""
        wire = self._wire
        if wire is None:
            return Receipt(outcome="retry", reply="not connected", phase="data")
        end = monotonic() + self._settings.reply_timeout_s
        try:
            wire.send(request.data, end)
            answer = wire.receive(request.method, end, ANSWER_BYTES_MAX)
        except TimeoutError:
            self.close()
            return self._doubt("no answer in time")
        except OSError as error:
            self.close()
            return self._doubt(f"connection lost: {error.strerror or error}")
        except http.client.HTTPException as error:
            self.close()
            return self._doubt(f"no answer that HTTP knows: {type(error).__name__}")
        self._used_at_s = monotonic()
        if not wire.reusable:
            self.close()
        return self._judged(answer)

    def _judged(self, answer: Answer) -> Receipt:
        said = _Said(answer, self._settings.description)
        meaning = said.meaning()
        reply = self._clean(said.words(meaning))
        if meaning == "doubtful":
            return self._doubt(reply)
        outcome, scope, phase = _RECEIPTS[meaning]
        wait_s = said.retry_after_s() if outcome == "retry" else None
        return Receipt(outcome=outcome, reply=reply, phase=phase, scope=scope, retry_after_s=wait_s)

    def _doubt(self, reply: str) -> Receipt:
        if self._settings.description.get("idempotency_header"):
            return Receipt(outcome="retry", reply=self._clean(reply), phase="body", may_have_left=True)
        return Receipt(outcome="in_doubt", reply=self._clean(reply), phase="body")

    def _clean(self, text: str) -> str:
        return one_line(text, *self._requests.secrets)


class _CannotSay(ValueError):
    """A message that no request can be made of."""


class _WrongSender(ValueError):
    """Nobody can send under this name: no fault of a message, so that none is lost for it."""


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    parts: SplitResult
    data: bytes = field(repr=False)


class _Requests:
    """Makes the request of a letter."""

    def __init__(self, settings: HttpSettings) -> None:
        self._settings = settings
        self._said = settings.description["request"]
        self.secrets = settings.secrets
        self._lookups: dict[str, Any] = settings.description.get("lookups") or {}

    def of(self, letter: Letter) -> _Request:
        """The whole request, to the byte.

        Raises:
            _CannotSay: the message is not of a kind that the provider takes, or cannot be written.
            _WrongSender: no SMS can come from its sender.
            NoAddress: the provider's address is none.
        """
        names = self._names(letter)
        said = self._said
        url = self._url(names)
        parts = split(url)
        headers = {"User-Agent": f"flowctl/{__version__}", "Accept": "application/json", "Accept-Encoding": "identity"}
        for name, template in (said.get("headers") or {}).items():
            headers[name] = _header(_joined(template, names, str))
        body, kind = self._body(names)
        if kind:
            headers["Content-Type"] = kind
        if said.get("basic"):
            headers["Authorization"] = f"Basic {_basic(said['basic'], names)}"
        if self._settings.description.get("idempotency_header"):
            headers[self._settings.description["idempotency_header"]] = letter.key
        if said.get("sign") == "ovh":
            headers |= _signed_ovh(self._settings.values, said["method"], url, body)
        try:
            return _Request(said["method"], parts, request_bytes(said["method"], parts, headers, body))
        except NoAddress as fault:
            raise _CannotSay(str(fault)) from None

    def address(self) -> SplitResult:
        """Where requests go, whatever a message says: no value stands in a host."""
        return split(self._url({}))

    def _names(self, letter: Letter) -> dict[str, Any]:
        """What may stand between braces."""
        payload = letter.payload
        if not isinstance(payload, dict):
            message = f"{self._settings.description.get('provider')} takes no e-mail"
            raise _CannotSay(message)
        if letter.channel in _PHONE_CHANNELS and not _E164.fullmatch(letter.recipient):
            message = f"{letter.recipient!r} is no phone number in E.164, such as +33612345678"
            raise _CannotSay(message)
        sender = self._settings.sender or letter.sender
        if letter.channel == "sms" and sender and (fault := sender_fault(sender)):
            message = f"{sender!r} cannot send an SMS: {fault}"
            raise _WrongSender(message)
        text = str(payload.get("text") or "")
        parameters = payload.get("parameters")
        names: dict[str, Any] = {
            **payload,
            "recipient": letter.recipient,
            "recipient.digits": letter.recipient.removeprefix("+"),
            "sender": sender or None,
            "key": letter.key,
            "channel": letter.channel,
            "purpose": "marketing" if letter.marketing else "transactional",
            "encoding": segments(text).encoding,
        }
        if parameters:
            numbered = {str(number): value for number, value in enumerate(parameters, 1)}
            names["parameters.json"] = json.dumps(numbered, ensure_ascii=False)
        names |= self._settings.values
        for name, said in self._lookups.items():
            value = names.get(said["of"])
            names[name] = said["to"].get("" if value is None else str(value), said.get("otherwise"))
        return names | dict(self._settings.derived(names)) if self._settings.derived else names

    def _url(self, names: Mapping[str, Any]) -> str:
        url = _joined(self._said["url"], names, lambda value: quote(str(value), safe=""))
        if self._settings.url is None:
            return url
        own = urlsplit(url)
        rest = own.path + (f"?{own.query}" if own.query else "")
        return self._settings.url.rstrip("/") + rest

    def _body(self, names: Mapping[str, Any]) -> tuple[bytes, str]:
        try:
            if self._said.get("json") is not None:
                filled = _filled(self._said["json"], names)
                text = json.dumps(filled, ensure_ascii=False, separators=(",", ":"))
                return text.encode(), "application/json; charset=utf-8"
            if self._said.get("form") is not None:
                pairs = [(key, _field(value)) for key, value in _filled(self._said["form"], names).items()]
                return urlencode(pairs, doseq=True).encode(), "application/x-www-form-urlencoded"
        except UnicodeError:
            message = "the message holds characters that are no valid Unicode"
            raise _CannotSay(message) from None
        return b"", ""


def _filled(template: Any, names: Mapping[str, Any]) -> Any:
    """A body with its values: what is one name alone takes the value as it is, and is left out where there is none."""
    if isinstance(template, str):
        alone = _PARTS.fullmatch(template)
        if alone and alone[1]:
            value = names.get(alone[1])
            return _ABSENT if value is None else value
        return _joined(template, names, str)
    if isinstance(template, dict):
        filled = {key: _filled(value, names) for key, value in template.items()}
        return {key: value for key, value in filled.items() if value is not _ABSENT}
    if isinstance(template, list):
        return [value for value in (_filled(item, names) for item in template) if value is not _ABSENT]
    return template


def _joined(template: str, names: Mapping[str, Any], encoded: Callable[[Any], str]) -> str:
    def value(match: re.Match[str]) -> str:
        if match[1] is None:
            return match[0][0]
        found = names.get(match[1])
        return "" if found is None else encoded(found)

    return _PARTS.sub(value, template)


def _basic(templates: list[str], names: Mapping[str, Any]) -> str:
    """RFC 7617: user and password."""
    return base64.b64encode(":".join(_joined(template, names, str) for template in templates).encode()).decode()


def _header(value: str) -> str:
    """A value as a header can carry it; what is not ASCII would be read differently by every server."""
    if not value.isascii() or not value.isprintable():
        message = "a header would hold characters that HTTP does not allow"
        raise _CannotSay(message)
    return value.strip()


def _field(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    return [_field(item) for item in value] if isinstance(value, list) else value


def _signed_ovh(values: Mapping[str, str], method: str, url: str, body: bytes) -> dict[str, str]:
    """OVH's signature of a request: https://docs.ovh.com/gb/en/api/first-steps-with-ovh-api/, "Signing requests"."""
    at = str(clock.now() // 1000)
    said = "+".join((values["application_secret"], values["consumer_key"], method, url, body.decode(), at))
    return {
        "X-Ovh-Application": _header(values["application_key"]),
        "X-Ovh-Consumer": _header(values["consumer_key"]),
        "X-Ovh-Timestamp": at,
        "X-Ovh-Signature": "$1$" + hashlib.sha1(said.encode()).hexdigest(),  # noqa: S324 - the provider's choice
    }


class _Said:
    """What an answer means by a description."""

    def __init__(self, answer: Answer, description: Description) -> None:
        self._answer = answer
        self._description = description
        self._text = answer.body.decode("utf-8", "replace")
        try:
            self._json = json.loads(self._text)
        except (ValueError, RecursionError):
            self._json = None

    def meaning(self) -> str:
        """That of the first rule that fits; without one, that of HTTP."""
        for rule in self._description["answers"]:
            if self._fits(rule):
                return str(rule["means"])
        status = self._answer.status
        if status == http.HTTPStatus.TOO_MANY_REQUESTS:
            return "limited"
        if status in (401, 403, 407):
            return "account"
        if 300 <= status < 400:  # noqa: PLR2004 - a redirect: whoever answers is not who was meant
            return "down"
        return "refused" if 400 <= status < 500 else "doubtful"  # noqa: PLR2004 - RFC 9110 §15.5

    def words(self, meaning: str) -> str:
        """The answer in one line: its status, the provider's id of the message or its reason."""
        path = self._description.get("id") if meaning == "sent" else self._description.get("reason")
        found = [value for value in self._values(path) if value is not None] if path else []
        rest = " ".join(str(value) for value in found) if found else self._text[:200]
        return f"{self._answer.status} {rest}".strip()

    def retry_after_s(self) -> float | None:
        """Seconds that the answer asks for: a number, or a date."""
        said = self._answer.headers.get(str(self._description.get("retry_after") or "Retry-After").lower(), "").strip()
        if re.fullmatch(r"\d{1,9}(\.\d+)?", said):
            return min(float(said), RETRY_AFTER_S_MAX) or None
        try:
            wait_s = parsedate_to_datetime(said).timestamp() - clock.now() / 1000
        except (TypeError, ValueError):
            return None
        return min(max(wait_s, 1.0), RETRY_AFTER_S_MAX)

    def _fits(self, rule: Mapping[str, Any]) -> bool:
        statuses = rule.get("status") or []
        if statuses and not any(_is_status(self._answer.status, status) for status in statuses):
            return False
        if rule.get("contains") and rule["contains"].casefold() not in self._text.casefold():
            return False
        if any(all(value is None for value in self._values(path)) for path in rule.get("known") or []):
            return False
        return all(self._holds(path, wanted) for path, wanted in (rule.get("where") or {}).items())

    def _holds(self, path: str, wanted: list[Any]) -> bool:
        found = self._values(path)
        # 1 and "1" are one thing to a provider; true is not 1.
        known = {(isinstance(value, bool), str(value)) for value in wanted}
        return bool(found) and all((isinstance(value, bool), str(value)) in known for value in found)

    def _values(self, path: str) -> list[Any]:
        """What a path leads to; `*` is every item of a list. An item that is not there is None."""
        found = [self._json]
        for step in path.split("."):
            found = [inner for value in found for inner in _inside(value, step)]
        return found


def _inside(value: Any, step: str) -> list[Any]:
    if step == "*":
        return list(value) if isinstance(value, list) else []
    if isinstance(value, list):
        return [value[int(step)]] if step.isdigit() and int(step) < len(value) else []
    return [value[step]] if isinstance(value, dict) and step in value else []


def _is_status(status: int, said: int | str) -> bool:
    return status == said if isinstance(said, int) else str(status)[0] == said[0]
