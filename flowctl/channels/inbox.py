"""A channel into the store itself: messages shown in the app or on the site wait there until the owner's program fetches them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from flowctl.channels.channel import FENCED, Commit, Letter, Receipt

if TYPE_CHECKING:
    from collections.abc import Mapping


class Shelf(Protocol):
    """Where messages are put: the store's table, seen through what a channel needs of it."""

    def put(self, channel: str, key: str, content: Mapping[str, object]) -> str:
        """Put a message under its key, once; empty, or why it cannot be put."""


class InboxChannel:
    """Puts messages on a shelf, in the caller's thread and transaction."""

    inline = True  # it writes where the engine writes, so that what it says and what the outbox says are one commit

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    def __repr__(self) -> str:
        return "InboxChannel()"

    @property
    def connections(self) -> int:
        """One: it is the store's own."""
        return 1

    def open(self) -> InboxChannel:
        """Itself: there is no line to open."""
        return self

    def transmit(self, letter: Letter, commit: Commit) -> Receipt:
        """Put a message where the app looks; the same key is one message."""
        if not isinstance(letter.payload, dict):
            return Receipt(outcome="failed", reply="an inbox takes no e-mail", phase="open")
        if not commit():
            return FENCED
        fault = self._shelf.put(letter.channel, letter.key, letter.payload)
        if fault:
            return Receipt(outcome="failed", reply=fault, phase="body")
        return Receipt(outcome="sent", reply="in the inbox", phase="body")

    def reach(self) -> str:
        """Nothing stands in the way: it is the store itself."""
        return ""

    def close(self) -> None:
        """Nothing is held open."""
