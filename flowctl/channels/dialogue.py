"""What the sending of one letter over a line needs from whoever holds the line: the words of a `Dialogue`, which does no I/O itself."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, NamedTuple

from flowctl.channels.channel import Receipt


class Talk(NamedTuple):
    """Say this, and wait for one complete reply."""

    data: bytes  # none where the reply to something said before is wanted
    timeout_s: float
    leads: bool = False  # the first words for the next letter may follow in the same breath


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait for the channel's pace."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Connect:
    """Have `SmtpConnection.connect` called, which takes its time."""


@dataclass(frozen=True, slots=True)
class Leave:
    """Ask whether the letter may leave: the answer is true once that is durable."""


CONNECT, LEAVE = Connect(), Leave()
Wish = Talk | Pause | Connect | Leave
Dialogue = Generator[Wish, Any, Receipt]
"""The sending of one letter: yields what it needs, is sent the answer (a `Reply` to Talk, a bool to Leave), or thrown what went wrong."""
