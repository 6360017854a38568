"""One GET over HTTP for JSON: addresses judged after they are resolved, redirects judged again, time and size limited."""

from __future__ import annotations

import http.client
import ipaddress
import json
import socket
import ssl
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from flowctl import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

BYTES_MAX = 256 * 1024  # an answer is kept with every enrollment
REDIRECTS_MAX = 3
DEPTH_MAX = 100  # of the JSON; SQLite reads no deeper than 1,000
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_TOO_MANY, _SERVER_ERROR = 429, 500
_PORTS = {"http": 80, "https": 443}
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
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
        own = _origin(parts) == _origin(origin)
        # Secrets stay with the service they belong to.
        headers = {
            **(service.headers if own else {}),
            "Accept": "application/json",
            "User-Agent": f"flowctl/{__version__}",
        }
        status, reply = _exchange(parts, headers, end, private=service.private)
        if status not in _REDIRECTS:
            return _judged(status, reply)
        url = urljoin(url, reply.decode("latin-1"))
        if parts.scheme == "https" and urlsplit(url).scheme != "https":
            message = "redirected from https to something else"
            raise Unfetched(message, again=False)
    message = f"more than {REDIRECTS_MAX} redirects"
    raise Unfetched(message, again=False)


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        message = "the address is none"
        raise Unfetched(message, again=False) from None
    if parts.scheme not in _PORTS or not parts.hostname or parts.username is not None or port == 0:
        message = "the address is no http:// or https:// one with a host and without a user"
        raise Unfetched(message, again=False)
    return parts


def _origin(parts: SplitResult) -> tuple[str, str | None, int]:
    return parts.scheme, parts.hostname, parts.port or _PORTS[parts.scheme]


def is_public(address: str) -> bool:
    """Whether an IP address is one of the open internet, whatever it is wrapped in."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour or (found.teredo[1] if found.teredo else None)
        if found in _NAT64:
            inner = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return found.is_global and not found.is_multicast and not found.is_reserved and not found.is_unspecified


def _exchange(parts: SplitResult, headers: Mapping[str, str], end: float, *, private: bool) -> tuple[int, bytes]:
    """Status, and the body or where a redirect leads."""
    try:
        connection = _connected(parts, end, private=private)
    except OSError as error:  # also a failed TLS handshake, also a name that does not resolve
        message = f"no connection: {error.strerror or error}"
        raise Unfetched(message, again=True) from None
    try:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("GET", target, headers={**headers, "Accept-Encoding": "identity"})
        with connection.getresponse() as response:
            if response.status in _REDIRECTS:
                return response.status, response.getheader("Location", "").encode("latin-1", "replace")
            return response.status, _body(response, connection, end)
    except (OSError, http.client.HTTPException) as error:
        message = f"no answer: {type(error).__name__}"
        raise Unfetched(message, again=True) from None
    except ValueError:  # a header or a path that HTTP cannot say
        message = "the request holds characters that HTTP does not allow"
        raise Unfetched(message, again=False) from None
    finally:
        connection.close()


def _connected(parts: SplitResult, end: float, *, private: bool) -> http.client.HTTPConnection:
    """A connection to the very address that was judged: the name is resolved once, whatever spelling it has."""
    scheme, host, port = _origin(parts)
    assert host is not None  # noqa: S101 - `_split` saw to it
    left_s = max(0.1, end - monotonic())
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError:
        message = "the host is no name"
        raise Unfetched(message, again=False) from None
    addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
    if not private and not all(map(is_public, addresses)):
        message = f"{host} is a private address, and the service does not say `private: true`"
        raise Unfetched(message, again=False)
    connection = http.client.HTTPConnection(host, port, timeout=left_s)
    raw = _first_that_answers(addresses, port, left_s)
    try:
        connection.sock = (
            ssl.create_default_context().wrap_socket(raw, server_hostname=host) if scheme == "https" else raw
        )
    except BaseException:
        raw.close()
        raise
    return connection


def _first_that_answers(addresses: list[str], port: int, timeout_s: float) -> socket.socket:
    """A connection to one of a host's addresses, in their order: a machine without IPv6 is told of it all the same."""
    *others, last = addresses
    for address in others:
        try:
            return socket.create_connection((address, port), timeout=timeout_s / len(addresses))
        except OSError:
            continue
    return socket.create_connection((last, port), timeout=timeout_s)


def _body(response: http.client.HTTPResponse, connection: http.client.HTTPConnection, end: float) -> bytes:
    parts: list[bytes] = []
    size = 0
    while chunk := response.read1(65_536):
        parts.append(chunk)
        size += len(chunk)
        if size > BYTES_MAX:
            message = f"the answer is longer than {BYTES_MAX // 1024} KiB"
            raise Unfetched(message, again=False)
        left_s = end - monotonic()
        if left_s <= 0:
            message = "the answer took too long"
            raise Unfetched(message, again=True)
        if connection.sock is not None:
            connection.sock.settimeout(left_s)
    return b"".join(parts)


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
