"""Instants: wall-clock times of a zone as UTC milliseconds, also where clocks change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

_EPOCH, _LOCAL_EPOCH = datetime(1970, 1, 1, tzinfo=UTC), datetime(1970, 1, 1)  # noqa: DTZ001 - the second is local to any zone
_MS = timedelta(milliseconds=1)


def instant(moment: datetime, zone: ZoneInfo) -> int:
    """UTC milliseconds of a time; a local one is in `zone`: the first of two, and the first that exists where none does."""
    if moment.tzinfo is not None:
        return (moment - _EPOCH) // _MS
    before = _offset(zone, moment)
    after = _offset(zone, moment.replace(fold=1))
    if before < after:  # the clocks jumped over this time
        return _end_of_gap(moment, zone, before, after)
    return (moment - _LOCAL_EPOCH - before) // _MS


def _offset(zone: ZoneInfo, moment: datetime) -> timedelta:
    return zone.utcoffset(moment) or timedelta()


def _end_of_gap(moment: datetime, zone: ZoneInfo, before: timedelta, after: timedelta) -> int:
    # Read with the offset after the gap and the one before it, the time lands on either side; the change lies between.
    early = (moment - _LOCAL_EPOCH - after) // timedelta(seconds=1)
    late = (moment - _LOCAL_EPOCH - before) // timedelta(seconds=1)
    while late - early > 1:
        middle = (early + late) // 2
        if datetime.fromtimestamp(middle, zone).utcoffset() == after:
            late = middle
        else:
            early = middle
    return late * 1000
