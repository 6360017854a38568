"""Local times and calendar patterns: `09:00`, `2026-12-24T09:00`, `mon-fri`, `1 per 16h`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo, available_timezones

from pydantic import BeforeValidator, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, WithJsonSchema
from pydantic_core import core_schema

from flowctl.language.durations import Duration, parse
from flowctl.language.model import Model

if TYPE_CHECKING:
    from pydantic.json_schema import JsonSchemaValue

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_TIME = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")
_RATE = re.compile(r"\s*(\d+)\s*(?:per|par|/)\s*(.+)")


def _local_time(value: object) -> time:
    match = _TIME.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        message = f'{value!r} is no time of day; write it like "09:00", hours 00 to 23'
        raise ValueError(message)
    return time(int(match[1]), int(match[2]))


def _end_time(value: object) -> time:
    return time() if value == "24:00" else _local_time(value)


def _local_moment(value: object) -> datetime:
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value.replace(" ", "T", 1))
        except ValueError:
            pass
        else:
            if moment.tzinfo is None:
                return moment
            message = f"{value!r} has an offset; leave it out: the time is local to `timezone`"
            raise ValueError(message)
    message = f"{value!r} is no date and time; write it like 2026-12-24T09:00"
    raise ValueError(message)


def _local_date(value: object) -> date:
    try:
        return date.fromisoformat(value if isinstance(value, str) else "")
    except ValueError:
        message = f"{value!r} is no date; write it like 2026-12-24"
        raise ValueError(message) from None


def _zone(value: object) -> str:
    try:
        ZoneInfo(value if isinstance(value, str) else "")
    except (KeyError, ValueError, OSError):
        near = sorted(
            zone
            for zone in available_timezones()
            if zone.rpartition("/")[2].lower() == str(value).lower() and "/" in zone
        )
        message = f"{value!r} is no time zone; write it like {near[0] if near else 'Europe/Paris'}"
        raise ValueError(message) from None
    return str(value)


LocalTime = Annotated[
    time,
    BeforeValidator(_local_time),
    WithJsonSchema({"type": "string", "pattern": _TIME.pattern, "examples": ["09:00"]}),
]
"""A wall-clock time of day, without zone."""
LocalMoment = Annotated[
    datetime, BeforeValidator(_local_moment), WithJsonSchema({"type": "string", "examples": ["2026-12-24T09:00"]})
]
"""A wall-clock date and time, without zone: which zone is the context's."""
LocalDate = Annotated[
    date, BeforeValidator(_local_date), WithJsonSchema({"type": "string", "format": "date", "examples": ["2026-12-24"]})
]
Zone = Annotated[str, BeforeValidator(_zone), WithJsonSchema({"type": "string", "examples": ["Europe/Paris"]})]
"""An IANA zone name."""


def _days(value: object) -> tuple[str, ...]:
    items = value if isinstance(value, list) else str(value).replace(" ", "").split(",")
    chosen: set[int] = set()
    for item in items:
        first, _, last = str(item).lower().partition("-")
        if first not in DAYS or (last and last not in DAYS):
            message = f"{item!r} names no days; write mon-fri, sat, or [mon, wed]"
            raise ValueError(message)
        start, end = DAYS.index(first), DAYS.index(last or first)
        chosen |= {day % 7 for day in range(start, end + 1 if end >= start else end + 8)}
    if not chosen:
        message = "there is no day in it; write mon-fri, sat, or [mon, wed]"
        raise ValueError(message)
    return tuple(day for index, day in enumerate(DAYS) if index in chosen)


Days = Annotated[
    tuple[str, ...],
    BeforeValidator(_days),
    WithJsonSchema(
        {"oneOf": [{"type": "string"}, {"type": "array", "items": {"enum": list(DAYS)}}], "examples": ["mon-fri"]}
    ),
]
"""Days of the week, in order from mon."""

EndTime = Annotated[
    time,
    BeforeValidator(_end_time),
    WithJsonSchema({"type": "string", "pattern": rf"{_TIME.pattern}|24:00", "examples": ["18:00"]}),
]
"""The end of a range: midnight may be written 24:00."""
TimeRange = Annotated[
    tuple[LocalTime, EndTime],
    BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value),
    Field(examples=[["09:00", "18:00"]], description="from, until (exclusive); may wrap midnight"),
]


class Slot(Model):
    """A weekly window of local time."""

    days: Days = DAYS
    between: TimeRange | None = None


@dataclass(frozen=True, slots=True)
class Rate:
    """So many per window of elapsed time: `3 per 7d`."""

    count: int
    per: Duration

    def __str__(self) -> str:
        return f"{self.count} per {self.per}"

    @classmethod
    def read(cls, value: object) -> Rate:
        """Read `3 per 7d`."""
        match = _RATE.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            message = f"{value!r} is no rate; write it like 3 per 7d"
            raise ValueError(message)
        span = match[2] if match[2][0].isdigit() else f"1{match[2]}"
        return cls(int(match[1]), parse(span))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(
            lambda value: value if isinstance(value, cls) else cls.read(value),
            serialization=core_schema.plain_serializer_function_ser_schema(str),
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"type": "string", "pattern": r"^\d+ per .+$", "examples": ["3 per 7d"]}
