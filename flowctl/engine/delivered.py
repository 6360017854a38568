"""What one tick's delivering did."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flowctl.engine.backlog import Backlog


@dataclass(kw_only=True)
class Delivered:
    """What delivering did."""

    sent: int = 0
    held: int = 0
    skipped: int = 0
    retried: int = 0
    failed: int = 0
    in_doubt: int = 0
    refusals: dict[str, str] = field(default_factory=dict)  # channel → what its provider said
    backlog: Backlog | None = None  # marketing that did not leave because far more is due than usual
    cancelled: int = 0  # their journeys ended or went elsewhere

    @property
    def settled(self) -> int:
        """How many enrollments may go on."""
        return self.sent + self.skipped + self.failed + self.in_doubt + self.cancelled
