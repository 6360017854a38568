"""A year and two months on the clocks of Paris, New York and Kolkata: both clock changes, 29 February, month ends, late ticks."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from flowctl.clock import parse
from flowctl.engine.compiled import CHANNELS
from flowctl.engine.tick import tick
from flowctl.failure import Failure
from flowctl.report.audit import audit
from tests.engine.world import DAY, HOUR, SETTINGS, World, workflow

BEGIN, END = parse("2027-01-01T12:00:00Z"), parse("2028-03-04T12:00:00Z")
ZONES = {"paris": "Europe/Paris", "newyork": "America/New_York", "kolkata": "Asia/Kolkata"}
NIGHT = time(2, 30)  # in Paris and New York it does not exist on one Sunday and comes twice on another
CHANGES = {
    "paris": (date(2027, 3, 28), date(2027, 10, 31)),
    "newyork": (date(2027, 3, 14), date(2027, 11, 7)),
}
NIGHTLY = workflow(
    "nightly", steps='- repeat: {every: 1m, max: 999}\n  steps: [{wait: 1m, time: "02:30"}, {add: {visits: 1}}]'
)
DAILY = workflow("daily", steps="- repeat: {every: 1d, max: 999}\n  steps: [{add: {visits: 1}}]")
SLOTS = workflow(
    "slots",
    steps="""
- repeat: {every: 1m, max: 999}
  steps:
    - wait_until: {slot: {days: mon-sun, between: ["02:30", "03:15"]}}
    - add: {visits: 1}
    - wait: 3h
""",
)
CRONS = tuple(
    workflow(
        key,
        triggers='[{schedule: "30 2 * * *"}]',
        audience="{field: first_name, is: Ana}",
        timezone=zone,
        reentry="{after: 1m}",
        steps="- exit: done",
    )
    for key, zone in ZONES.items()
)
DATES = tuple(
    workflow(
        every,
        triggers=f'[{{date: due_date, every: {every}, time: "02:30"}}]',
        reentry="{after: 1m}",
        steps="- exit: done",
    )
    for every in ("week", "month", "year")
)


SUNDAYS = {(date(2027, 1, 3) + timedelta(weeks=week)).isoformat() for week in range(62)}


@cache
def first_instant(day: date, clock: time, zone: str) -> int:
    """The first minute at which the clocks show this time or a later one: whatever they jump over, and whatever they show twice."""
    wanted = datetime.combine(day, clock)
    minute = datetime.combine(day, clock, UTC) - timedelta(hours=15)
    info = ZoneInfo(zone)
    while minute.astimezone(info).replace(tzinfo=None) < wanted:
        minute += timedelta(minutes=1)
    return int(minute.timestamp() * 1000)


def days(begin: int = BEGIN, end: int = END) -> list[date]:
    first = datetime.fromtimestamp(begin / 1000, UTC).date()
    return [first + timedelta(days=ahead) for ahead in range((end - begin) // DAY + 2)]


def nights(zone: str, begin: int = BEGIN, end: int = END) -> list[int]:
    """02:30 of every local day between two instants."""
    every = (first_instant(day, NIGHT, zone) for day in days(begin, end))
    return [at for at in every if begin < at <= end]


def local(at: int, key: str) -> str:
    """What the contact's clocks show: `2027-03-28 03:00`."""
    return f"{datetime.fromtimestamp(at / 1000, UTC).astimezone(ZoneInfo(ZONES[key])):%Y-%m-%d %H:%M}"


def world(*texts: str, due: str | None = None, begin: int = BEGIN) -> World:
    """The three contacts, signed up at once."""
    made = World(*texts, now=begin)
    for key, zone in ZONES.items():
        made.contact(key, timezone=zone, first_name="Ana", due_date=due)
        made.event(key, "signup", begin + 1)
    return made


def run(made: World, every: int, end: int = END) -> World:
    """Ticks after every so many milliseconds, and one at the end."""
    for now in [*range(made.now + every, end, every), end]:
        made.now = now
        tick(made.store, now=now, channels=dict.fromkeys(CHANNELS, made.channel))
    assert audit(made.store, now=end).differences == ()
    return made


def turns(made: World, name: str, key: str) -> list[int]:
    """When the steps of a workflow added to the count."""
    rows = made.connection.execute(
        "SELECT j.at FROM journal j JOIN journal_kinds k ON k.id = j.kind JOIN workflow_versions v ON v.id = j.version_id "
        "WHERE k.name = 'added' AND v.workflow = ? AND j.contact_id = ? ORDER BY j.at",
        (name, made.id_of(key)),
    )
    return [at for (at,) in rows]


def entries(made: World, name: str, key: str) -> list[int]:
    rows = made.connection.execute(
        "SELECT entered_at FROM enrollments WHERE workflow = ? AND contact_id = ? ORDER BY entered_at",
        (name, made.id_of(key)),
    )
    return [at for (at,) in rows]


# ------------------------------------------------------------------------------------------------------- once a local date


def test_what_goes_by_local_time_comes_once_a_local_date_at_the_first_instant_there_is():
    """Waits with a time, slots, schedules, dates; due dates on Sundays, as the changes are."""
    made = run(world(NIGHTLY, SLOTS, *CRONS, *DATES, due="2026-12-27"), 5 * DAY)
    for key, zone in ZONES.items():
        assert turns(made, "nightly", key) == nights(zone)
        assert turns(made, "slots", key) == nights(zone)
        assert entries(made, key, "paris") == nights(zone)
        assert entries(made, "week", key) == [at for at in nights(zone) if local(at, key)[:10] in SUNDAYS]
        assert [local(at, key)[:10] for at in entries(made, "year", key)] == ["2027-12-27"]
        assert [local(at, key)[8:10] for at in entries(made, "month", key)] == ["27"] * 14
    for key, (spring, autumn) in CHANGES.items():
        seen = [local(at, key) for at in turns(made, "nightly", key)]
        assert f"{spring} 03:00" in seen
        assert f"{spring} 02:30" not in seen
        assert seen.count(f"{autumn} 02:30") == 1


def test_a_day_between_turns_is_one_of_the_calendar():
    made = run(world(DAILY), 20 * DAY)
    for key in ZONES:
        assert [local(at, key)[11:] for at in turns(made, "daily", key)] == [local(BEGIN, key)[11:]] * 428


DUE = {  # the date, in which years and on which days of the months from January 2027 on it comes round
    "2024-02-29": (["2027-02-28", "2028-02-29"], "29 28 29 29 29 29 29 29 29 29 29 29 29 29"),
    "2023-02-28": (["2027-02-28", "2028-02-28"], "28 28 28 28 28 28 28 28 28 28 28 28 28 28"),
    "2026-12-31": (["2027-12-31"], "31 28 31 30 31 30 31 31 30 31 30 31 31 29"),
}


def test_29_february_and_month_ends():
    made = world(*DATES[1:])
    for due in DUE:
        for key, zone in ZONES.items():
            made.contact(f"{key} {due}", timezone=zone, due_date=due)
    run(made, 30 * DAY)
    for due, (years, months) in DUE.items():
        for key in ZONES:
            assert [local(at, key)[:10] for at in entries(made, "year", f"{key} {due}")] == years
            assert " ".join(local(at, key)[8:10] for at in entries(made, "month", f"{key} {due}")) == months


@pytest.mark.parametrize(
    ("start", "wait", "end"),
    [
        ("2027-01-31T10:00", "1 month", "2027-02-28 10:00"),
        ("2027-12-31T10:00", "2 months", "2028-02-29 10:00"),
        ("2027-03-31T10:00", "1 month", "2027-04-30 10:00"),
        ("2027-08-31T10:00", "6 months", "2028-02-29 10:00"),
    ],
)
def test_a_month_after_the_last_day_of_one(start, wait, end):
    for key, zone in ZONES.items():
        begin = int(datetime.fromisoformat(start).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)
        made = World(workflow("w", steps=f"- wait: {wait}\n- add: {{visits: 1}}"), now=begin - DAY)
        made.contact(key, timezone=zone)
        made.event(key, "signup", begin)
        run(made, 30 * DAY, begin + 240 * DAY)
        assert [local(at, key) for at in turns(made, "w", key)] == [end]


# ------------------------------------------------------------------------------------------------- the days of the changes


@pytest.mark.parametrize(
    ("key", "start", "wait", "end"),
    [
        ("paris", "2027-03-27 12:00", "24h", "2027-03-28 13:00"),
        ("paris", "2027-03-27 12:00", "1d", "2027-03-28 12:00"),
        ("paris", "2027-10-30 12:00", "24h", "2027-10-31 11:00"),
        ("paris", "2027-10-30 12:00", "1d", "2027-10-31 12:00"),
        ("newyork", "2027-03-13 12:00", "24h", "2027-03-14 13:00"),
        ("newyork", "2027-03-13 12:00", "1d", "2027-03-14 12:00"),
        ("newyork", "2027-11-06 12:00", "24h", "2027-11-07 11:00"),
        ("newyork", "2027-11-06 12:00", "1d", "2027-11-07 12:00"),
        ("kolkata", "2027-03-27 12:00", "24h", "2027-03-28 12:00"),
        ("kolkata", "2027-03-27 12:00", "1d", "2027-03-28 12:00"),
        # A day after a time that the next day lacks, or has twice.
        ("paris", "2027-03-27 02:30", "1d", "2027-03-28 03:00"),
        ("paris", "2027-10-30 02:30", "1d", "2027-10-31 02:30"),
        ("newyork", "2027-03-13 02:30", "1d", "2027-03-14 03:00"),
        ("newyork", "2027-11-06 01:30", "1d", "2027-11-07 01:30"),
        # Two days over the change land on the wall time again.
        ("paris", "2027-03-27 02:30", "2d", "2027-03-29 02:30"),
    ],
)
def test_a_day_keeps_the_wall_time_and_24_hours_pass(key, start, wait, end):
    begin = int(datetime.fromisoformat(start).replace(tzinfo=ZoneInfo(ZONES[key])).timestamp() * 1000)
    made = World(
        workflow("w", steps=f"- wait: {wait}\n- add: {{visits: 1}}"),
        workflow("f", steps=f"- wait_for: {{event: purchase}}\n  timeout: {wait}\n- add: {{visits: 1}}"),
        now=begin - DAY,
    )
    made.contact(key, timezone=ZONES[key])
    made.event(key, "signup", begin)
    run(made, DAY, begin + 4 * DAY)
    for name in "wf":
        (at,) = turns(made, name, key)
        assert local(at, key) == end
        first = first_instant(date.fromisoformat(end[:10]), time.fromisoformat(end[11:]), ZONES[key])
        assert at == first


@pytest.mark.parametrize(("key", "change"), [(key, change) for key, both in CHANGES.items() for change in both])
def test_half_past_two_on_the_days_of_the_changes(key, change):
    """Each form of waiting for a time, the `date` trigger and the schedule: at the first instant there is, once."""
    expected = first_instant(change, NIGHT, ZONES[key])
    begin = expected - 3 * DAY
    made = World(
        workflow("from", steps='- wait_until: {from: contact.due_date, time: "02:30", on_missing: exit, on_past: exit}\n- add: {visits: 1}'),
        workflow("minus", steps='- wait_until: {from: contact.due_date, plus: 9d, minus: 9d, time: "02:30", on_missing: exit, on_past: exit}\n- add: {visits: 1}'),
        workflow("fixed", timezone=ZONES[key], steps=f"- wait_until: {{date: {change}T02:30}}\n- add: {{visits: 1}}"),
        workflow("time", steps='- wait: 2d\n  time: "02:30"\n- add: {visits: 1}'),
        workflow("moment", timezone=ZONES[key], triggers=f"[{{moment: {change}T02:30}}]", audience="{field: first_name, known: true}", steps="- add: {visits: 1}"),
        workflow("date", triggers='[{date: due_date, time: "02:30"}]', steps="- add: {visits: 1}"),
        workflow("offset", triggers='[{date: due_date, offset: -1d, time: "02:30"}]', steps='- wait: 1h\n  time: "02:30"\n- add: {visits: 1}'),
        now=begin,
    )  # fmt: skip
    made.contact(key, timezone=ZONES[key], due_date=change.isoformat(), first_name="Ana")
    made.event(key, "signup", begin + HOUR)
    run(made, 7 * HOUR, expected + 3 * DAY)
    for name in ("from", "minus", "fixed", "time", "moment", "date", "offset"):
        assert turns(made, name, key) == [expected], name


# ---------------------------------------------------------------------------------------------------------------- late ticks

SPRING = parse("2027-02-25T12:00:00Z")  # both changes of spring lie in the forty days after it
MORNING = workflow(
    "morning",
    triggers='[{date: due_date, every: week, time: "09:00"}]',
    reentry="{after: 1m, while_active: parallel}",
    steps='- send: hello\n- wait: 1d\n  time: "18:30"\n- send: bye\n- add: {engagement: 1}',
)
QUIET = (NIGHTLY, SLOTS, DAILY, DATES[0], CRONS[0])


def books(made: World) -> dict[str, list]:
    """What became of everybody, without the numbers of rows."""
    asked = {
        "runs": "SELECT workflow, contact_id, entered_at, state, reason, ended_at, pc, due_at FROM enrollments ORDER BY 1, 2, 3",
        "journal": "SELECT contact_id, version_id, pc, at, kind, detail FROM journal ORDER BY 4, 1, 2, 3, 5, 6",
        "values": "SELECT id, visits, engagement FROM contacts ORDER BY id",
    }
    return {name: made.connection.execute(query).fetchall() for name, query in asked.items()}


def test_ticks_two_hours_a_day_and_forty_days_late_come_to_the_same():
    begun = world(*QUIET, due="2026-12-27", begin=SPRING)
    end = SPRING + 40 * DAY
    on_time = books(run(begun.snapshot(), 2 * HOUR, end))
    assert len(on_time["runs"]) > 50
    for late in (DAY, 40 * DAY):
        assert books(run(begun.snapshot(), late, end)) == on_time


@pytest.mark.parametrize(("late", "least"), [(HOUR, 12), (DAY, 6), (40 * DAY, 0)])
def test_a_backlog_is_skipped_and_nothing_leaves_twice_or_in_a_burst(late, least):
    """Forty days of letters: those older than their three days are skipped, and the cap holds back what would come together."""
    settings = SETTINGS + "pressure: {email: [1 per 16h]}\n"
    made = World(MORNING, settings=settings, now=SPRING)
    for key, zone in ZONES.items():
        made.contact(key, timezone=zone, due_date="2026-12-27")
    end = SPRING + 40 * DAY
    run(made, late, end)
    per_contact = {key: [at for _, _, at in made.sent(key)] for key in ZONES}
    for key, times in per_contact.items():
        assert all(after - before >= 16 * 60 for before, after in pairwise(times)), key
        assert len(times) >= least, key
    if late == 40 * DAY:
        assert all(len(times) <= 1 for times in per_contact.values())
    visits = (
        "SELECT count(*) FROM outbox WHERE state = 3 GROUP BY enrollment_id, pc, visit, channel HAVING count(*) > 1"
    )
    assert made.connection.execute(visits).fetchall() == []
    # What did not leave says why; nothing hangs.
    reasons = {reason for *_, state, reason in made.outbox() if state == "skipped"}
    assert reasons <= {"expired"}
    entered = len(made.entered("morning"))
    assert entered == 3 * 6  # six Sundays, however late


def test_a_clock_that_jumps_back_sends_nothing_again():
    made = World(MORNING, NIGHTLY, now=SPRING)
    for key, zone in ZONES.items():
        made.contact(key, timezone=zone, due_date="2026-12-27")
        made.event(key, "signup", SPRING + 1)
    straight = made.snapshot()
    run(straight, DAY, SPRING + 45 * DAY)
    run(made, DAY, SPRING + 41 * DAY)
    before = made.books()
    for back in (2 * HOUR, 20 * HOUR, 40 * DAY):
        made.now = SPRING + 41 * DAY - back
        with suppress(Failure):  # so far behind that somebody must look
            run(made, max(HOUR, back // 3), SPRING + 41 * DAY)
        assert made.books() == before
    made.now = SPRING + 41 * DAY
    run(made, DAY, SPRING + 45 * DAY)
    assert made.sent() == straight.sent()
    assert len(made.sent()) > 12
    assert books(made) == books(straight)
