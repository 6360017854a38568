"""The only reader of the clock."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime

from flowctl.failure import UsageFailure


def now() -> int:
    """UTC now in milliseconds, or what FLOWCTL_NOW says (ISO 8601, UTC where no offset is given, or milliseconds).

    Raises:
        UsageFailure: FLOWCTL_NOW is no time.
    """
    said = os.environ.get("FLOWCTL_NOW")
    return parse(said) if said else time.time_ns() // 1_000_000


def parse(said: str) -> int:
    """Milliseconds of an ISO 8601 time (UTC where no offset is given) or of a number of milliseconds."""
    if said.isdigit():
        return int(said)
    try:
        moment = datetime.fromisoformat(said)
    except ValueError:
        message = f"FLOWCTL_NOW={said!r} is no time"
        raise UsageFailure(message, help="write it as 2026-12-01T09:00:00Z") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp() * 1000)
