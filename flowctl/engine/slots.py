"""Weekly windows of local time: whether an instant lies in one, and the next that does."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from flowctl.engine.localtime import instant
from flowctl.language.times import DAYS

if TYPE_CHECKING:
    from flowctl.language.times import Slot

_LOOK_DAYS = 8  # a week, and the day on which the window that wraps midnight ends


@dataclass(frozen=True, kw_only=True, slots=True)
class Slots:
    """Days (0 = Monday) and minutes of the day; `until` is exclusive and may lie before `from_`: then it wraps midnight."""

    days: tuple[int, ...]
    from_: int = 0
    until: int = 24 * 60

    @classmethod
    def of(cls, slot: Slot) -> Slots:
        """From the language's model."""
        days = tuple(DAYS.index(day) for day in slot.days)
        if slot.between is None:
            return cls(days=days)
        start, end = slot.between
        return cls(days=days, from_=_minutes(start), until=_minutes(end) or 24 * 60)

    def to_json(self) -> list[Any]:
        """As JSON types."""
        return [list(self.days), self.from_, self.until]

    @classmethod
    def from_json(cls, said: list[Any]) -> Slots:
        """The opposite of `to_json`."""
        return cls(days=tuple(said[0]), from_=said[1], until=said[2])

    def next(self, at: int, zone: str) -> int:
        """The first instant in the window that is not before `at` (UTC ms); a wrapping window belongs to the day it begins."""
        local = datetime.fromtimestamp(at / 1000, UTC).astimezone(ZoneInfo(zone))
        for ahead in range(-1, _LOOK_DAYS):
            day = local.date() + timedelta(days=ahead)
            if day.weekday() not in self.days:
                continue
            begin = instant(datetime.combine(day, _clock(self.from_)), zone)
            last = day + timedelta(days=1) if self.until <= self.from_ or self.until == 24 * 60 else day
            end = instant(datetime.combine(last, _clock(self.until % (24 * 60))), zone)
            if at < end and begin < end:  # a window that the clocks jump over does not open that day
                return max(at, begin)
        return at  # no day at all: nothing to wait for


def _minutes(clock: time) -> int:
    return clock.hour * 60 + clock.minute


def _clock(minutes: int) -> time:
    return time(minutes // 60, minutes % 60)
