"""What a mail in a bounce mailbox says: a failed delivery (RFC 3464), a complaint (RFC 5965), an automatic reply, or nothing."""

from __future__ import annotations

import re
from base64 import b64decode
from dataclasses import dataclass
from email import message_from_bytes
from email.errors import MessageError
from email.utils import getaddresses, parseaddr, parsedate_to_datetime
from quopri import decodestring
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from email.message import Message

Kind = Literal["hard", "soft", "delivered", "complained", "unsubscribed"]
Ignored = Literal["delayed", "reply", "other"]
SAID_CHARS_MAX = 300
ADDRESS_CHARS_MAX = 320  # RFC 5321 §4.5.3.1: 64, @, 255
_KEY = re.compile(r"\b[0-9a-f]{32}\b")
_OUR_ID = re.compile(r"<([0-9a-f]{32})@[^>\s]+>")
_ID_LINE = re.compile(r"^\s*>?\s*Message-ID:\s*(<[^>\s]+>)", re.IGNORECASE | re.MULTILINE)
_UNSUBSCRIBE = re.compile(r"/u/([\w.\-]+)")
_VERP = re.compile(r"[+=.\-]([0-9a-f]{32})@")
_ENHANCED = re.compile(r"(?<![\d.])([245])\.(\d{1,3})\.(\d{1,3})(?![\d.])")
_SMTP = re.compile(r"(?<![\d.])([45]\d\d)(?=[ \-])")
_DAEMONS = re.compile(r"mailer-?daemon|postmaster|mail-?daemon|maildelivery|mdaemon", re.IGNORECASE)
# Words that weigh more than the code beside them: Orange.fr says 5.1.1 of a full mailbox (its OFR_417), Yahoo 554 of no account.
_FULL = re.compile(
    r"over ?quota|quota (is )?exceeded|exceeded .{0,20}quota|mailbox (is |size )?(full|limit)|mailbox full|"
    r"bo[iî]te .{0,30}pleine|insufficient (disk|system)? ?(space|storage)|out of storage|ofr_?417",
    re.IGNORECASE,
)
_NOBODY = re.compile(
    r"(user|recipient|mailbox|address|account|destinataire|utilisateur)\W.{0,60}"
    r"(unknown|not (be )?found|(does not|doesn.t|n.existe|not) exist|no longer|invalid|disabled|inactive|deactivated|inconnu|invalide)|"
    r"(unknown|invalid|no such|inactive|unrouteable|unroutable) .{0,20}(user|recipient|mailbox|address|account|local part|domain)|"
    r"doesn.t have an? .{0,40}account|(host|domain).{0,20}not found|no mailbox (here )?by that name|recipient address rejected: access denied",
    re.IGNORECASE | re.DOTALL,
)
_BLOCKED = re.compile(
    r"spam|black ?list|block ?list|blocked|policy|reputation|dmarc|spf|dkim|rejet[eé]|virus", re.IGNORECASE
)
_ENCODED: dict[str, Callable[[bytes], bytes]] = {"base64": b64decode, "quoted-printable": decodestring}
_HARD_CODES = frozenset({550, 551, 553})  # RFC 5321 §4.2.3: mailbox unavailable, not local, name not allowed


class Unreadable(Exception):
    """The mail cannot be judged; the reason is for a person."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What became of one delivery. `status` is an enhanced code (RFC 3463), `said` the server's own words; both may be ''."""

    kind: Kind
    recipient: str
    status: str = ""
    said: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What a mail says. Without findings, `ignored` says what it is instead."""

    findings: tuple[Finding, ...] = ()
    ignored: Ignored = "other"
    keys: tuple[
        str, ...
    ] = ()  # of the message it is about, the surest first: from its Message-ID, its links, a VERP address
    tokens: tuple[
        str, ...
    ] = ()  # signed unsubscribe links of that message, for where a provider gave it another Message-ID
    foreign: bool = False  # it is about a message whose Message-ID is none of ours
    at: int | None = None  # when the report was written, UTC ms


def read_report(data: bytes) -> Report:
    """Read a mail.

    Raises:
        Unreadable: it is no mail, or is a report that says nothing of whom.
    """
    if not data.strip():
        message = "it is empty"
        raise Unreadable(message)
    try:
        mail = message_from_bytes(data)
        if not mail.keys():
            message = "it has no header"
            raise Unreadable(message)
        return _read(mail)
    except (MessageError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        # The email package reads whatever it is given, but asking what it read may fail, in ways it does not list.
        message = f"its structure cannot be read ({type(error).__name__})"
        raise Unreadable(message) from None


def _read(mail: Message) -> Report:
    at = _written_at(mail)
    findings, ignored = _judged(mail)
    if not findings:
        return Report(ignored=ignored, at=at)
    original = next(_originals(mail), None)
    texts = [_text(part) for part in mail.walk() if part.get_content_maintype() == "text"]
    ids = [_field(original, "message-id")] if original is not None else []
    ids += [found for text in texts for found in _ID_LINE.findall(text)]
    ids += _field(mail, "in-reply-to").split() + _field(mail, "references").split()
    ids = [each for each in ids if each]
    links = _field(original, "list-unsubscribe") if original is not None else ""
    return Report(
        findings=tuple(findings),
        keys=tuple(dict.fromkeys([*(key for each in ids for key in _OUR_ID.findall(each)), *_verp(mail)])),
        tokens=tuple(dict.fromkeys(_UNSUBSCRIBE.findall("\n".join([links, *texts])))),
        foreign=bool(ids),
        at=at,
    )


def _judged(mail: Message) -> tuple[list[Finding], Ignored]:
    for part in mail.walk():
        kind = part.get_content_type()
        if kind == "message/feedback-report":
            return _complaint(mail, part)
        if kind in ("message/delivery-status", "message/global-delivery-status"):
            return _deliveries(mail, part)
        if kind == "message/disposition-notification":
            return [], "reply"  # a read receipt
    if junked := _field(mail, "x-hmxmroriginalrecipient"):  # Microsoft's Junk Mail Reporting Program is no ARF
        return [Finding(kind="complained", recipient=_address(junked))], "other"
    daemon = bool(_DAEMONS.search(parseaddr(_field(mail, "from"))[1])) or bool(_field(mail, "x-failed-recipients"))
    if not daemon:
        return [], "reply" if _is_automatic(mail) else "other"
    return _by_words(mail)


def _is_automatic(mail: Message) -> bool:
    """RFC 3834, and what was in use before it."""
    submitted = _field(mail, "auto-submitted").casefold()
    precedence = _field(mail, "precedence").casefold()
    marks = ("x-autoreply", "x-autorespond", "x-auto-response-suppress", "x-autogenerated")
    return (
        (submitted not in ("", "no"))
        or precedence in ("auto_reply", "junk")
        or any(_field(mail, name) for name in marks)
    )


def _deliveries(mail: Message, part: Message) -> tuple[list[Finding], Ignored]:
    findings: list[Finding] = []
    delayed = False
    for block in _blocks(part):
        action = _field(block, "action").casefold()
        recipient = _recipient(_field(block, "original-recipient")) or _recipient(_field(block, "final-recipient"))
        said = _one_line(_field(block, "diagnostic-code").partition(";")[2] or _field(block, "diagnostic-code"))
        if action.startswith(("fail", "error")):  # OpenSMTPD says error
            status = _status(_field(block, "status"), said)
            findings.append(
                Finding(kind=_kind(status, said), recipient=recipient, status=status, said=said[:SAID_CHARS_MAX])
            )
        elif action.startswith("delivered"):
            findings.append(Finding(kind="delivered", recipient=recipient, said=said))
        delayed = delayed or action.startswith(("delayed", "relayed", "expanded"))
    if findings or delayed:
        return findings, "delayed"
    return _by_words(mail)


def _by_words(mail: Message) -> tuple[list[Finding], Ignored]:
    """What Exim, qmail, Exchange and others write who do not use RFC 3464, by flufl.bounce."""
    from flufl.bounce import all_failures  # noqa: PLC0415 - its nineteen detectors, which most mailboxes do without

    temporary, permanent = all_failures(mail)
    if temporary and not permanent:
        return [], "delayed"
    said = _one_line(_before_original(mail))
    status = _status("", said)
    findings = [
        Finding(
            kind=_kind(status, said),
            recipient=_address(address.decode("ascii", "replace")),
            status=status,
            said=_excerpt(said),
        )
        for address in sorted(permanent)
    ]
    if not findings:
        message = "it looks like a bounce, and says not of whom"
        raise Unreadable(message)
    return findings, "other"


def _complaint(mail: Message, part: Message) -> tuple[list[Finding], Ignored]:
    kinds: dict[str, Kind] = {
        "abuse": "complained",
        "fraud": "complained",
        "opt-out": "unsubscribed",
        "opt-out-list": "unsubscribed",
    }
    for block in _blocks(part):
        kind = kinds.get(_field(block, "feedback-type").strip().casefold())
        if kind is None:
            continue  # not-spam, virus, auth-failure: nobody complained
        said = _address(_field(block, "original-rcpt-to")) or _address(_field(block, "removal-recipient"))
        original = next(_originals(mail), None)
        recipient = said or (_address(_field(original, "to")) if original is not None else "")
        return [Finding(kind=kind, recipient=recipient)], "other"
    return [], "other"


def _status(field: str, said: str) -> str:
    """The most telling enhanced code: the server's own words know more than an x.0.0 that was put before them."""
    found = _ENHANCED.search(field)
    inner = _ENHANCED.search(said)
    if found and (found[2], found[3]) != ("0", "0"):
        return found[0]
    best = inner or found
    return best[0] if best else ""


def _kind(status: str, said: str) -> Literal["hard", "soft"]:
    """Hard where the address is bad for good; soft where it may be another time: full, too big, blocked, expired (RFC 3463 §3)."""
    if _FULL.search(said):
        return "soft"
    match [int(part) for part in status.split(".")] if status else []:
        case [4, *_]:
            return "soft"
        case [5, 1, detail] if detail not in (7, 8):  # those two are of the sender's address
            return "hard"
        case [5, 2, 1] | [5, 4, 4]:  # disabled; no such domain
            return "hard"
        case [5, 4, 1] if _NOBODY.search(said):  # Exchange Online, of who is not in the directory
            return "hard"
        case [5, 0, 0] | []:
            if _NOBODY.search(said):
                return "hard"
            code = _SMTP.search(said)
            return "hard" if code and int(code[1]) in _HARD_CODES and not _BLOCKED.search(said) else "soft"
    return "soft"


def _blocks(part: Message) -> Iterator[Message]:
    """The groups of fields of a report, each as headers; however the part is encoded."""
    encoding = _field(part, "content-transfer-encoding").casefold()
    payload = part.get_payload()
    if isinstance(payload, list) and part.get_content_type() == "message/delivery-status" and encoding not in _ENCODED:
        yield from (block for block in payload if not isinstance(block, str))
        return
    raw = part.get_payload(decode=True)
    if not isinstance(raw, bytes):  # the parser took the fields for a message
        raw = part.as_bytes().replace(b"\r\n", b"\n").partition(b"\n\n")[2]
        if decode := _ENCODED.get(encoding):
            raw = decode(raw)
    for text in re.split(rb"\r?\n\s*\r?\n", raw.strip()):
        yield message_from_bytes(text + b"\n\n")


def _originals(mail: Message) -> Iterator[Message]:
    """The message that a report is about, or its headers."""
    for part in mail.walk():
        kind = part.get_content_type()
        if kind in ("message/rfc822", "message/global") and part.is_multipart():
            inner = part.get_payload(0)
            if not isinstance(inner, str):
                yield inner
        elif kind in ("text/rfc822-headers", "message/global-headers", "text/rfc822"):
            payload = part.get_payload(decode=True)
            if isinstance(payload, bytes):
                yield message_from_bytes(payload)
            elif isinstance(inner := part.get_payload(), list) and not isinstance(inner[0], str):
                yield inner[0]


def _before_original(mail: Message) -> str:
    """The words of the one who writes, without the message that came back."""
    for part in mail.walk():
        if part.get_content_maintype() == "text":
            text = _text(part)
            cut = re.search(
                r"^-{2,}.*(copy|original|returned|headers|below this line)", text, re.IGNORECASE | re.MULTILINE
            )
            return text[: cut.start()] if cut else text
    return ""


def _verp(mail: Message) -> list[str]:
    """Keys in the address that the report came to."""
    fields = ("to", "delivered-to", "x-original-to", "envelope-to", "x-envelope-to")
    values = " ".join(str(value) for name in fields for value in mail.get_all(name, []))
    return [key for key in _VERP.findall(values) if _KEY.fullmatch(key)]


def _text(part: Message) -> str:
    payload = part.get_payload(decode=True)
    if not isinstance(payload, bytes):
        return ""
    try:
        return payload.decode(part.get_content_charset() or "utf-8", "replace")
    except LookupError:  # a charset nobody knows
        return payload.decode("latin-1")


def _field(message: Message, name: str) -> str:
    """A header's value on one line; '' where there is none. Bytes beyond ASCII are replaced."""
    value = message.get(name)
    return "" if value is None else " ".join(str(value).split())


def _recipient(field: str) -> str:
    """`rfc822; Ana <ana@example.com>`, or without its type."""
    _, semicolon, rest = field.partition(";")
    return _address(rest if semicolon else field)


def _address(text: str) -> str:
    """The one address in a text, as it was written to (SRS and BATV taken off); '' where there is none."""
    found = [address for _, address in getaddresses([text.strip().strip('"')]) if "@" in address]
    address = (found or [""])[0].strip("<>'\" ")
    if len(address) > ADDRESS_CHARS_MAX or not address.isprintable() or " " in address:
        return ""
    local, _, domain = address.rpartition("@")
    if rewritten := re.fullmatch(r"SRS0[=+-][^=]+=[^=]+=([^=]+)=(.+)", local, re.IGNORECASE):
        return f"{rewritten[2]}@{rewritten[1]}"  # https://www.libsrs2.net/srs/srs.pdf
    if rewritten := re.fullmatch(r"prvs=[0-9a-f]{10}=(.+)|prvs=(.+)=[0-9a-f]{10}", local, re.IGNORECASE):
        return f"{rewritten[1] or rewritten[2]}@{domain}"  # BATV, draft-levine-smtp-batv
    return address


def _written_at(mail: Message) -> int | None:
    try:
        return int(parsedate_to_datetime(_field(mail, "date")).timestamp() * 1000)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def _one_line(text: str) -> str:
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def _excerpt(said: str) -> str:
    """The words around the code, of a long text."""
    found = _ENHANCED.search(said) or _SMTP.search(said) or _NOBODY.search(said) or _FULL.search(said)
    start = max(0, found.start() - 40) if found else 0
    return said[start : start + SAID_CHARS_MAX]
