"""One line to an HTTP server: an address judged after it is resolved, a request of bytes, an answer limited in time and size."""

from __future__ import annotations

import contextlib
import http.client
import io
import ipaddress
import re
import socket
import ssl
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PORTS = {"http": 80, "https": 443}
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
# What Python's tables count as global: site-local addresses (RFC 3879), the newer documentation prefix (RFC 9637), 6to4 relays (RFC 7526).
_NOT_PUBLIC = tuple(map(ipaddress.ip_network, ("fec0::/10", "3fff::/20", "192.88.99.0/24")))
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # RFC 9110 §5.6.2
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_TARGET = re.compile(r"/[\x21-\x7e]*")
_LEAST_S = 0.001  # a time-out of 0 would mean one that never waits


class NoAddress(ValueError):
    """It cannot be talked to at all, now or later: the address, or the request, is none."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class TooLong(http.client.HTTPException):
    """The answer is longer than asked for."""


def split(url: str) -> SplitResult:
    """The parts of an http:// or https:// address.

    Raises:
        NoAddress: it is none, or names a user.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        message = "the address is none"
        raise NoAddress(message) from None
    if parts.scheme not in PORTS or not parts.hostname or parts.username is not None or port == 0:
        message = "the address is no http:// or https:// one with a host and without a user"
        raise NoAddress(message)
    return parts


def origin(parts: SplitResult) -> tuple[str, str, int]:
    """Scheme, host and port."""
    return parts.scheme, parts.hostname or "", parts.port or PORTS[parts.scheme]


def is_public(address: str) -> bool:
    """Whether an IP address is one of the open internet, whatever it is wrapped in."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour or (found.teredo[1] if found.teredo else None)
        if found in _NAT64:
            inner = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    if any(found in network for network in _NOT_PUBLIC):
        return False
    return found.is_global and not found.is_multicast and not found.is_reserved and not found.is_unspecified


def request_bytes(method: str, parts: SplitResult, headers: Mapping[str, str], body: bytes = b"") -> bytes:
    """A whole HTTP/1.1 request, so that nothing can go wrong with it once its first byte has left.

    Raises:
        NoAddress: the path or a header holds what HTTP cannot say.
    """
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else (parts.hostname or "")
    port = "" if parts.port in (None, PORTS[parts.scheme]) else f":{parts.port}"
    with_length = {"Content-Length": str(len(body))} if body or method in ("POST", "PUT", "PATCH") else {}
    said = {"Host": _ascii_host(host) + port, **headers, **with_length}
    if not (_TOKEN.fullmatch(method) and _TARGET.fullmatch(target)) or not all(
        _TOKEN.fullmatch(name) and _VALUE.fullmatch(value) for name, value in said.items()
    ):
        message = "the request holds characters that HTTP does not allow"
        raise NoAddress(message)
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in said.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def _ascii_host(host: str) -> str:
    try:
        return host if host.isascii() else host.encode("idna").decode()
    except UnicodeError:
        message = "the host is no name"
        raise NoAddress(message) from None


class Wire:
    """A connected line; keeps alive where the server does. One thread at a time."""

    def __init__(self, raw: socket.socket) -> None:
        self._socket = raw
        self.reusable = True

    def send(self, request: bytes, end: float) -> None:
        """Write a request, until `end` by the monotonic clock; what it raises is an OSError."""
        self._socket.settimeout(max(_LEAST_S, end - monotonic()))
        self._socket.sendall(request)

    def receive(self, method: str, end: float, bytes_max: int) -> Answer:
        """The answer to what was sent, whole, by `end`.

        Raises:
            OSError, http.client.HTTPException: there is none, or not in time, or too long a one.
        """
        self.reusable = False  # until it is read to its end
        timed = _Timed(self._socket, end)
        response = http.client.HTTPResponse(timed, method=method)  # type: ignore[arg-type]  # all of a socket that it uses
        with response:
            response.begin()
            if timed.ended:  # http.client takes half a head for a whole one
                message = "the answer ended within its head"
                raise http.client.HTTPException(message)
            body = response.read(bytes_max + 1)
            if len(body) > bytes_max:
                message = f"the answer is longer than {bytes_max // 1024} KiB"
                raise TooLong(message)
            if response.length:  # the line closed before all of it came
                raise http.client.IncompleteRead(body, response.length)
            headers = {name.lower(): value for name, value in response.getheaders()}
            self.reusable = not response.will_close
            return Answer(response.status, headers, body)

    def is_idle(self) -> bool:
        """Whether the line is as it was left: no hanging up, and no word that nobody asked for."""
        try:
            self._socket.settimeout(0)
            # TLS 1.3 sends tickets of its own accord: reading takes those in, and then wants more.
            if isinstance(self._socket, ssl.SSLSocket):
                self._socket.recv(1)
            else:
                self._socket.recv(1, socket.MSG_PEEK)
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except (OSError, ValueError):
            return False
        return False

    def close(self) -> None:
        """Hang up; never raises."""
        with contextlib.suppress(OSError):
            self._socket.close()


class _Timed:
    """As much of a socket as `HTTPResponse` reads from, with one deadline for all reads together."""

    def __init__(self, raw: socket.socket, end: float) -> None:
        self._reads = _Reads(raw, end)

    @property
    def ended(self) -> bool:
        return self._reads.ended

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(self._reads)


class _Reads(io.RawIOBase):
    def __init__(self, raw: socket.socket, end: float) -> None:
        super().__init__()
        self._raw = raw
        self._end = end
        self.ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # what BufferedReader hands over
        left_s = self._end - monotonic()
        if left_s <= 0:
            message = "the answer took too long"
            raise TimeoutError(message)
        self._raw.settimeout(left_s)
        size = self._raw.recv_into(buffer)
        self.ended = size == 0
        return size


def dial(
    parts: SplitResult, end: float, *, allowed: Callable[[str], bool], context: Callable[[], ssl.SSLContext]
) -> Wire:
    """A line to the very address that was judged: the name is resolved once, whatever spelling it has.

    Raises:
        NoAddress: an address of the host is not `allowed`, or the host is no name.
        OSError: nobody answers by `end`, or TLS fails.
    """
    scheme, host, port = origin(parts)
    left_s = max(0.1, end - monotonic())
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError:
        message = "the host is no name"
        raise NoAddress(message) from None
    addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
    if not all(map(allowed, addresses)):
        message = f"{host} is a private address"
        raise NoAddress(message)
    raw = _first_that_answers(addresses, port, left_s)
    try:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return Wire(context().wrap_socket(raw, server_hostname=host) if scheme == "https" else raw)
    except BaseException:
        raw.close()
        raise


def _first_that_answers(addresses: list[str], port: int, timeout_s: float) -> socket.socket:
    """A connection to one of a host's addresses, in their order: a machine without IPv6 is told of it all the same."""
    *others, last = addresses
    for address in others:
        try:
            return socket.create_connection((address, port), timeout=timeout_s / len(addresses))
        except OSError:
            continue
    return socket.create_connection((last, port), timeout=timeout_s)
