"""When marketing may leave: days, midnight, clock changes, public holidays, Alsace and Moselle."""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest

from flowctl.language.opening_hours import Window, opening_at, openings, rule_for, subdivision_of
from flowctl.language.settings import Settings


def window(**said) -> Window:
    return Window.of(Settings.model_validate({"project": "x", "quiet_hours": {"sms": said}}).quiet_hours["sms"])


def shown(said: Window, first: str, days: int, *, zone="Europe/Paris", country="FR", region=None) -> list[str]:
    """Openings as local times, with the offset where it matters."""
    found = openings(said, zone, country, region, date.fromisoformat(first), days)
    return [
        " to ".join(
            datetime.fromtimestamp(at / 1000, UTC).astimezone(ZoneInfo(zone)).strftime("%a %d %H:%M")
            for at in (each.start, each.end)
        )
        for each in found
    ]


def test_days_and_hours():
    said = window(days="mon-sat", between=["10:00", "20:00"])
    assert shown(said, "2026-03-06", 4) == [
        "Fri 06 10:00 to Fri 06 20:00",
        "Sat 07 10:00 to Sat 07 20:00",
        "Mon 09 10:00 to Mon 09 20:00",
    ]


def test_the_hours_after_midnight_belong_to_the_day_on_which_the_window_began():
    said = window(days="fri", between=["22:00", "06:00"])
    assert shown(said, "2026-03-02", 7) == ["Fri 06 22:00 to Sat 07 06:00"]


def test_24_00_is_midnight_and_touching_openings_are_one():
    assert shown(window(between=["20:00", "24:00"]), "2026-03-02", 1) == ["Mon 02 20:00 to Tue 03 00:00"]
    assert shown(window(days="sat,sun"), "2026-03-02", 14) == [
        "Sat 07 00:00 to Mon 09 00:00",
        "Sat 14 00:00 to Mon 16 00:00",
    ]
    assert shown(window(between=["10:00", "10:00"]), "2026-03-02", 2) == ["Mon 02 10:00 to Wed 04 10:00"]


def test_a_window_that_the_clocks_jump_over_does_not_open():
    # On 29 March 2026 Paris goes from 02:00 to 03:00.
    assert shown(window(between=["02:10", "02:50"]), "2026-03-28", 3) == [
        "Sat 28 02:10 to Sat 28 02:50",
        "Mon 30 02:10 to Mon 30 02:50",
    ]
    assert shown(window(between=["02:30", "04:00"]), "2026-03-29", 1) == ["Sun 29 03:00 to Sun 29 04:00"]
    (night,) = openings(window(between=["01:00", "04:00"]), "Europe/Paris", "FR", None, date(2026, 3, 29), 1)
    assert (night.end - night.start) / 3_600_000 == 2
    (night,) = openings(window(between=["01:00", "04:00"]), "Europe/Paris", "FR", None, date(2026, 10, 25), 1)
    assert (night.end - night.start) / 3_600_000 == 4


def test_no_window_begins_on_a_public_holiday():
    said = window(between=["10:00", "20:00"], holidays=False)
    # 6 April 2026 is Easter Monday.
    assert shown(said, "2026-04-05", 3) == ["Sun 05 10:00 to Sun 05 20:00", "Tue 07 10:00 to Tue 07 20:00"]
    assert len(shown(window(between=["10:00", "20:00"]), "2026-04-05", 3)) == 3
    wraps = window(between=["22:00", "02:00"], holidays=False)
    assert shown(wraps, "2026-04-05", 2) == ["Sun 05 22:00 to Mon 06 02:00"]


@pytest.mark.parametrize("region", ["57", "67", "68", "FR-57", "67000", "68100", "57000"])
def test_alsace_and_moselle_keep_good_friday_and_26_december(region):
    said = window(holidays=False)
    for day in ("2026-04-03", "2026-12-26"):
        assert shown(said, day, 1, region=region) == []
        assert shown(said, day, 1, region="75002") != []
        assert shown(said, day, 1) != []
    assert shown(window(holidays=False, subdivision=region), "2026-04-03", 1) == []


def test_the_holidays_are_those_of_the_country():
    said = window(holidays=False)
    assert shown(said, "2026-07-14", 1) == []
    assert shown(said, "2026-07-14", 1, country="BE", zone="Europe/Brussels") != []
    assert shown(said, "2026-07-21", 1, country="BE", zone="Europe/Brussels") == []
    assert shown(said, "2026-01-06", 1, country="DE", zone="Europe/Berlin", region="DE-BY") == []
    assert shown(said, "2026-01-06", 1, country="DE", zone="Europe/Berlin") != []
    assert shown(said, "2026-07-14", 1, country=None) != []


def test_departments_overseas_follow_france_with_their_own_holidays():
    rules = {"FR": "strict", "default": "free"}
    assert rule_for(rules, "FR") == rule_for(rules, "GP") == "strict"
    assert rule_for(rules, "BE") == rule_for(rules, None) == "free"
    assert rule_for({"FR": "strict"}, "BE") is None
    assert rule_for({**rules, "GP": "own"}, "GP") == "own"
    # 27 May: the abolition of slavery, in Guadeloupe.
    assert shown(window(holidays=False), "2026-05-27", 1, country="GP", zone="America/Guadeloupe") == []
    assert subdivision_of("FR", "97110") == "971"
    assert subdivision_of("FR", "2A004") is None


def test_the_opening_at_an_instant_or_the_next():
    found = openings(window(between=["10:00", "20:00"]), "Europe/Paris", "FR", None, date(2026, 3, 2), 2)
    first, second = found
    assert opening_at(first.start - 1, found) == opening_at(first.end - 1, found) == first
    assert opening_at(first.end, found) == second
    assert opening_at(second.end, found) is None
