"""What an SMTP server's words mean: whom a refusal concerns, and whether to try again."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowctl.channels.channel import Receipt, Scope

if TYPE_CHECKING:
    from flowctl.channels.channel import Outcome, Phase

OK_FROM, OK_TO = 200, 299
GO_AHEAD = 354
TEMPORARY_FROM, PERMANENT_FROM = 400, 500
CLOSING = 421
TOO_BIG = 552
# RFC 5321 §4.2.3: mailbox unavailable, not local, name not allowed. At RCPT they speak of the recipient.
_MAILBOX_CODES = (550, 551, 553)
# RFC 4954 §6 (530, 534, 535, 538: authenticate first, or better) and 554, which says nothing of the recipient.
_SENDER_CODES = (530, 534, 535, 538, 554)
_BEFORE_RECIPIENT = ("open", "connect", "tls", "login", "mail")
_ENHANCED = re.compile(r"\s*[245]\.(\d{1,3})\.(\d{1,3})(?!\d)")


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete reply: its code, and its text in one line."""

    code: int
    text: str

    def __str__(self) -> str:
        return f"{self.code} {self.text}".rstrip()


def judge(reply: Reply, phase: Phase) -> Receipt:
    """The receipt of a complete reply of 4xx or 5xx that ends an attempt in `phase`."""
    said = str(reply)
    if reply.code < PERMANENT_FROM:
        return Receipt(outcome="retry", reply=said, phase=phase, scope=_temporary_scope(reply, phase))
    scope = _permanent_scope(reply, phase)
    # What concerns the sender or the provider is no fault of the letter: it stays to be sent.
    outcome: Outcome = "failed" if scope in ("message", "address") else "retry"
    return Receipt(outcome=outcome, reply=said, phase=phase, scope=scope)


def _temporary_scope(reply: Reply, phase: Phase) -> Scope:
    subject, _ = _enhanced(reply)
    # 421 closes the line, 4.3.x is the mail system itself (RFC 3463 §3.4); before RCPT no recipient was named.
    if reply.code == CLOSING or phase in _BEFORE_RECIPIENT or subject == 3:  # noqa: PLR2004 - the class of RFC 3463
        return "provider"
    return "message"


def _permanent_scope(reply: Reply, phase: Phase) -> Scope:
    if phase in ("open", "connect", "tls"):
        return "provider"
    if phase == "login":
        return "sender"
    match _enhanced(reply):
        case (3, 4):
            return "message"  # message too big for system
        case (1, 7 | 8) | (7, _):
            return "sender"  # bad sender's address, policy
        case (1, _) | (2, 1) if phase != "mail":
            return "address"  # no such mailbox, or closed for good
        case (subject, _) if subject > 0 and phase != "mail":
            return "message"
    return _scope_of_code(reply.code, phase)


def _scope_of_code(code: int, phase: Phase) -> Scope:
    if phase == "mail":
        return "message" if code == TOO_BIG else "sender"
    if code in _SENDER_CODES:
        return "sender"
    return "address" if phase == "rcpt" and code in _MAILBOX_CODES else "message"


def _enhanced(reply: Reply) -> tuple[int, int]:
    """Subject and detail of an enhanced status code (RFC 3463), (0, 0) without one."""
    found = _ENHANCED.match(reply.text)
    return (int(found[1]), int(found[2])) if found else (0, 0)
