"""Time zones: which one a contact lives in, as far as its timezone, phone or country says without doubt."""

from __future__ import annotations

import zoneinfo
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

# Two zones whose clocks agreed on every Monday of these years are one to us: Busingen is no reason to doubt Germany.
COMPARED_FROM = datetime(2020, 1, 6, tzinfo=UTC)
COMPARED_WEEKS = 15 * 52


@lru_cache(maxsize=1)
def countries() -> Mapping[str, tuple[str, ...]]:
    """The zones of each country (ISO 3166-1 alpha-2), by the time zone database's zone.tab, else by phone prefixes."""
    for folder in zoneinfo.TZPATH:
        try:
            return _read_table((Path(folder) / "zone.tab").read_text(encoding="utf-8"))
        except OSError:
            continue
    return _countries_by_phone()


def _read_table(text: str) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            country, _, zone, *_ = line.split("\t")
            found[country] = (*found.get(country, ()), zone)
    return found


def _countries_by_phone() -> dict[str, tuple[str, ...]]:
    import phonenumbers  # noqa: PLC0415 - where no system tells the zones
    from phonenumbers.timezone import time_zones_for_geographical_number as zones  # noqa: PLC0415

    samples = {region: phonenumbers.example_number(region) for region in phonenumbers.SUPPORTED_REGIONS}
    return {region: tuple(zones(number)) for region, number in samples.items() if number}


@lru_cache(maxsize=1024)
def sole_zone(zones: Sequence[str]) -> str | None:
    """The one zone of these, or the first where their clocks agree; None where they do not or where there is none."""
    if len(zones) <= 1:
        return zones[0] if zones else None
    try:
        clocks = [zoneinfo.ZoneInfo(name) for name in zones]
    except (KeyError, ValueError, OSError):
        return None
    instants = [COMPARED_FROM + timedelta(weeks=week) for week in range(COMPARED_WEEKS)]
    first, *others = ([moment.astimezone(clock).utcoffset() for moment in instants] for clock in clocks)
    return zones[0] if all(other == first for other in others) else None


def zone_of(timezone: str | None, phone: str | None, country: str | None) -> str | None:
    """A contact's zone: its `timezone`, else the phone prefix's, else the country's where there is one; else None."""
    if timezone:
        return timezone
    if phone and (zone := _zone_of_phone(phone)):
        return zone
    return sole_zone(countries().get(country, ())) if country else None


@lru_cache(maxsize=50_000)
def _zone_of_phone(phone: str) -> str | None:
    import phonenumbers  # noqa: PLC0415 - 24 ms, only where there are phone numbers
    from phonenumbers.timezone import time_zones_for_number  # noqa: PLC0415

    try:
        zones = tuple(time_zones_for_number(phonenumbers.parse(phone)))
    except phonenumbers.NumberParseException:
        return None
    return None if "Etc/Unknown" in zones else sole_zone(zones)


@lru_cache(maxsize=50_000)
def country_of_phone(phone: str) -> str | None:
    """The country of a number in E.164, the main one of its prefix where the number tells no more; None where it belongs to none."""
    import phonenumbers  # noqa: PLC0415 - likewise

    try:
        number = phonenumbers.parse(phone)
    except phonenumbers.NumberParseException:
        return None
    region = phonenumbers.region_code_for_number(number)
    if region is None and number.country_code is not None:
        region = phonenumbers.region_code_for_country_code(number.country_code)
    return region if region is not None and region.isalpha() and region != "ZZ" else None


def country_of_zone(name: str) -> str | None:
    """The country whose table lists this zone first to be found; None for UTC and the like."""
    return next((country for country, zones in countries().items() if name in zones), None)


def zone_id(connection: sqlite3.Connection, name: str) -> int:
    """The number of a zone, given one if it has none; inside a write transaction."""
    row = connection.execute("SELECT id FROM zones WHERE name = ?", (name,)).fetchone()
    if row is None:
        row = connection.execute("INSERT INTO zones (name) VALUES (?) RETURNING id", (name,)).fetchone()
    number: int = row[0]
    return number
