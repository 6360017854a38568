"""A channel that only remembers: what `simulate`, `test` and our own tests send through."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from flowctl.channels.channel import FENCED, Commit, Letter, Receipt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

ACCEPTED = Receipt(outcome="sent", reply="250 recorded", phase="body")
_BEFORE_COMMIT = ("open", "connect", "tls", "login", "mail", "rcpt")


class RecordingChannel:
    """Keeps what left in `transmitted`, in order, and every letter it was handed in `asked`.

    Without a script everything is accepted. `script` is either receipts, used one a letter and then no more, or a
    function of the letter; a receipt of a safe phase means that nothing left and `commit` was not asked.
    """

    inline = True  # answers at once and never blocks: a caller needs no threads for it

    def __init__(self, script: Iterable[Receipt] | Callable[[Letter], Receipt] = (), *, connections: int = 1) -> None:
        self._answer = script if callable(script) else None
        self._script = iter(()) if callable(script) else iter(script)
        self._lock = threading.Lock()
        self._connections = connections
        self.asked: list[Letter] = []
        self.transmitted: list[Letter] = []

    @property
    def connections(self) -> int:
        """How many connections may be open at once."""
        return self._connections

    def open(self) -> RecordingChannel:
        """Itself: it serves any number of threads."""
        return self

    def transmit(self, letter: Letter, commit: Commit) -> Receipt:
        """Remember a letter, and answer as the script says."""
        with self._lock:
            self.asked.append(letter)
            receipt = self._answer(letter) if self._answer else next(self._script, ACCEPTED)
        if receipt.phase in _BEFORE_COMMIT:
            return receipt
        if receipt.fenced or not commit():
            return FENCED
        if receipt.outcome in ("sent", "in_doubt"):
            with self._lock:
                self.transmitted.append(letter)
        return receipt

    def close(self) -> None:
        """Nothing to close."""
