"""One GET over HTTP for JSON: addresses judged after they are resolved, redirects judged again, time and size limited."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass, field
from ssl import create_default_context
from time import monotonic
from typing import TYPE_CHECKING
from urllib.parse import quote, urljoin, urlsplit

from flowctl import __version__
from flowctl.channels import wire
from flowctl.channels.wire import is_public

if TYPE_CHECKING:
    from collections.abc import Mapping
    from urllib.parse import SplitResult

BYTES_MAX = 256 * 1024  # an answer is kept with every enrollment
REDIRECTS_MAX = 3
DEPTH_MAX = 100  # of the JSON; SQLite reads no deeper than 1,000
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_TOO_MANY, _SERVER_ERROR = 429, 500
# What a path may hold as it stands; everything else is percent-encoded.
_SAFE = "/%?&=:@!$'()*+,;~-._[]"


class Unfetched(Exception):
    """No answer, and why; `again` where a later attempt may have one."""

    def __init__(self, reason: str, *, again: bool) -> None:
        super().__init__(reason)
        self.again = again


@dataclass(frozen=True, kw_only=True, slots=True)
class Service:
    """Where to ask and how; `private` allows addresses inside the own network."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeout_s: float = 5.0
    private: bool = False


def get_json(service: Service, path: str) -> str:
    """The answer to a GET of a path of a service, as compact JSON. The time-out holds for the whole answer.

    Raises:
        Unfetched: there is none that can be used.
    """
    if not path.startswith("/") or path.startswith("//"):
        message = "the path does not start with one /"
        raise Unfetched(message, again=False)
    if {".", ".."} & set(path.partition("?")[0].split("/")):
        message = "the path climbs: a value in it is . or .."
        raise Unfetched(message, again=False)
    origin = _split(service.url)
    if origin.query or origin.fragment:
        message = "the service's url has a ? or #, which belong into the path of the step"
        raise Unfetched(message, again=False)
    url = service.url.rstrip("/") + quote(path, safe=_SAFE)
    end = monotonic() + service.timeout_s
    for _ in range(REDIRECTS_MAX + 1):
        parts = _split(url)
        own = wire.origin(parts) == wire.origin(origin)
        # Secrets stay with the service they belong to.
        headers = {
            **(service.headers if own else {}),
            "Accept": "application/json",
            "User-Agent": f"flowctl/{__version__}",
        }
        status, reply = _exchange(parts, headers, end, private=service.private)
        if status not in _REDIRECTS:
            return _judged(status, reply)
        url = _led_to(url, reply.decode("latin-1"))
        if parts.scheme == "https" and urlsplit(url).scheme != "https":
            message = "redirected from https to something else"
            raise Unfetched(message, again=False)
    message = f"more than {REDIRECTS_MAX} redirects"
    raise Unfetched(message, again=False)


def _led_to(url: str, location: str) -> str:
    """Where a redirect leads; the service may say anything."""
    try:
        return _split(urljoin(url, location)).geturl()
    except ValueError:
        message = "redirected to what is no address"
        raise Unfetched(message, again=False) from None


def _split(url: str) -> SplitResult:
    try:
        return wire.split(url)
    except wire.NoAddress as fault:
        raise Unfetched(str(fault), again=False) from None


def _exchange(parts: SplitResult, headers: Mapping[str, str], end: float, *, private: bool) -> tuple[int, bytes]:
    """Status, and the body or where a redirect leads."""
    try:
        request = wire.request_bytes("GET", parts, {**headers, "Accept-Encoding": "identity", "Connection": "close"})
        # Looked up at each call, so that what counts as public is judged here and nowhere before.
        line = wire.dial(
            parts, end, allowed=lambda address: private or is_public(address), context=create_default_context
        )
    except wire.NoAddress as fault:
        said = str(fault)
        hint = ", and the service does not say `private: true`" if said.endswith("private address") else ""
        raise Unfetched(said + hint, again=False) from None
    except OSError as error:  # also a failed TLS handshake, also a name that does not resolve
        message = f"no connection: {error.strerror or error}"
        raise Unfetched(message, again=True) from None
    try:
        line.send(request, end)
        answer = line.receive("GET", end, BYTES_MAX)
    except wire.TooLong as fault:
        raise Unfetched(str(fault), again=False) from None
    except (OSError, http.client.HTTPException) as error:
        message = f"no answer: {type(error).__name__}"
        raise Unfetched(message, again=True) from None
    finally:
        line.close()
    if answer.status in _REDIRECTS:
        return answer.status, answer.headers.get("location", "").encode("latin-1", "replace")
    return answer.status, answer.body


def _judged(status: int, body: bytes) -> str:
    if not 200 <= status < 300:  # noqa: PLR2004 - what HTTP calls success
        message = f"status {status}"
        raise Unfetched(message, again=status == _TOO_MANY or status >= _SERVER_ERROR)
    try:
        answer = json.loads(body, parse_constant=_no_number)
        if _depth(answer) > DEPTH_MAX:
            message = "the answer is nested too deeply"
            raise Unfetched(message, again=False)
        return json.dumps(answer, separators=(",", ":"))
    except (ValueError, RecursionError):
        message = "the answer is no JSON"
        raise Unfetched(message, again=False) from None


def _no_number(word: str) -> None:
    raise ValueError(word)


def _depth(value: object, above: int = 0) -> int:
    if above > DEPTH_MAX:
        return above
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return max((_depth(each, above + 1) for each in inner), default=above)
