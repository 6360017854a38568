"""The claimed chunks of one pass over the outbox: one after the other, or several of them as one stream for a channel.

Between two chunks the connections would run empty, and the processes that render have nothing to do. So whoever sends a
chunk takes the next one while the last letters of this one are under way, where it is for the same channel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flowctl.engine.claims import Claim


class Chunks:
    """`judged` claims the next chunk when it is asked for one."""

    def __init__(self, judged: Iterator[list[Claim]]) -> None:
        self._judged = judged
        self._kept: list[Claim] | None = None  # claimed ahead, and not for the channel that was asked for

    def __iter__(self) -> Iterator[list[Claim]]:
        """Each chunk that nobody took ahead."""
        while (claims := self._next()) is not None:
            yield claims

    def following(self, channel: str, *, fits: Callable[[Claim], bool]) -> Iterator[list[Claim]]:
        """Further chunks, as long as all in them are for one channel and fit; to be asked outside of transactions."""
        while (claims := self._next()) is not None:
            if not all(claim.channel == channel and fits(claim) for claim in claims):
                self._kept = claims
                return
            yield claims

    def _next(self) -> list[Claim] | None:
        kept, self._kept = self._kept, None
        return kept if kept is not None else next(self._judged, None)
