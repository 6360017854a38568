"""Spans of time as people write them: `30m`, `1h30`, `2 weeks`, `P1DT2H`, `3 jours`, `2 weken`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import core_schema

if TYPE_CHECKING:
    from pydantic.json_schema import JsonSchemaValue

MS_PER = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000}
DAY_MS = 86_400_000
# A month in elapsed time, where a window needs one: the mean Gregorian month.
MONTH_MS = 2_629_746_000

_UNITS: dict[str, str] = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds", "seconde", "secondes", "seconden"), "s"),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes", "minuut", "minuten"), "m"),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours", "heure", "heures", "uur", "uren"), "h"),
    **dict.fromkeys(("d", "day", "days", "j", "jour", "jours", "dag", "dagen"), "d"),
    **dict.fromkeys(("w", "week", "weeks", "sem", "semaine", "semaines", "weken"), "w"),
    **dict.fromkeys(("mo", "month", "months", "mois", "maand", "maanden"), "mo"),
    **dict.fromkeys(("y", "year", "years", "an", "ans", "année", "années", "annee", "annees", "jaar", "jaren"), "y"),
}
_PART = re.compile(r"(\d+(?:[.,]\d+)?)\s*([^\W\d_]+)?")
_ISO = re.compile(
    r"P(?:(?P<y>\d+)Y)?(?:(?P<mo>\d+)M)?(?:(?P<w>\d+)W)?(?:(?P<d>\d+)D)?"
    r"(?:T(?:(?P<h>\d+(?:\.\d+)?)H)?(?:(?P<m>\d+(?:\.\d+)?)M)?(?:(?P<s>\d+(?:\.\d+)?)S)?)?"
)
_LONGEST_DAYS = 36_600  # a century: what is longer is a slip of the hand


class NotADuration(ValueError):
    """The text is no duration."""


@dataclass(frozen=True, slots=True, order=True)
class Duration:
    """Months and days of the calendar, and elapsed milliseconds. All parts share one sign."""

    months: int = 0
    days: int = 0
    ms: int = 0

    @property
    def elapsed_ms(self) -> int:
        """As elapsed time, for windows: a day is 24 h, a month the mean month."""
        return self.months * MONTH_MS + self.days * DAY_MS + self.ms

    @property
    def shortest_ms(self) -> int:
        """The least it can last as calendar time: a day of a clock change has 23 h, February 28 days."""
        calendar = self.months * 28 * DAY_MS + self.days * DAY_MS
        return calendar - (3_600_000 if calendar else 0) + self.ms

    @property
    def is_calendar(self) -> bool:
        """Whether it counts local days rather than elapsed time."""
        return bool(self.months or self.days)

    def __neg__(self) -> Duration:
        return Duration(-self.months, -self.days, -self.ms)

    def __str__(self) -> str:
        sign = "-" if (self.months, self.days, self.ms) < (0, 0, 0) else ""
        ms = abs(self.ms)
        parts = [
            (abs(self.months), "mo"),
            (abs(self.days), "d"),
            (ms // 3_600_000, "h"),
            (ms // 60_000 % 60, "m"),
            (ms / 1000 % 60, "s"),
        ]
        return sign + ("".join(f"{n:g}{unit}" for n, unit in parts if n) or "0s")

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(
            lambda value: value if isinstance(value, cls) else parse(value),
            serialization=core_schema.plain_serializer_function_ser_schema(str),
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {
            "type": "string",
            "examples": ["30m", "2h", "3d", "2 weeks"],
            "description": "a duration: 30m, 2h, 1h30, 3d, 2 weeks",
        }


def parse(value: object) -> Duration:
    """Read a duration; a leading `+` or `-` gives its sign.

    Raises:
        NotADuration: with what was found and how to write one.
    """
    if not isinstance(value, str):
        raise NotADuration(_advice(value, "a number needs its unit" if isinstance(value, int | float) else ""))
    text = value.strip().lower()
    sign = -1 if text.startswith("-") else 1
    text = text.lstrip("+-").strip()
    found = _iso(text) if text.startswith("p") else _spoken(text, value)
    if found is None:
        raise NotADuration(_advice(value))
    if found.months * 31 + found.days + found.ms / DAY_MS > _LONGEST_DAYS:
        raise NotADuration(_advice(value, "longer than a century"))
    return -found if sign < 0 else found


def _iso(text: str) -> Duration | None:
    match = _ISO.fullmatch(text.upper())
    if not match or not any(match.groupdict().values()):
        return None
    part = {name: float(number or 0) for name, number in match.groupdict().items()}
    return Duration(
        months=int(part["y"] * 12 + part["mo"]),
        days=int(part["w"] * 7 + part["d"]),
        ms=round((part["h"] * 3600 + part["m"] * 60 + part["s"]) * 1000),
    )


def _spoken(text: str, value: str) -> Duration | None:
    months = days = ms = 0.0
    position, last = 0, ""
    if not text:
        return None
    for match in _PART.finditer(text):
        if text[position : match.start()].strip(" ,") or (
            match.start() == position and position and match[2] is None and last != "h"
        ):
            return None
        position = match.end()
        number = float(match[1].replace(",", "."))
        unit = _UNITS.get(match[2] or ("m" if last == "h" else ""))
        if unit is None:
            raise NotADuration(
                _advice(value, f"`{match[2]}` is no unit of time" if match[2] else "the unit is missing")
            )
        last = unit
        match unit:
            case "mo":
                months += number
            case "y":
                months += 12 * number
            case "d":
                days += number
            case "w":
                days += 7 * number
            case _:
                ms += number * MS_PER[unit]
    if text[position:].strip():
        return None
    if months % 1 or days % 1:
        raise NotADuration(_advice(value, "days, weeks and months are whole; write 12h rather than 0.5d"))
    return Duration(int(months), int(days), round(ms))


def _advice(value: object, why: str = "") -> str:
    return f"{value!r} is no duration{f': {why}' if why else ''}; write it like 30m, 2h, 1h30, 3d, 2 weeks or 6 months"


def _positive(duration: Duration) -> Duration:
    if duration < Duration():
        raise NotADuration(_advice(str(duration), "it must not be negative"))
    return duration


def _longer_than_nothing(duration: Duration) -> Duration:
    if duration <= Duration():
        raise NotADuration(_advice(str(duration), "it must be longer than nothing"))
    return duration


class _Check:
    """Runs a check on a read duration."""

    def __init__(self, check: Any) -> None:
        self.check = check

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))


Span = Annotated[Duration, _Check(_longer_than_nothing), Field(description="a duration longer than nothing")]
Wait = Annotated[Duration, _Check(_positive), Field(description="a duration")]
