"""`quiet_hours` compiled: what a release keeps of it for the gate, and what nobody can carry out."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from flowctl.engine.conditions.literal import identifier
from flowctl.language.opening_hours import DEFAULT, Window, subdivision_of, supported_countries
from flowctl.language.problem import Problem
from flowctl.language.settings import Hours
from flowctl.store.zones import country_of_zone

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from flowctl.project.project import Project

_DEPARTMENT = re.compile(r"(FR-)?(\d\d|2[AB])(\d{3})?")


def compiled(project: Project, channel_ids: Mapping[str, int], problems: list[Problem]) -> dict[str, Any] | None:
    """As a release keeps it: windows by channel and country, the country of those of whom none is known, SQL of a contact's region.

    The region is the field that a `subdivision:` names, else a text field called `subdivision` or `postal_code` where there is one.
    """
    settings = project.settings
    if not settings.quiet_hours:
        return None
    rules: dict[int, dict[str, list[Any]]] = {}
    fields: list[str] = []
    for channel, hours in settings.quiet_hours.items():
        by_country = {DEFAULT: hours} if isinstance(hours, Hours) else hours
        for country, said in by_country.items():
            problems += _unknown(country, said)
            if said.subdivision and said.subdivision.startswith("contact."):
                fields.append(said.subdivision.removeprefix("contact."))
        rules[channel_ids[channel]] = {country: Window.of(said).to_json() for country, said in by_country.items()}
    types = project.field_types
    fields += [name for name in ("subdivision", "postal_code") if types.get(name) == "text"]
    columns = [f"c.{identifier(name)}" for name in dict.fromkeys(fields) if name in types]
    closed = any(not window[3] for windows in rules.values() for window in windows.values())
    return {
        "rules": rules,
        "home": (settings.country or country_of_zone(settings.timezone) or "").upper() or None,
        "region": f"coalesce({', '.join(columns)}, '')" if closed and columns else None,
    }


def _unknown(country: str, said: Hours) -> Iterator[Problem]:
    """Holidays that nobody told us of: of a country, or of a part of it."""
    if said.holidays:
        return
    if country != DEFAULT and country not in supported_countries():
        message = f"the public holidays of `{country}` are not known"
        help_ = "leave `holidays: false` out there, or mend the country's code (ISO 3166-1)"
        yield Problem(
            code="RUN004", slug="unknown-holidays", message=message, place=said.place_of("holidays"), help=help_
        )
    elif said.subdivision and not said.subdivision.startswith("contact.") and country != DEFAULT:
        codes = supported_countries()[country]
        if codes and subdivision_of(country, said.subdivision) is None and not _plain(country, said.subdivision):
            message = f"`{said.subdivision}` is no part of `{country}` whose public holidays are known"
            help_ = f"there are {', '.join(codes)}"
            yield Problem(
                code="RUN004", slug="unknown-holidays", message=message, place=said.place_of("subdivision"), help=help_
            )


def _plain(country: str, code: str) -> bool:
    """A department of France without days of its own."""
    return country == "FR" and bool(_DEPARTMENT.fullmatch(code))
