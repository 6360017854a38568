"""The line to an SMTP server: smtplib, except that half a reply, or none, is never taken for one, and that it need not wait."""

from __future__ import annotations

import re
import smtplib
import socket
import ssl
from dataclasses import dataclass
from functools import lru_cache

REPLY_LINE_BYTES_MAX = 2_048  # RFC 5321 §4.5.3.1.5 says 512; servers are wordier
REPLY_LINES_MAX = 100
_READ_BYTES = 16_384
_LATER = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
_BARE = re.compile(rb"\r(?!\n)")  # where there is one, or LF and CR are not as many, some line does not end in CRLF
END = b".\r\n"  # what ends the text of a message, behind its last line
_CODE_FROM, _CODE_TO = b"200", b"599"


class Lost(smtplib.SMTPServerDisconnected):
    """The line broke, or what came over it is no reply."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Offers:
    """What a server has said it takes, beyond the least."""

    pipelining: bool
    utf8: bool
    size: bool  # it wants to hear how long a message is
    size_bytes_max: int  # 0 where it did not say


class Wire(smtplib.SMTP):
    """A line over which replies are read strictly.

    Its owner either waits for them (`getreply`, and all of smtplib), or has set its socket's time-out to 0 and then asks
    `send_some`, `take_in` and `heard` whenever the socket is ready.
    """

    _heard = b""  # what came and is not taken yet; smtplib's __init__ reads already
    _offers: Offers | None = None

    def getreply(self) -> tuple[int, bytes]:
        """Code and text of one complete reply; anything else closes the line and raises `Lost`."""
        while (reply := self.heard()) is None:
            self.take_in()
        return reply

    def take_in(self) -> bool:
        """Read what there is; False where a socket that does not wait has nothing now.

        Raises:
            Lost: the line broke, or nothing came in time; it is closed.
        """
        if not isinstance(self.sock, socket.socket):
            message = "not connected"
            raise Lost(message)
        try:
            data = self.sock.recv(_READ_BYTES)
        except _LATER:
            return False
        except TimeoutError:
            why = "timed out waiting for a reply"
            raise self.lost(why) from None
        except OSError as error:
            why = f"connection lost: {error.strerror or error}"
            raise self.lost(why) from None
        if not data:
            started = "in the middle of" if self._heard else "without"
            why = f"connection closed {started} a reply"
            raise self.lost(why)
        self._heard += data
        return True

    def send_some(self, data: bytes | memoryview) -> int:
        """Write what the socket takes now; returns how many bytes that were. Raises `Lost` as `take_in`."""
        if not isinstance(self.sock, socket.socket):
            message = "not connected"
            raise Lost(message)
        try:
            return self.sock.send(data)
        except _LATER:
            return 0
        except OSError as error:
            why = f"connection lost: {error.strerror or error}"
            raise self.lost(why) from None

    def heard(self) -> tuple[int, bytes] | None:
        """The next complete reply among what was taken in; None while there is none.

        Raises:
            Lost: what came is no reply; the line is closed.
        """
        heard = self._heard
        if (end := heard.find(b"\n") + 1) and (reply := _of_one_line(heard[:end])):
            self._heard = heard[end:]
            return reply
        return self._heard_at_length() if heard else None

    def _heard_at_length(self) -> tuple[int, bytes] | None:
        """The same where it is no reply of one line."""
        start, texts, first = 0, list[bytes](), self._heard[:3]
        while end := self._heard.find(b"\n", start) + 1:
            line = self._heard[start:end]
            mark = line[3:4]
            if line[:3] != first or not _is_reply(line):
                why = f"malformed reply {line[:80]!r}"
                raise self.lost(why)
            texts.append(line[4:].strip())
            start = end
            if mark != b"-":
                self._heard = self._heard[end:]
                return int(first), b"\n".join(texts)  # EHLO's features are read line by line
            if len(texts) == REPLY_LINES_MAX:
                why = f"malformed reply of more than {REPLY_LINES_MAX} lines"
                raise self.lost(why)
        if len(self._heard) - start >= REPLY_LINE_BYTES_MAX:
            why = f"malformed reply {self._heard[start : start + 80]!r}"
            raise self.lost(why)
        return None

    @property
    def offers(self) -> Offers:
        """What the greeting said, looked up once: every letter asks."""
        if self._offers is None:
            limit = self.esmtp_features.get("size", "").strip()
            self._offers = Offers(
                pipelining=self.has_extn("pipelining"),
                utf8=self.has_extn("smtputf8"),
                size=self.has_extn("size"),
                size_bytes_max=int(limit) if limit.isdigit() else 0,
            )
        return self._offers

    @property
    def is_spent(self) -> bool:
        """Whether it is closed, or more came than answers what was said, and would be taken for the answer to what is said next."""
        return self.sock is None or bool(self._heard)

    def forget(self) -> None:
        """Drop what came before TLS: it may be anybody's."""
        self._heard, self._offers = b"", None

    def lost(self, why: str) -> Lost:
        """Close the line; returns what to raise."""
        self.close()
        return Lost(why)


class TlsWire(Wire, smtplib.SMTP_SSL):
    """The same over implicit TLS."""


@lru_cache(maxsize=64)
def _of_one_line(line: bytes) -> tuple[int, bytes] | None:
    """Code and text of a reply that is one line, as most are, and the same for every letter; None where it is none."""
    return (int(line[:3]), line[4:].strip()) if line[3:4] != b"-" and _is_reply(line) else None


def _is_reply(line: bytes) -> bool:
    return line[:3].isdigit() and _CODE_FROM <= line[:3] <= _CODE_TO and line[3:4] in (b" ", b"-", b"\r", b"\n")


def lined(payload: bytes) -> bytes:
    """A message whose lines end in CRLF, the last one too, whatever they ended in."""
    if payload.count(b"\n") != payload.count(b"\r") or _BARE.search(payload):
        payload = payload.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
    return payload if payload.endswith(b"\r\n") else payload + b"\r\n"


def stuffed(payload: bytes) -> bytes:
    """A message whose lines end in CRLF as DATA wants it: leading dots doubled, then `.` (RFC 5321 §4.5.2)."""
    first = b"." if payload.startswith(b".") else b""
    return first + payload.replace(b"\r\n.", b"\r\n..") + END
