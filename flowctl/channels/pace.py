"""How fast a provider may be spoken to: one clock shared by all connections of a channel."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# After a pause at most a tenth of a second's letters leave at once, so that a provider's own counter sees no burst.
CATCH_UP_S = 0.1


class Pace:
    """Hands out turns, `per_s` of them a second, in order of asking.

    A turn is reserved under a lock and then waited for, so that threads never race for it. `monotonic` and `sleep`
    count seconds and can be replaced in tests.
    """

    def __init__(
        self,
        per_s: float | None,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._gap_s = 1 / per_s if per_s else 0.0
        self._monotonic = monotonic
        self._sleep = sleep
        self._lock = threading.Lock()
        self._next_at: float | None = None  # seconds of the monotonic clock

    def wait(self) -> None:
        """Block until it is the caller's turn."""
        if (seconds := self.turn()) > 0:
            self.sleep(seconds)

    @property
    def is_free(self) -> bool:
        """Whether a turn taken now need not be waited for."""
        return not self._gap_s or self._next_at is None or self._next_at <= self._monotonic()

    def sleep(self, seconds: float) -> None:
        """Block for so long."""
        self._sleep(seconds)

    def turn(self) -> float:
        """Take the next turn; returns in how many seconds it is."""
        if not self._gap_s:
            return 0.0
        with self._lock:
            at = self._monotonic()
            turn = at if self._next_at is None else max(self._next_at, at - CATCH_UP_S)
            self._next_at = turn + self._gap_s
        return max(0.0, turn - at)
