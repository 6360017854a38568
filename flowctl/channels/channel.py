"""What every channel speaks: a letter goes in, a receipt says what became of it.

A channel is shaped like SMTP, and an HTTP provider fits the same shape:

    safe phase          connect, TLS, login, MAIL, RCPT, DATA    build the request, connect, TLS
    commit()            blocks until `transmitting` is durable   the same
    point of no return  the text, the server's reply             first request byte … the response

(DATA says nothing of the letter: a server that gets no text and no dot has nothing to deliver. Where MAIL, RCPT and DATA cannot
go in one journey, DATA comes after the commit, so that a letter that is not to leave costs no connection.)

so that whatever happens, it is known whether the letter can have left. `transmit` returns a receipt for everything the
outside world can do; only what `commit` raises comes out of it, with nothing transmitted.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, NamedTuple, Protocol
from urllib.parse import quote

Outcome = Literal["sent", "retry", "failed", "in_doubt"]
Scope = Literal["message", "address", "sender", "provider"]
Phase = Literal["open", "connect", "tls", "login", "mail", "rcpt", "commit", "data", "body"]
Commit = Callable[[], bool]

REPLY_CHARS_MAX = 500
_SCOPES: dict[Outcome, tuple[Scope, ...]] = {
    "sent": ("message",),
    "in_doubt": ("message",),
    "failed": ("message", "address"),
    "retry": ("message", "sender", "provider"),
}
_DISGUISED_CHARS_MIN = 6  # shorter pieces of base64 say nothing, and would be found by chance


class Letter(NamedTuple):
    """One message, ready to leave: built, addressed, and the same on every attempt.

    A tuple, where other nouns are dataclasses: one is made for every message, in the process that builds and in the one that sends.
    """

    key: str  # idempotency key
    message_id: str  # RFC 5322, with its angle brackets; '' where the channel has none
    channel: str
    sender: str  # envelope sender
    recipient: str
    payload: bytes | dict[str, Any]  # RFC 5322 bytes with CRLF for e-mail; a mapping elsewhere
    marketing: bool = True
    wired: bool = False  # e-mail: its addresses are known to be as they go over the wire, its lines to end in CRLF, the last one too
    undotted: bool = False  # e-mail: no line is known to begin with a dot

    def __repr__(self) -> str:
        """Without the payload: it is somebody's."""
        said = ", ".join(f"{name}={getattr(self, name)!r}" for name in self._fields if name != "payload")
        return f"Letter({said})"


@dataclass(frozen=True, kw_only=True, slots=True)
class Receipt:
    """What became of one attempt.

    `outcome` says what to do with the letter; `scope` whom it concerns:

    sent      message                       the server accepted it
    failed    message | address             refused for good; `address`: never write to it again
    in_doubt  message                       it may have left
    retry     message                       later, and it counts as an attempt; it may have left where `may_have_left` says so
    retry     sender | provider             not this letter's fault: costs no attempt and opens the breaker

    Phase `commit` with `retry` means fenced: another worker owns the letter, so nothing is to be written about it.
    """

    outcome: Outcome
    reply: str  # what the provider said, one line, without secrets
    phase: Phase
    scope: Scope = "message"
    retry_after_s: float | None = None
    may_have_left: bool = (
        False  # with `retry`: the provider knows the letter again by its key, so that it can be asked again
    )

    def __post_init__(self) -> None:
        if self.scope not in _SCOPES[self.outcome]:
            message = f"a receipt cannot be {self.outcome} with scope {self.scope}"
            raise ValueError(message)

    @property
    def opens_breaker(self) -> bool:
        """Whether nothing more should be handed to this provider for now."""
        return self.scope in ("sender", "provider")

    @property
    def fenced(self) -> bool:
        """Whether commit said that another worker owns the letter."""
        return self.phase == "commit"


class Connection(Protocol):
    """One line to a provider, used by one thread at a time; it connects when it is first used and again when lost."""

    def transmit(self, letter: Letter, commit: Commit) -> Receipt:
        """Send a letter; `commit` is called at most once, after the safe phase and before anything of it leaves.

        If it returns False or raises, nothing is transmitted and the connection stays usable; what it raises comes out.
        """

    def close(self) -> None:
        """Say goodbye; never raises, and may be called again."""


class Channel(Protocol):
    """A provider with its settings."""

    @property
    def connections(self) -> int:
        """How many connections may be open at once."""

    def open(self) -> Connection:
        """A connection that is yet to connect; does no I/O."""


FENCED = Receipt(outcome="retry", reply="taken over by another worker; nothing was transmitted", phase="commit")


def one_line(text: str, *secrets: str | None) -> str:
    """A provider's words as one short line, control characters and secrets taken out."""
    for secret in secrets:
        if secret:
            for spelling in _spellings(secret):
                text = text.replace(spelling, "***")
    if not text.isprintable():
        text = "".join(char if char.isprintable() else " " for char in text)
    line = " ".join(text.split())
    return line if len(line) <= REPLY_CHARS_MAX else line[: REPLY_CHARS_MAX - 1] + "…"


@lru_cache(maxsize=64)
def _spellings(secret: str) -> tuple[str, ...]:
    """A secret as it is, percent-encoded, and what of it base64 shows wherever it stands: servers repeat what they were told."""
    data = secret.encode("utf-8", "replace")
    # A reply is read line by line: where the secret holds a line's end, so is what repeats it.
    found = [
        secret,
        quote(secret, safe=""),
        *(part for part in secret.splitlines() if len(part) >= _DISGUISED_CHARS_MIN),
    ]
    for before in range(3):
        shown = b64encode(b"\0" * before + data).decode().rstrip("=")
        # The first character after the bytes before, and the last one, are of neighbouring bytes too.
        inner = shown[(0, 2, 3)[before] : len(shown) - ((before + len(data)) % 3 > 0)]
        found += [inner] if len(inner) >= _DISGUISED_CHARS_MIN else []
    return tuple(dict.fromkeys(found))
