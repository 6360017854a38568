"""E-mails by skeleton: the `email` package builds each shape of message once, and letters are filled in.

Building a MIME tree takes 2 ms, filling one 0.04 ms. What is filled in is encoded here: header values by RFC 2047 after
everything that could end a line is gone, bodies as they are where they may (7bit), else as quoted-printable or base64.
tests/engine/test_mime.py parses the result back with `email` and compares.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import re
import unicodedata
from binascii import b2a_base64, b2a_qp
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import TYPE_CHECKING, Literal

from flowctl.engine.references import BASE64_GROWTH, UNSHOWN

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Encoding = Literal["7bit", "quoted-printable", "base64"]

LINE_BYTES_MAX = 998  # RFC 5322 §2.1.1, without the line end
# email.policy.SMTP folds at 78 and makes an encoded word of a long List-Unsubscribe URL; 998 is RFC 5322's own limit.
_POLICY = SMTP.clone(max_line_length=LINE_BYTES_MAX)
_TEXT_MARK, _HTML_MARK = "flowctl-text-goes-here", "flowctl-html-goes-here"
ENCODED_WORD_CHARS_MAX = 75  # RFC 2047 §2
HEADER_VALUE_CHARS_MAX = 250  # no mail program shows more of a subject
_NO_LINES: Mapping[str, bytes] = {}
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]+")
# A flag that is spelt in tags (UTS #51 §2.8: England's) is one piece; tags anywhere else hide text.
_PIECES = re.compile("\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{3,6}\U000e007f|.", re.DOTALL)
# Joiners make one emoji of two and are letters' shapes in Persian and Hindi. What Python's tables call unassigned among
# pictographs is an emoji that is newer than they are.
_SHOWN = re.compile("[\u200c\u200d\U0001f000-\U0001faff]")


@dataclass(frozen=True, slots=True)
class Skeleton:
    """A message of one sender and shape, cut open where each letter differs."""

    before_text: bytes
    between: bytes
    after_html: bytes
    text_encoding: Encoding
    html_encoding: Encoding
    mixed: bytes = b""  # the boundary line between attachments, where there are any

    def filled(self, headers: bytes, text: bytes, html: bytes, attachments: Sequence[bytes] = ()) -> bytes:
        """A whole message; `headers` as `header_lines` makes them, `text` and `html` as `body`, `attachments` as `attachment`."""
        whole = (headers, self.before_text, text, self.between, html, self.after_html)
        if not self.mixed:
            return b"".join(whole)
        more = b"".join(b"%b\r\n%b" % (self.mixed, one) for one in attachments)
        return b"".join((*whole, more, self.mixed, b"--\r\n"))


@functools.lru_cache(maxsize=256)  # a tick makes few, and the many ticks of a test or a simulation the same ones
def skeleton(
    *,
    name: str,
    address: str,
    reply_to: str | None,
    marketing: bool,
    encodings: tuple[Encoding, Encoding],
    mixed: bool = False,
) -> Skeleton:
    """The skeleton of a sender's messages; `name` may hold anything, addresses are ASCII; encodings of text and HTML.

    `mixed`: with attachments, which stand beside the alternative of text and HTML.
    """
    message = EmailMessage(policy=_POLICY)
    if not marketing:
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers
    message.set_content(_TEXT_MARK, cte="quoted-printable")
    message.add_alternative(_HTML_MARK, subtype="html", cte="quoted-printable")
    for part, encoding in zip(message.iter_parts(), encodings, strict=True):
        part.replace_header("Content-Transfer-Encoding", encoding)
    # "=_" occurs in no quoted-printable and no base64 text, and `_is_plain` refuses it, so that no body can hold the boundary.
    inner, outer = (
        "=_" + hashlib.sha256(f"{name} {address} {encodings}{level}".encode()).hexdigest()[:32]
        for level in ("", "mixed")
    )
    message.set_boundary(inner)
    if mixed:
        message.make_mixed(boundary=outer)
    senders = [("From", mailbox_value(name, address))] + ([("Reply-To", reply_to)] if reply_to else [])
    raw = header_lines(senders) + message.as_bytes()
    before, _, rest = raw.partition(_TEXT_MARK.encode())
    between, _, after = rest.partition(_HTML_MARK.encode())
    if mixed:
        after, _, _ = after.rpartition(f"--{outer}--".encode())
    # Bodies bring their last line end; the one before a boundary belongs to the boundary.
    return Skeleton(
        before,
        b"\r\n" + between.lstrip(b"\r\n"),
        b"\r\n" + after.lstrip(b"\r\n"),
        *encodings,
        f"--{outer}".encode() if mixed else b"",
    )


def attachment(*, name: str, type_: str, content: bytes) -> bytes:
    """A part with a file in base64; its name by RFC 2231 where it is not plain ASCII."""
    part = EmailMessage(policy=_POLICY)
    main, _, sub = type_.partition("/")
    part.set_content(b"", maintype=main, subtype=sub, filename=name, cte="base64")
    part.set_payload(base64.encodebytes(content).decode("ascii"))  # `email` makes the lines as long as those of headers
    del part["MIME-Version"]
    return part.as_bytes()


def mailbox_value(name: str, address: str) -> str:
    """`name <address>` for a header.

    Not email.headerregistry.Address: it decodes encoded words in a name, line ends included, and writes them as they are.
    """
    name = cleaned(name)
    if not name:
        return address
    if name.isascii() and "=?" not in name and not _ATOMS.fullmatch(name):
        quoted = name.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{quoted}" <{address}>'
    return f"{encoded_value(name)} <{address}>"


def header_lines(headers: list[tuple[str, str]]) -> bytes:
    """Lines of a header whose values are ready: encoded, or made of nothing but safe characters."""
    return "".join(f"{name}: {value}\r\n" for name, value in headers).encode()


def cleaned(value: str) -> str:
    """A value without anything that could end a line or hide text: one line, no control or direction characters."""
    if not value.isprintable():
        value = "".join(
            " " if piece.isspace() else piece if _is_shown(piece) else "" for piece in _PIECES.findall(value)
        )
    value = " ".join(value.split())
    return value if len(value) <= HEADER_VALUE_CHARS_MAX else value[: HEADER_VALUE_CHARS_MAX - 1] + "…"


def _is_shown(piece: str) -> bool:
    return len(piece) > 1 or _SHOWN.match(piece) is not None or unicodedata.category(piece)[0] != "C"


def encoded_value(value: str) -> str:
    """A header value of words, RFC 2047 where needed: also where it would pass for an encoded word itself."""
    value = cleaned(value)
    if value.isascii() and "=?" not in value:
        return value
    return "\r\n ".join(_encoded_words(value))


def is_undotted(mail: bytes) -> bool:
    """Whether no line of a mail with headers begins with a dot, so that SMTP need not double any (RFC 5321 §4.5.2)."""
    return b"\r\n." not in mail


def date_value(at: int) -> str:
    """A Date header of UTC milliseconds."""
    return _date(at // 1000)


@functools.lru_cache(maxsize=64)
def _date(at_s: int) -> str:
    return format_datetime(datetime.fromtimestamp(at_s, UTC))


def body(text: str, known: Mapping[str, bytes] = _NO_LINES) -> tuple[bytes, Encoding]:
    """A body as it stands in a mail: ASCII, CRLF, one line end behind; and its encoding.

    As it is where it may stand so. Else what makes it shorter, and legible where the text is Western. `known` are lines
    that need not be quoted again.

    Raises:
        UnicodeEncodeError: it holds half a surrogate pair.
    """
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if text.isascii() and _is_plain(data := text.encode()):
        return _lines_ended(data), "7bit"
    lines = text.removesuffix("\n").split("\n")
    # No cache: what differs in every letter would only push out what does not.
    quoted = b"".join([known.get(line) or b2a_qp(f"{line}\r\n".encode()) for line in lines])
    if len(quoted) > len(text) * BASE64_GROWTH:  # else the shorter one, for a character is one byte at least
        data = "\r\n".join([*lines, ""]).encode()
        if len(quoted) > len(data) * BASE64_GROWTH:
            return base64.encodebytes(data).replace(b"\n", b"\r\n"), "base64"
    return quoted, "quoted-printable"


def html_body(html: str, known: Mapping[str, bytes] = _NO_LINES) -> tuple[bytes, Encoding]:
    """The same for HTML: what is beyond ASCII as character references (`&#233;`), where that is no longer than base64.

    For HTML whose <style> and <script>, where there are any, are ASCII: references mean nothing there (`bodies.may_refer`).

    Raises:
        UnicodeEncodeError: it holds half a surrogate pair.
    """
    if "\r" in html:
        html = html.replace("\r\n", "\n").replace("\r", "\n")
    if not html.isascii() and not UNSHOWN.search(html):
        data = html.encode("ascii", "xmlcharrefreplace")
        if len(data) <= len(html) * BASE64_GROWTH and _is_plain(data):
            return _lines_ended(data), "7bit"
    return body(html, known)


def _is_plain(data: bytes) -> bool:
    """Whether ASCII with LF may stand as it is: no NUL, no line too long, none that could be a boundary."""
    start, last = 0, len(data) - LINE_BYTES_MAX
    while start < last:  # jumps to the last line that begins within reach
        start = data.rfind(b"\n", start, start + LINE_BYTES_MAX + 1) + 1
        if not start:
            return False
    return b"\0" not in data and b"--=_" not in data


def _lines_ended(data: bytes) -> bytes:
    return data.removesuffix(b"\n").replace(b"\n", b"\r\n") + b"\r\n"


def quoted_lines(template: str) -> dict[str, bytes]:
    """The lines of a template that are the same in every letter, by themselves, as a body in quoted-printable has them."""
    lines = {line for line in template.splitlines() if "{" not in line} | {""}
    return {line: b2a_qp(f"{line}\r\n".encode()) for line in lines}


def _encoded_words(value: str) -> list[str]:
    """The value as encoded words in base64; no character is cut in two (RFC 2047 §5)."""
    data = value.encode()
    room = (ENCODED_WORD_CHARS_MAX - len("=?utf-8?b??=")) // 4 * 3
    words, at = [], 0
    while at < len(data):
        end = min(at + room, len(data))
        while end < len(data) and data[end] & 0xC0 == 0x80:  # noqa: PLR2004 - a continuation byte of UTF-8
            end -= 1
        words.append(f"=?utf-8?b?{b2a_base64(data[at:end], newline=False).decode()}?=")
        at = end
    return words
