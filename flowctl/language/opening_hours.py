"""When marketing may leave: the windows of `quiet_hours` as instants, with public holidays and clock changes; no SQL, no clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar
from zoneinfo import ZoneInfo

from flowctl.language.instants import instant

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from flowctl.language.settings import Hours

DEFAULT = "default"  # the rule of countries that have none of their own
DAY_MINUTES = 24 * 60
_POSTAL_DIGITS = 5
_DAY = timedelta(days=1)
# French law and hours hold there too, in the zone and with the holidays of the place: a number such as +590 says GP, not FR.
_OVERSEAS = dict.fromkeys(("BL", "GF", "GP", "MF", "MQ", "NC", "PF", "PM", "RE", "TF", "WF", "YT"), "FR")
# Departments and territories of France as the library `holidays` knows them: Alsace is one, Moselle another; both keep Good Friday
# and 26 December (Code du travail, L3134-13). Elsewhere in France all departments keep the same days.
_FRENCH = {
    "67": "6AE",
    "68": "6AE",
    "975": "PM",
    "977": "BL",
    "978": "MF",
    "984": "TF",
    "986": "WF",
    "987": "PF",
    "988": "NC",
}

_Rule = TypeVar("_Rule")


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """Days (0 = Monday) and minutes of the day. `until` is exclusive; where it is not after `from_`, the window wraps midnight.

    `holidays` False: none begins on a public holiday. `subdivision` is the code of a region, for all contacts of the country.
    """

    days: tuple[int, ...] = tuple(range(7))
    from_: int = 0
    until: int = DAY_MINUTES
    holidays: bool = True
    subdivision: str | None = None

    @classmethod
    def of(cls, hours: Hours) -> Window:
        """From the language's model; a subdivision that is a field is the caller's to read."""
        from flowctl.language.times import DAYS  # noqa: PLC0415 - pydantic, which a tick does without

        start, end = (_minutes(clock) for clock in hours.between) if hours.between else (0, DAY_MINUTES)
        said = hours.subdivision
        return cls(
            days=tuple(DAYS.index(day) for day in hours.days),
            from_=start,
            until=end or DAY_MINUTES,
            holidays=hours.holidays,
            subdivision=None if said is None or said.startswith("contact.") else said,
        )

    def to_json(self) -> list[Any]:
        """As JSON types."""
        return [list(self.days), self.from_, self.until, self.holidays, self.subdivision]

    @classmethod
    def from_json(cls, said: list[Any]) -> Window:
        """The opposite of `to_json`."""
        days, from_, until, holidays, subdivision = said
        return cls(days=tuple(days), from_=from_, until=until, holidays=holidays, subdivision=subdivision)


@dataclass(frozen=True, kw_only=True, slots=True)
class Opening:
    """From one instant (UTC ms) until another, exclusive."""

    start: int
    end: int


def rule_for(rules: Mapping[str, _Rule], country: str | None) -> _Rule | None:
    """The rule of a country (ISO 3166-1 alpha-2), of the one that it is overseas of, or the default; None: it is free."""
    for name in (country, _OVERSEAS.get(country or ""), DEFAULT):
        if name is not None and name in rules:
            return rules[name]
    return None


@lru_cache(maxsize=4096)
def openings(
    window: Window, zone: str, country: str | None, subdivision: str | None, first: date, days: int
) -> tuple[Opening, ...]:
    """What a window opens on so many local days from `first` on, in order; openings that touch are one.

    A window belongs to the day on which it begins, its hours after midnight too. On a day whose clocks jump over it, it does not open;
    a time that the clocks show twice is the first. `subdivision` is the contact's; the window's own goes before it.

    Raises:
        ZoneInfoNotFoundError: there is no such zone.
    """
    info = ZoneInfo(zone)
    found: list[Opening] = []
    for ahead in range(days):
        day = first + ahead * _DAY
        if day.weekday() not in window.days or (not window.holidays and _closed(day, country, window, subdivision)):
            continue
        last = day + _DAY if window.until <= window.from_ or window.until == DAY_MINUTES else day
        start, end = _at(day, window.from_, info), _at(last, window.until % DAY_MINUTES, info)
        if found and start <= found[-1].end:
            found[-1] = Opening(start=found[-1].start, end=max(end, found[-1].end))
        elif start < end:
            found.append(Opening(start=start, end=end))
    return tuple(found)


def opening_at(at: int, among: Sequence[Opening]) -> Opening | None:
    """The opening that an instant (UTC ms) lies in, else the next one; None where none of these follows."""
    return next((opening for opening in among if at < opening.end), None)


def local_day(at: int, zone: str) -> date:
    """The date that the calendars of a zone show at an instant (UTC ms)."""
    return datetime.fromtimestamp(at / 1000, UTC).astimezone(ZoneInfo(zone)).date()


@lru_cache(maxsize=1024)
def public_holidays(country: str, subdivision: str | None, year: int) -> frozenset[date]:
    """The public holidays of a year, by the library `holidays`; none of a country that it does not know."""
    import holidays  # noqa: PLC0415 - 60 ms, and 130 for the first country: only where a window is closed on holidays

    if country not in supported_countries():
        return frozenset()
    return frozenset(holidays.country_holidays(country, subdiv=subdivision_of(country, subdivision), years=year))


@lru_cache(maxsize=1)
def supported_countries() -> Mapping[str, Sequence[str]]:
    """The countries whose public holidays are known, with the codes of their subdivisions."""
    import holidays  # noqa: PLC0415 - the same

    return holidays.list_supported_countries()


@lru_cache(maxsize=50_000)
def subdivision_of(country: str, said: str | None) -> str | None:
    """The code by which `holidays` knows a subdivision; None where it keeps no days of its own, or is unknown.

    `57`, `FR-57` and the French postal code `57000` are Moselle; elsewhere it is the code of ISO 3166-2, with or without the country's.
    """
    if said is None or country not in supported_countries():
        return None
    code = said.strip().upper().removeprefix(f"{country}-")
    if country == "FR":
        if len(code) == _POSTAL_DIGITS and code.isdecimal():
            code = code[:3] if code.startswith(("97", "98")) else code[:2]
        code = _FRENCH.get(code, code)
    return code if code in supported_countries()[country] else None


def _closed(day: date, country: str | None, window: Window, subdivision: str | None) -> bool:
    return country is not None and day in public_holidays(country, window.subdivision or subdivision, day.year)


def _minutes(clock: time) -> int:
    return clock.hour * 60 + clock.minute


def _at(day: date, minutes: int, info: ZoneInfo) -> int:
    return instant(datetime.combine(day, time(minutes // 60, minutes % 60)), info)
