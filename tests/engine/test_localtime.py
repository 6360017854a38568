"""Local time: the reference against what the calendar says, and the set-based form against the reference."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, time, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowctl.engine.localtime import clock, due_sql, fill_due_ranges, instant, local_plus, refresh_zones
from flowctl.language.durations import Duration, parse
from flowctl.store.database import open_store

ZONES = ["Europe/Paris", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Apia", "UTC"]
YEAR_MS = 365 * 86_400_000


def ms(text: str) -> int:
    moment = datetime.fromisoformat(text)
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


@pytest.mark.parametrize(
    ("local", "zone", "expected"),
    [
        ("2026-07-01T09:00", "Europe/Paris", "2026-07-01T07:00+00:00"),
        ("2026-03-29T02:30", "Europe/Paris", "2026-03-29T01:00+00:00"),  # does not exist: 03:00
        ("2026-03-29T02:00", "Europe/Paris", "2026-03-29T01:00+00:00"),
        ("2026-03-29T03:00", "Europe/Paris", "2026-03-29T01:00+00:00"),
        ("2026-10-25T02:30", "Europe/Paris", "2026-10-25T00:30+00:00"),  # exists twice: the first
        ("2026-10-04T02:15", "Australia/Lord_Howe", "2026-10-03T15:30+00:00"),  # a gap of half an hour
        ("2011-12-30T12:00", "Pacific/Apia", "2011-12-30T10:00+00:00"),  # a day that never was
    ],
)
def test_local_times_become_instants(local, zone, expected):
    assert instant(datetime.fromisoformat(local), zone) == ms(expected)


@pytest.mark.parametrize(
    ("at", "zone", "span", "at_time", "expected"),
    [
        ("2026-03-28T12:00+01:00", "Europe/Paris", "1d", None, "2026-03-29T12:00+02:00"),  # 23 hours
        ("2026-03-28T12:00+01:00", "Europe/Paris", "24h", None, "2026-03-29T13:00+02:00"),
        ("2026-03-28T02:30+01:00", "Europe/Paris", "1d", None, "2026-03-29T03:00+02:00"),
        ("2026-10-24T02:30+02:00", "Europe/Paris", "1d", None, "2026-10-25T02:30+02:00"),
        ("2026-01-31T10:00+01:00", "Europe/Paris", "1 month", None, "2026-02-28T10:00+01:00"),
        ("2026-01-15T08:00+01:00", "Europe/Paris", "2d", "09:00", "2026-01-17T09:00+01:00"),
        ("2026-01-15T09:00+01:00", "Europe/Paris", "2d", "09:00", "2026-01-17T09:00+01:00"),
        ("2026-01-15T09:01+01:00", "Europe/Paris", "2d", "09:00", "2026-01-18T09:00+01:00"),
        ("2026-03-28T23:00+01:00", "Europe/Paris", "0h", "02:30", "2026-03-29T03:00+02:00"),
        # The second 02:30 of the day is no new 02:30.
        ("2026-10-25T02:45+02:00", "Europe/Paris", "0h", "02:30", "2026-10-26T02:30+01:00"),
        ("2026-01-15T09:00+01:00", "Europe/Paris", "1d2h", None, "2026-01-16T11:00+01:00"),
    ],
)
def test_spans_on_the_calendar(at, zone, span, at_time, expected):
    assert local_plus(ms(at), zone, parse(span), at_time) == ms(expected)


def test_the_clocks_of_every_zone(tmp_path):
    connection = open_store(tmp_path / "s.db", create=True).connection
    connection.execute("INSERT INTO zones VALUES (1, 'Europe/Paris'), (2, 'Asia/Kolkata')")
    refresh_zones(connection, ms("2026-12-31T19:00"))
    assert connection.execute("SELECT * FROM zone_now").fetchall() == [
        (1, "2026-12-31", 3, 20 * 60, 3_600_000),
        (2, "2027-01-01", 4, 30, 19_800_000),
    ]
    refresh_zones(connection, ms("2027-01-01T00:00"))
    assert connection.execute("SELECT today FROM zone_now").fetchall() == [("2027-01-01",)] * 2
    assert clock(ms("2026-12-31T19:00"), "Asia/Kolkata").weekday == 4


SPANS = st.builds(
    Duration,
    st.sampled_from([0, 0, 0, 1, 6]),
    st.integers(0, 40),
    st.sampled_from([0, 0, 3_600_000, 5_400_000, 1, 86_400_000]),
)
TIMES = st.sampled_from([None, None, time(9), time(2, 30), time(0), time(2), time(23, 59)])
# Around clock changes and anywhere.
CHANGES = [
    ms(day)
    for day in (
        "2026-03-29",
        "2026-10-25",
        "2026-03-08",
        "2026-11-01",
        "2026-04-05",
        "2026-10-04",
        "2011-12-30",
        "2011-03-27",
    )
]
STARTS = st.one_of(
    st.integers(ms("2008-01-01"), ms("2030-01-01")),
    st.builds(
        lambda change, back: change - back,
        st.sampled_from(CHANGES),
        st.integers(-3, 45).map(lambda day: day * 86_400_000),
    ),
)


@settings(max_examples=120, deadline=None)
@given(start=STARTS, width=st.integers(0, 3 * 86_400_000), span=SPANS, at_time=TIMES, data=st.data())
def test_ranges_say_what_the_reference_says(start, width, span, at_time, data):
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE zones (id INTEGER PRIMARY KEY, name TEXT)")
    connection.execute("CREATE TABLE contacts (id INTEGER PRIMARY KEY, _zone INTEGER)")
    connection.execute("CREATE TABLE work (contact_id INTEGER, at INTEGER)")
    connection.executemany("INSERT INTO zones VALUES (?, ?)", enumerate(ZONES))
    connection.executemany("INSERT INTO contacts VALUES (?, ?)", [*((n, n) for n in range(len(ZONES))), (99, None)])
    steps = data.draw(st.lists(st.integers(0, width), min_size=1, max_size=12))
    quarters = [quarter * 900_000 - start % 900_000 for quarter in range(1, width // 900_000 + 1)]
    times = sorted(
        {start + step for step in [0, width, *steps, *quarters, *(q - 1 for q in quarters)] if 0 <= step <= width}
    )
    connection.executemany(
        "INSERT INTO work VALUES (?, ?)", [(n, at) for n in [*range(len(ZONES)), 99] for at in times]
    )
    fill_due_ranges(connection, duration=span, time=at_time, zone=0, from_at=start, to_at=start + width)
    rows = connection.execute(f"SELECT w.contact_id, w.at, {due_sql(0)} FROM work w").fetchall()
    connection.close()
    for number, at, due in rows:
        zone = ZONES[number if number < len(ZONES) else 0]
        assert due == local_plus(at, zone, span, at_time), (zone, datetime.fromtimestamp(at / 1000, UTC), span, at_time)
        assert due >= at + span.ms or span.is_calendar


def test_a_row_costs_little(tmp_path):
    """The plan: a probe of the ranges a row, and one of the contact."""
    connection = open_store(tmp_path / "s.db", create=True).connection
    connection.execute("INSERT INTO zones VALUES (1, 'Europe/Paris')")
    connection.execute(
        "CREATE TEMP TABLE work (eid INTEGER PRIMARY KEY, contact_id INTEGER, at INTEGER, until_at INTEGER)"
    )
    fill_due_ranges(connection, duration=parse("2d"), time="09:00", zone=1, from_at=0, to_at=86_400_000)
    plan = [
        row[3]
        for row in connection.execute(
            f"EXPLAIN QUERY PLAN UPDATE work AS w SET until_at = {due_sql(1)} WHERE w.eid > 3"
        )
    ]
    assert any("SEARCH r USING PRIMARY KEY (zone=? AND from_at<?)" in line for line in plan), plan
    assert any("SEARCH c USING INTEGER PRIMARY KEY" in line for line in plan), plan


def test_an_unknown_zone_is_our_mistake(tmp_path):
    connection = open_store(tmp_path / "s.db", create=True).connection
    with pytest.raises(KeyError, match="zone 7"):
        fill_due_ranges(connection, duration=parse("2d"), time=None, zone=7, from_at=0, to_at=1)


def test_days_count_by_wall_time_for_years():
    at = ms("2026-01-15T08:00")
    for days in range(0, 800, 7):
        local = datetime.fromtimestamp(local_plus(at, "America/New_York", Duration(days=days)) / 1000, UTC)
        assert local.hour in (7, 8)
        assert abs(local - datetime.fromtimestamp(at / 1000, UTC) - timedelta(days=days)) <= timedelta(hours=1)
