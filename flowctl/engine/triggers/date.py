"""`{date: birthday, every: year, offset: -7d, time: "09:00"}`: a date field comes round, in the contact's zone."""

from __future__ import annotations

import calendar
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from flowctl.engine.conditions.literal import identifier, literal
from flowctl.engine.localtime import MONTHS, instant, plus_months, zones
from flowctl.language.durations import DAY_MS
from flowctl.language.triggers import DateTrigger

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.engine.compiler import Compiler
    from flowctl.engine.runtime import Entrance
    from flowctl.engine.triggers import Look
    from flowctl.language.triggers import Trigger

_FEBRUARY, _LEAP_DAY = 2, 29


def compiled(trigger: Trigger, compiler: Compiler, index: int) -> dict[str, Any]:
    """The field, the period, the offset in months and days, the time of day."""
    assert isinstance(trigger, DateTrigger)  # noqa: S101 - the kind says so
    found = compiler.project.field_types[trigger.date]
    if found != "date":
        compiler.refuse(trigger, f"`{trigger.date}` is of type {found}; a `date` trigger follows a date field", "date")
    offset = trigger.offset
    if offset.ms:
        compiler.refuse(trigger, f"an `offset` counts whole days or months, like -7d; found {offset}", "offset")
    return {
        "field": trigger.date,
        "every": trigger.every,
        "offset": [offset.months, offset.days],
        "time": trigger.time.isoformat("minutes"),
        "zone": compiler.scope.zone,
        "max_age_ms": trigger.max_event_age.elapsed_ms,
    }


def collect(look: Look, entrance: Entrance, said: dict[str, Any]) -> int:
    """For each zone, the local days whose time of day lies in the slice; for each of them, whose date it is."""
    clock = time.fromisoformat(said["time"])
    if not look.horizon.strikes(clock, look.t0, look.t1):
        return 0
    posted = 0
    for number, name in zones(look.connection):
        for day, at in _days(look.t0, look.t1, name, clock):
            if at > look.t1 - said["max_age_ms"]:
                for date_ in _before(day, *said["offset"]):
                    posted += _of_day(look, entrance, said, number, date_, at)
    return posted


def _before(day: date, months: int, days: int) -> list[date]:
    """The dates that an offset carries to a day: none, or several where months of unlike lengths meet."""
    day -= timedelta(days=days)
    if not months:
        return [day]
    year, month = divmod(day.year * MONTHS + day.month - 1 - months, MONTHS)
    length = calendar.monthrange(year, month + 1)[1]
    dates = (date(year, month + 1, number) for number in range(1, length + 1))
    return [found for found in dates if plus_months(found, months) == day]


def _days(t0: int, t1: int, zone: str, clock: time) -> Iterator[tuple[date, int]]:
    """Local days with the instant of a time of day, where it lies after `t0` and not after `t1`."""
    day = datetime.fromtimestamp(t0 / 1000, UTC).astimezone(ZoneInfo(zone)).date() - timedelta(days=1)
    for _ in range((t1 - t0) // DAY_MS + 4):
        at = instant(datetime.combine(day, clock), zone)
        if t0 < at <= t1:
            yield day, at
        day += timedelta(days=1)


def _of_day(look: Look, entrance: Entrance, said: dict[str, Any], zone: int, day: date, at: int) -> int:
    column = f"c.{identifier(said['field'])}"
    return look.post(
        entrance,
        f"SELECT c.id AS contact_id, :at AS at, 'date:' || :field || ':' || :day AS cause, json_object('date', {column}, 'at', :at) AS trigger "
        f"FROM contacts c WHERE {_falls(column, said['every'], day)} AND coalesce(c._zone, {said['zone']:d}) = :zone",
        at=at,
        field=said["field"],
        day=day.isoformat(),
        zone=zone,
    )


def _falls(column: str, every: str | None, day: date) -> str:
    """SQL of the dates that come round on a day. A period starts after the date itself; a day that a month lacks is its last."""
    if every is None:
        return f"{column} = {literal(day.isoformat())}"
    later = f"{column} < {literal(day.isoformat())}"
    last = calendar.monthrange(day.year, day.month)[1]
    match every:
        case "year":
            days = [day.isoformat()[5:]]
            if day.month == _FEBRUARY and day.day == last < _LEAP_DAY:
                days.append("02-29")
            return f"substr({column}, 6) IN ({', '.join(map(literal, days))}) AND {later}"
        case "month":
            test = f">= {day.day}" if day.day == last else f"= {day.day}"
            return f"CAST(substr({column}, 9) AS INTEGER) {test} AND {later}"
        case _:
            return f"strftime('%w', {column}) = {literal(str(day.isoweekday() % 7))} AND {later}"
