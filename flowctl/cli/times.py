"""Times as people and programs read them."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo


def local(at: int | None, zone: str) -> str:
    """UTC milliseconds as `1997-03-18 09:00` in a zone; '' for None."""
    return "" if at is None else _moment(at).astimezone(ZoneInfo(zone)).strftime("%Y-%m-%d %H:%M")


def iso(at: int | None) -> str | None:
    """UTC milliseconds as `1997-03-18T14:00:00Z`, fractions only where there are any."""
    if at is None:
        return None
    spec = "milliseconds" if at % 1000 else "seconds"
    return _moment(at).isoformat(timespec=spec).replace("+00:00", "Z")


def _moment(at: int) -> datetime:
    return datetime.fromtimestamp(at / 1000, UTC)
