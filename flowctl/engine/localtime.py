"""Local time: what a span means on the calendar of a zone, for one instant and, as ranges to join, for a million."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

DAY_MS = 86_400_000
HOUR_MS = 3_600_000
# Two changes of one zone's clocks were never closer than days; offsets lie within 26 hours of each other.
SAMPLE_MS = 6 * HOUR_MS
MARGIN_MS = 2 * DAY_MS
MONTHS = 12
MINUTE_MS = 60_000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LOCAL_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - the zero of local milliseconds
_MS = timedelta(milliseconds=1)

ZONES = """
CREATE TEMP TABLE IF NOT EXISTS zone_now (
  zone INTEGER PRIMARY KEY, today TEXT NOT NULL, weekday INTEGER NOT NULL, minute INTEGER NOT NULL, offset_ms INTEGER NOT NULL
)
"""
RANGES = """
CREATE TEMP TABLE IF NOT EXISTS due_range (
  zone INTEGER NOT NULL, from_at INTEGER NOT NULL, to_at INTEGER NOT NULL, shift INTEGER, due INTEGER, PRIMARY KEY (zone, from_at)
) WITHOUT ROWID
"""


class Span(Protocol):
    """Months and days of the calendar, and elapsed milliseconds: a `Duration` of the language, or what a program stores of one."""

    @property
    def months(self) -> int:
        """Calendar months."""

    @property
    def days(self) -> int:
        """Calendar days."""

    @property
    def ms(self) -> int:
        """Elapsed time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Clock:
    """What the clocks of a zone show at an instant."""

    today: str  # ISO date
    weekday: int  # 0 = Monday
    minute: int  # since midnight
    offset_ms: int  # local time minus UTC


@dataclass(frozen=True, kw_only=True, slots=True)
class Range:
    """Instants `from_at` to `to_at`, both inclusive, that are due alike: at `due`, or `shift` after themselves."""

    from_at: int
    to_at: int
    shift: int | None = None
    due: int | None = None


def instant(local: datetime, zone: str) -> int:
    """UTC milliseconds of a local time: the first of two, and the first that exists where none does.

    Raises:
        ZoneInfoNotFoundError: there is no such zone.
    """
    info = ZoneInfo(zone)
    moment = _ms_of(local.replace(tzinfo=info, fold=0))
    if _local_ms(moment, info) == (local.replace(tzinfo=None) - _LOCAL_EPOCH) // _MS:
        return moment
    # Read with the offset before the gap it lands behind it, and before it with the one after: the change lies between.
    early = _ms_of(local.replace(tzinfo=info, fold=1))
    return _change(info, early, moment)


def local_plus(at: int, zone: str, span: Span, at_time: time | str | None = None) -> int:
    """An instant plus a span: months and days keep the wall time in the zone, then the elapsed part is added.

    With `at_time`, the first such local time that is at least so far away. Months that are too short give their last day.
    """
    due = at
    if span.months or span.days:
        local = _local(at, ZoneInfo(zone))
        day = plus_months(local.date(), span.months) + timedelta(days=span.days)
        due = instant(datetime.combine(day, local.time()), zone)
    due += span.ms
    if at_time is None:
        return due
    clock = _time(at_time)
    day = _local(due, ZoneInfo(zone)).date() - timedelta(days=1)
    while (found := instant(datetime.combine(day, clock), zone)) < due:
        day += timedelta(days=1)
    return found


def clock(at: int, zone: str) -> Clock:
    """What the clocks of a zone show."""
    info = ZoneInfo(zone)
    local = _local(at, info)
    return Clock(
        today=local.date().isoformat(),
        weekday=local.weekday(),
        minute=local.hour * 60 + local.minute,
        offset_ms=_offset(at, info),
    )


def zones(connection: sqlite3.Connection) -> list[tuple[int, str]]:
    """The zones of the store: number and name."""
    return connection.execute("SELECT id, name FROM zones").fetchall()


def refresh_zones(connection: sqlite3.Connection, now: int) -> None:
    """Fill the temporary table `zone_now` for every zone of the store; conditions read local days and hours there."""
    connection.execute(ZONES)
    connection.execute("DELETE FROM zone_now")
    shown = ((number, clock(now, name)) for number, name in zones(connection))
    connection.executemany(
        "INSERT INTO zone_now (zone, today, weekday, minute, offset_ms) VALUES (?, ?, ?, ?, ?)",
        ((number, face.today, face.weekday, face.minute, face.offset_ms) for number, face in shown),
    )


def fill_due_ranges(
    connection: sqlite3.Connection, *, duration: Span, time: time | str | None, zone: int, from_at: int, to_at: int
) -> None:
    """Fill the temporary table `due_range`: for each zone, when an instant of `from_at` to `to_at` plus the span is due.

    `zone` is that of contacts without one. `due_sql` reads it. Exactly `local_plus`, also across clock changes.
    """
    connection.execute(RANGES)
    connection.execute("DELETE FROM due_range")
    known = zones(connection)
    if zone not in {number for number, _ in known}:
        message = f"zone {zone} is not in the store"
        raise KeyError(message)
    # Whole days are asked for, so that the slices and batches of one day share an answer.
    first, last = from_at // DAY_MS, to_at // DAY_MS
    asked = (duration.months, duration.days, duration.ms, None if time is None else _time(time), first, last)
    connection.executemany(
        "INSERT INTO due_range (zone, from_at, to_at, shift, due) VALUES (?, ?, ?, ?, ?)",
        (
            (number, part.from_at, part.to_at, part.shift, part.due)
            for number, name in known
            for part in _ranges(name, *asked)
        ),
    )


def due_sql(zone: int, since: str = "w.at") -> str:
    """SQL of when a row of `w` (columns `contact_id` and `at`, or where else it counts from) is due, by `due_range`."""
    here = f"(SELECT coalesce(c._zone, {zone:d}) FROM contacts c WHERE c.id = w.contact_id)"
    return (
        f"(SELECT coalesce(r.due, {since} + r.shift) FROM due_range r WHERE r.zone = {here} AND r.from_at <= {since} "
        "ORDER BY r.from_at DESC LIMIT 1)"
    )


@lru_cache(maxsize=4096)
def _ranges(
    zone: str, months: int, days: int, ms: int, at_time: time | None, first: int, last: int
) -> tuple[Range, ...]:
    info = ZoneInfo(zone)
    plain = _plain_ranges(info, months, days, ms, first * DAY_MS, (last + 1) * DAY_MS - 1)
    if at_time is None:
        return tuple(plain)
    return tuple(part for span in plain for part in _at_time(zone, info, span, at_time))


def _plain_ranges(info: ZoneInfo, months: int, days: int, ms: int, from_at: int, to_at: int) -> Iterator[Range]:
    """Stretches without a time of day."""
    if not (months or days):
        yield Range(from_at=from_at, to_at=to_at, shift=ms)
        return
    for start, end in _stretches(info, from_at, to_at, by_day=bool(months)):
        offset = _offset(start, info)
        day = _local(start, info).date()
        moved = (plus_months(day, months) + timedelta(days=days) - day).days * DAY_MS
        # Wall times count like instants here, from a zero of their own.
        for part in _instants(info, start + offset + moved, end + offset + moved):
            back = offset + moved
            shift = None if part.shift is None else part.shift + back + ms
            due = None if part.due is None else part.due + ms
            yield Range(from_at=part.from_at - back, to_at=part.to_at - back, shift=shift, due=due)


def _stretches(info: ZoneInfo, from_at: int, to_at: int, *, by_day: bool) -> Iterator[tuple[int, int]]:
    """Stretches of instants with one offset, and within one local day where asked; ends inclusive."""
    cuts = {change for change, _, _ in _changes(info, from_at, to_at)}
    if by_day:
        day = _local(from_at, info).date()
        while (midnight := instant(datetime.combine(day, time()), info.key)) <= to_at:
            cuts.add(midnight)
            day += timedelta(days=1)
    starts = sorted({from_at, *(cut for cut in cuts if from_at < cut <= to_at)})
    yield from zip(starts, [*(start - 1 for start in starts[1:]), to_at], strict=True)


def _instants(info: ZoneInfo, from_local: int, to_local: int) -> Iterator[Range]:
    """What instants the wall times of a stretch are: `shift` away from them, or all `due` at the end of a gap."""
    first = from_local - MARGIN_MS
    offset = _offset(first, info)
    start = first
    for change, before, after in _changes(info, first, to_local + MARGIN_MS):
        yield from _cut(Range(from_at=start, to_at=change + before - 1, shift=-offset), from_local, to_local)
        start = change + before
        if after > before:
            yield from _cut(Range(from_at=start, to_at=change + after - 1, due=change), from_local, to_local)
            start = change + after
        offset = after
    yield from _cut(Range(from_at=start, to_at=to_local, shift=-offset), from_local, to_local)


def _cut(part: Range, from_at: int, to_at: int) -> Iterator[Range]:
    start, end = max(part.from_at, from_at), min(part.to_at, to_at)
    if start <= end:
        yield Range(from_at=start, to_at=end, shift=part.shift, due=part.due)


def _at_time(zone: str, info: ZoneInfo, span: Range, at_time: time) -> Iterator[Range]:
    """A stretch divided by which day's time of day is the first that is far enough away."""
    earliest = span.due if span.due is not None else span.from_at + (span.shift or 0)
    latest = span.due if span.due is not None else span.to_at + (span.shift or 0)
    day = _local(earliest, info).date() - timedelta(days=1)
    times = [instant(datetime.combine(day, at_time), zone)]
    while times[-1] < latest:
        day += timedelta(days=1)
        times.append(instant(datetime.combine(day, at_time), zone))
    if span.shift is None:
        yield Range(from_at=span.from_at, to_at=span.to_at, due=times[bisect_left(times, earliest)])
        return
    start = span.from_at
    for due in times[bisect_left(times, earliest) :]:
        end = min(due - span.shift, span.to_at)
        if start <= end:
            yield Range(from_at=start, to_at=end, due=due)
            start = end + 1


def _changes(info: ZoneInfo, from_at: int, to_at: int) -> Iterator[tuple[int, int, int]]:
    """The instants in `(from_at, to_at]` from which on a zone's clocks show another offset: instant, offset before, after."""
    at, before = from_at, _offset(from_at, info)
    while at < to_at:
        later = min(at + SAMPLE_MS, to_at)
        after = _offset(later, info)
        if after != before:
            yield _change(info, at, later), before, after
        at, before = later, after


def _change(info: ZoneInfo, early: int, late: int) -> int:
    """The instant in `(early, late]` at which the offset becomes that of `late`."""
    after = _offset(late, info)
    while late - early > 1:
        middle = (early + late) // 2
        if _offset(middle, info) == after:
            late = middle
        else:
            early = middle
    return late


def plus_months(day: date, months: int) -> date:
    """The same day so many months on (or back); months that are too short give their last day."""
    if not months:
        return day
    year, month = divmod(day.year * MONTHS + day.month - 1 + months, MONTHS)
    following = date(year + (month + 1) // MONTHS, (month + 1) % MONTHS + 1, 1)
    last = (following - timedelta(days=1)).day
    return date(year, month + 1, min(day.day, last))


def _time(said: time | str) -> time:
    return time.fromisoformat(said) if isinstance(said, str) else said


def _local(at: int, info: ZoneInfo) -> datetime:
    return (_EPOCH + timedelta(milliseconds=at)).astimezone(info)


def _local_ms(at: int, info: ZoneInfo) -> int:
    return (_local(at, info).replace(tzinfo=None) - _LOCAL_EPOCH) // _MS


def _offset(at: int, info: ZoneInfo) -> int:
    return (_local(at, info).utcoffset() or timedelta()) // _MS


def _ms_of(moment: datetime) -> int:
    return (moment.astimezone(UTC) - _EPOCH) // _MS
