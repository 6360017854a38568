"""Random schedules of sends, caps, quiet hours, zones and late ticks, against plain Python that knows nothing of the engine."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, time, timedelta
from unittest.mock import patch
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from flowctl.engine import gate, quiet_hours
from tests.engine.world import DAY, HOUR, MINUTE, SETTINGS, World, workflow

# A Friday before the clocks change, and a Thursday before Good Friday.
STARTS = [int(datetime(2026, month, day, 5, tzinfo=UTC).timestamp() * 1000) for month, day in ((3, 27), (4, 2))]
FACTS_H = 96
JOURNEYS = {  # name: (message, channel, priority, marketing)
    "low": ("bye", "email", 10, True),
    "high": ("again", "email", 90, True),
    "text": ("hello", "sms", 50, True),
    "slip": ("receipt", "email", 50, False),
}
EXPIRE_H = 40
PEOPLE = {  # key: (country, zone, postal code)
    "ana": ("FR", "Europe/Paris", "75002"),
    "bea": ("FR", "Europe/Paris", "67000"),
    "cat": ("FR", "Indian/Reunion", None),
    "dan": ("US", "America/New_York", None),
}
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
CLOSED = {
    "FR": {date(2026, 4, 6)},
    "67": {date(2026, 4, 3), date(2026, 4, 6)},
}  # Easter Monday; in Alsace Good Friday too
KEEPS = {"ana": "FR", "bea": "67", "cat": "FR"}  # whose holidays

clocks = st.sampled_from([time(0), time(2, 30), time(6), time(10), time(18), time(22, 15)])
hours = st.fixed_dictionaries(
    {
        "days": st.sets(st.sampled_from(DAYS), min_size=3),
        "between": st.tuples(clocks, clocks),
        "holidays": st.sampled_from([False, False, True]),
    }
)
windows = st.lists(
    st.tuples(st.integers(1, 3), st.sampled_from([1, 3, 12, 24])), min_size=1, max_size=2, unique_by=lambda w: w[1]
)


def schedule(rng: random.Random):
    """Many facts, and ticks on time and late."""
    slots = [rng.randrange(FACTS_H * 12) for _ in range(rng.randrange(40, 110))]
    facts = {(slot, rng.choice(sorted(PEOPLE)), rng.choice(["low", "high", *JOURNEYS])) for slot in slots}
    return facts, [rng.choice([5, 5, 10, 30, 60, 120, 420, 1440]) for _ in range(rng.randrange(10, 40))]


def world_of(caps, quiet, start: int) -> World:
    texts = [
        workflow(
            name, triggers=f"[{{event: cart_updated, where: {{cart_id: {name}}}, max_event_age: 30d}}]", priority=str(priority),
            reentry="{after: 1s, since: entry, while_active: parallel}",
            steps=f"- send: {message}\n  via: {channel}\n  expire_after: {EXPIRE_H}h",
        )
        for name, (message, channel, priority, _) in JOURNEYS.items()
    ]  # fmt: skip
    rates = ", ".join(f"{name}: [{', '.join(f'{n} per {h}h' for n, h in said)}]" for name, said in caps.items())
    rules = ", ".join(
        f"{channel}: {{{', '.join(f'{country}: {_written(rule)}' for country, rule in by.items())}}}"
        for channel, by in quiet.items()
    )
    fields = SETTINGS.replace("due_date: date", "due_date: date\n    postal_code: text")
    return World(*texts, settings=f"{fields}pressure: {{{rates}}}\nquiet_hours: {{{rules}}}\n", now=start)


def _written(rule) -> str:
    start, end = rule["between"]
    return (
        f'{{days: [{", ".join(sorted(rule["days"]))}], between: ["{start:%H:%M}", "{end:%H:%M}"], '
        f"holidays: {str(rule['holidays']).lower()}}}"
    )


def is_open(rule, at: int, key: str) -> bool:
    """What language.md says, minute by minute: the day on which the window that holds this wall time began, and whether it may begin."""
    zone = PEOPLE[key][1]
    local = datetime.fromtimestamp(at / 1000, UTC).astimezone(ZoneInfo(zone))
    start, end = rule["between"]
    now, day = local.time(), local.date()
    if start < end:
        begun = [day] if start <= now < end else []
    else:
        begun = ([day] if now >= start else []) + ([day - timedelta(days=1)] if now < end else [])
    shut = CLOSED.get(KEEPS.get(key), set()) if not rule["holidays"] else set()
    return any(DAYS[first.weekday()] in rule["days"] and first not in shut for first in begun)


def rule_of(quiet, channel: str, key: str):
    by = quiet.get(channel, {})
    return by.get(PEOPLE[key][0], by.get("default"))


@pytest.mark.slow
@settings(
    max_examples=10,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],
)
@given(
    caps=st.dictionaries(st.sampled_from(["email", "sms", "all"]), windows, min_size=1),
    quiet=st.dictionaries(
        st.sampled_from(["email", "sms"]),
        st.dictionaries(st.sampled_from(["FR", "default"]), hours, min_size=1),
        min_size=1,
    ),
    rng=st.integers(0, 1 << 32).map(random.Random),
    few=st.sampled_from([0, 2, 100]),
    start=st.sampled_from(STARTS),
)
def test_schedules(caps, quiet, rng, few, start):
    facts, steps = schedule(rng)
    with patch.object(quiet_hours, "FEW", few), patch.object(gate, "CHUNK_ROWS", 3):
        world = world_of(caps, quiet, start)
        for key, (country, zone, code) in PEOPLE.items():
            world.contact(
                key,
                country=country,
                timezone=zone,
                postal_code=code,
                phone=f"+3361234567{len(key)}{ord(key[0]) % 10}"[:12],
            )
        ticks = live(world, start, facts, steps)
    sent = world.connection.execute(
        "SELECT c.key, v.workflow, o.arrived_at, m.at FROM outbox o JOIN workflow_versions v ON v.id = o.version_id "
        "JOIN contacts c ON c.id = o.contact_id LEFT JOIN message_events m ON m.outbox_id = o.id ORDER BY m.at, o.id"
    ).fetchall()
    assert len(sent) == len(facts)
    no_window_is_overfull(sent, caps)
    nothing_leaves_in_quiet_hours(sent, quiet)
    transactional_leaves_at_the_first_tick(sent, ticks)
    the_more_important_goes_first(sent)
    what_did_not_leave_expired(world)


def live(world: World, start: int, facts, steps) -> list[int]:
    """Facts come when they come, ticks when cron gets round to it; in the end often enough for all to be settled."""
    ticks, now = [], start
    left = sorted(facts)
    ends = []
    for minutes in steps:
        now += minutes * MINUTE
        ends.append(now)
    ends += range(now + HOUR, start + (FACTS_H + EXPIRE_H) * HOUR + DAY, 4 * HOUR)
    for end in ends:
        while left and start + left[0][0] * 5 * MINUTE <= end:
            slot, key, name = left.pop(0)
            world.event(key, "cart_updated", start + slot * 5 * MINUTE, cart_id=name)
        world.tick(end)
        ticks.append(end)
    return ticks


def no_window_is_overfull(sent, caps) -> None:
    for key in PEOPLE:
        marketing = [(JOURNEYS[name][1], at) for who, name, _, at in sent if who == key and at and JOURNEYS[name][3]]
        for scope, rates in caps.items():
            times = [at for channel, at in marketing if scope in (channel, "all")]
            for n, h in rates:
                assert all(sum(end - h * HOUR < at <= end for at in times) <= n for end in times), (key, scope, n, h)


def nothing_leaves_in_quiet_hours(sent, quiet) -> None:
    for key, name, _, at in sent:
        rule = rule_of(quiet, JOURNEYS[name][1], key)
        if at and JOURNEYS[name][3] and rule is not None:
            assert is_open(rule, at, key), (key, name, datetime.fromtimestamp(at / 1000, UTC))


def transactional_leaves_at_the_first_tick(sent, ticks) -> None:
    for _, name, arrived, at in sent:
        if not JOURNEYS[name][3]:
            assert at == next(tick for tick in ticks if tick >= arrived)


def the_more_important_goes_first(sent) -> None:
    """Of one contact and channel, nothing leaves while something that matters more could have left in its place."""
    for key, name, _, at in sent:
        if at is None or name != "low":
            continue
        for who, other, arrived, left in sent:
            waited = who == key and other == "high" and arrived <= at < arrived + EXPIRE_H * HOUR
            assert not (waited and (left is None or left > at)), (key, at, arrived, left)


def what_did_not_leave_expired(world: World) -> None:
    rows = world.connection.execute(
        "SELECT state, reason FROM outbox_readable WHERE state != 'sent' GROUP BY state, reason"
    ).fetchall()
    assert rows in ([], [("skipped", "expired")])
