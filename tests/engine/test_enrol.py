"""Triggers and re-entry: who enters, when, and why not."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from flowctl.clock import parse
from flowctl.engine.triggers.schedule import times
from tests.engine.world import DAY, HOUR, MINUTE, T0, World, at, workflow

STAY = "- wait: 30d"


def minutes(world: World, name: str | None = None) -> list[tuple[str, float]]:
    return world.entered(name)


# -------------------------------------------------------------------------------------------------------------------- event


def test_event_with_where():
    world = World(workflow("w", triggers="[{event: cart_updated, where: {items: {gt: 0}}}]", steps=STAY))
    for key, items in (("some", 1), ("none", 0), ("text", None)):
        world.contact(key)
        world.event(key, "cart_updated", at("1m"), **({} if items is None else {"items": items}))
    world.ticks("5m")
    assert minutes(world) == [("some", 1)]
    (trigger,) = world.connection.execute("SELECT trigger FROM enrollments").fetchone()
    assert '"items":1' in trigger


def test_an_event_enters_at_its_own_time_and_only_once():
    world = World(workflow("w", steps=STAY, reentry="{after: 1s, while_active: parallel}"))
    world.contact("ana")
    world.event("ana", "signup", at("1m"))
    world.ticks("5m", "5m", "10m", "1d")
    assert minutes(world) == [("ana", 1)]


def test_a_future_event_counts_when_its_time_comes():
    world = World(workflow("w", steps=STAY))
    world.contact("ana")
    world.event("ana", "signup", at("1h"))
    world.tick(at("1h") - 1)
    assert minutes(world) == []
    world.ticks("1h")
    assert minutes(world) == [("ana", 60)]


@pytest.mark.parametrize(("ago", "enters"), [(DAY - 1, True), (DAY, False), (30 * DAY, False)])
def test_max_event_age_is_a_day_unless_said(ago, enters):
    world = World(workflow("w", steps=STAY))
    world.contact("ana")
    world.ticks("5m")
    world.event("ana", "signup", at("10m") - ago)
    world.ticks("10m")
    assert bool(minutes(world)) is enters


def test_importing_history_before_or_after_the_first_apply_sends_nothing():
    texts = (
        workflow("w", steps="- send: hello"),
        workflow("x", steps="- send: bye", triggers="[{enters: buyers}]"),
        workflow("y", steps="- send: again", triggers="[{field: stage, changes: true}]"),
        "segment: buyers\nmatch: {event: purchase, since: 30d}\n",
    )
    world = World(*texts)
    for number in range(5):
        world.contact(f"c{number}", origin=0, stage="customer")
        world.event(f"c{number}", "signup", at("0m") - (2 + number) * DAY)
        world.event(f"c{number}", "purchase", at("0m") - (2 + number) * DAY)
    world.ticks("5m", "1h", "1d", "8d")
    assert world.sent() == []


UNLESS = "[{event: cart_updated, unless: {event: purchase, within: 60m}}]"


@pytest.mark.parametrize(
    ("purchase", "enters"),
    [(None, True), ("59m", False), ("60m", False), ("60m1s", True), ("0m", False)],
)
@pytest.mark.parametrize("pace", ["on time", "one late tick"])
def test_unless(purchase, enters, pace):
    world = World(workflow("w", triggers=UNLESS, steps=STAY))
    world.contact("ana")
    world.event("ana", "cart_updated", at("1m"), items=1)
    if pace == "on time":
        world.ticks("5m")
        if purchase:
            world.event("ana", "purchase", at("1m") + at(purchase) - T0)
        world.every("5m", "2h")
    else:
        if purchase:
            world.event("ana", "purchase", at("1m") + at(purchase) - T0)
        world.ticks("2h")
    assert minutes(world) == ([("ana", 61)] if enters else [])


def test_unless_of_an_event_that_arrived_late():
    world = World(workflow("w", triggers=UNLESS, steps=STAY))
    for key in ("ana", "bob", "cat"):
        world.contact(key)
    world.ticks("5m", "3h")
    world.event("ana", "cart_updated", at("1h"))  # its hour is over
    world.event("bob", "cart_updated", at("2h30m"))  # its hour goes on
    world.event("cat", "cart_updated", at("1h"))
    world.event("cat", "purchase", at("1h30m"))
    world.ticks("3h5m", "4h")
    assert minutes(world) == [("ana", 120), ("bob", 210)]


def test_where_of_unless_compares_with_nothing_but_its_own_event():
    triggers = "[{event: cart_updated, unless: {event: purchase, where: {amount: {gte: 10}}, within: 60m}}]"
    world = World(workflow("w", triggers=triggers, steps=STAY))
    for key, amount in (("small", 9), ("big", 10)):
        world.contact(key)
        world.event(key, "cart_updated", at("1m"))
        world.event(key, "purchase", at("2m"), amount=amount)
    world.ticks("5m", "2h")
    assert minutes(world) == [("small", 61)]


# ----------------------------------------------------------------------------------------------------------------- segments

RICH = "segment: rich\nmatch: {field: engagement, gte: 10}\n"


@pytest.mark.parametrize(("existing", "who"), [("skip", ["new"]), ("enroll", ["new", "old"])])
def test_enters_with_those_already_inside(existing, who):
    world = World(workflow("other", steps=STAY))
    world.contact("old", engagement=50)
    world.contact("new", engagement=5)
    world.ticks("5m")
    world.apply(
        RICH,
        workflow("w", triggers=f"[{{enters: rich, existing: {existing}}}]", steps=STAY),
        workflow("other", steps=STAY),
        now=at("10m"),
    )
    world.ticks("15m")
    world.set("new", at("20m"), engagement=10)
    world.ticks("25m", "30m", "1d")
    assert sorted(key for key, _ in world.entered("w")) == who
    world.apply(
        RICH,
        workflow("w", triggers=f"[{{enters: rich, existing: {existing}}}]", steps=STAY + "\n- exit: x"),
        now=at("2d"),
    )
    world.ticks("2d5m")
    assert len(world.entered("w")) == len(who)


def test_enters_and_exits_are_transitions():
    triggers = "[{enters: rich}, {exits: rich}]"
    world = World(RICH, workflow("w", triggers=triggers, reentry="{after: 1s}", steps="- exit: seen"))
    world.contact("ana")
    world.ticks("5m")
    for offset, value in (("10m", 20), ("20m", 30), ("30m", 5), ("40m", 10)):
        world.set("ana", at(offset), engagement=value)
        world.ticks(offset)
    assert minutes(world) == [("ana", 10), ("ana", 30), ("ana", 40)]


def test_a_window_that_moves_over_an_event_enters_when_it_moved():
    segment = "segment: idle\nmatch: {all: [{event: purchase, since: ever}, {not: {event: purchase, since: 2h}}]}\n"
    world = World(segment, workflow("w", triggers="[{enters: idle}]", steps=STAY))
    world.contact("ana")
    world.event("ana", "purchase", at("3m"))
    world.every("5m", "3h")
    assert minutes(world) == [("ana", 123)]


# ------------------------------------------------------------------------------------------------------------------- fields


@pytest.mark.parametrize(
    ("asked", "old", "new", "enters"),
    [
        ("changes: true", None, 1, True), ("changes: true", 1, 1, False), ("changes: true", 1, None, True),
        ("rises_to: 50", 49, 50, True), ("rises_to: 50", 50, 51, False), ("rises_to: 50", None, 60, False), ("rises_to: 50", 10, 90, True),
        ("rises_above: 50", 50, 51, True), ("rises_above: 50", 49, 50, False), ("rises_above: 50", 51, 52, False),
        ("drops_below: -100", -100, -101, True), ("drops_below: -100", -101, -102, False), ("drops_below: -100", 0, -100, False),
        ("to: 7", 1, 7, True), ("to: 7", 1, 8, False), ("from: 7", 7, 8, True), ("from: 7", 6, 8, False), ("from: 7", 7, 7, False),
    ],
)  # fmt: skip
def test_field(asked, old, new, enters):
    world = World(workflow("w", triggers=f"[{{field: visits, {asked}}}]", steps=STAY))
    world.contact("ana", visits=old)
    world.ticks("5m")
    world.set("ana", at("7m"), visits=new)
    world.ticks("10m")
    assert minutes(world) == ([("ana", 7)] if enters else [])


def test_a_contacts_creation_is_no_field_change_and_text_fields_change_to_a_value():
    world = World(workflow("w", triggers="[{field: stage, to: customer}]", steps=STAY))
    world.contact("born", stage="customer")
    world.contact("made")
    world.ticks("5m")
    world.set("made", at("6m"), stage="lead")
    world.set("made", at("7m"), stage="customer")
    world.ticks("10m")
    assert minutes(world) == [("made", 7)]


# ----------------------------------------------------------------------------------------------------------- moment, schedule


def test_moment_is_the_workflows_zone_and_comes_once():
    world = World(
        workflow("w", triggers="[{moment: 2026-03-02T12:00}]", audience="{field: engagement, gte: 5}", steps=STAY)
    )
    world.contact("in", engagement=5)
    world.contact("out", engagement=4)
    world.ticks("55m")
    assert minutes(world) == []
    world.ticks("1h", "1h5m", "1d")
    world.contact("later", engagement=9)
    world.ticks("1d5m")
    assert minutes(world) == [("in", 60)]


@pytest.mark.parametrize(("late", "sent"), [("3d59m", ["hello"]), ("3d1h", []), ("9d", [])])
def test_a_moment_that_a_late_tick_replays_is_held_against_its_own_time(late, sent):
    world = World(
        workflow(
            "w", triggers="[{moment: 2026-03-02T12:00}]", audience="{field: engagement, gte: 0}", steps="- send: hello"
        )
    )
    world.contact("ana")
    world.ticks("30m", late)
    assert minutes(world) == [("ana", 60)]
    assert world.messages("ana") == sent


@pytest.mark.parametrize(
    ("due", "offset", "enters"),
    [
        ("2026-04-02", "-1 month", ["2026-03-02"]),
        ("2026-02-10", "1 month", ["2026-03-10"]),
        ("2026-02-28", "1 month -> no", []),  # 28 March: nobody looks after the 14th
        ("2026-04-05", "-1 month", ["2026-03-05"]),
        ("2026-03-20", "-2 weeks", ["2026-03-06"]),
        ("2027-03-03", "-1 year", ["2026-03-03"]),
    ],
)
def test_a_date_with_an_offset_by_the_calendar(due, offset, enters):
    offset = offset.removesuffix(" -> no")
    text = workflow("w", triggers=f'[{{date: due_date, offset: {offset}, time: "12:00"}}]', steps="- exit: seen")
    world = World(text)
    world.contact("ana", due_date=due)
    world.every("6h", "12d")
    found = [str(datetime.fromtimestamp(T0 / 1000 + minute * 60, UTC))[:10] for _, minute in minutes(world)]
    assert found == enters


def test_a_month_before_the_last_days_of_a_long_one_is_the_last_of_the_short_one():
    """28 to 31 May less three months are all 28 February; each comes round once, a year later too."""
    text = workflow(
        "w",
        triggers='[{date: due_date, every: year, offset: -3 months, time: "12:00"}]',
        reentry="{after: 1d}",
        steps="- exit: seen",
    )
    people = {f"d{day}": f"2020-05-{day}" for day in (27, 28, 30, 31)}
    world = World(text, now=at("-4d"))
    for key, due in people.items():
        world.contact(key, due_date=due)
    world.ticks("-3d", "-2d", "-1d", "0d")
    assert minutes(world) == [
        (key, round((parse(f"2026-02-{day}T11:00:00Z") - T0) / MINUTE))
        for key, day in (("d27", 27), ("d28", 28), ("d30", 28), ("d31", 28))
    ]


def test_schedule():
    text = workflow(
        "w",
        triggers='[{schedule: "0 9 * * mon"}]',
        audience="{field: engagement, gte: 0}",
        reentry="{after: 1d}",
        steps="- exit: seen",
    )
    world = World(text)
    world.contact("ana")
    world.ticks("1h", "6d21h55m")
    assert minutes(world) == []
    world.ticks("6d22h", "7d5m", "14d")
    assert [round(when / 1440, 3) for _, when in minutes(world)] == [6.917, 13.917]


@pytest.mark.parametrize(
    ("cron", "after", "found"),
    [
        # Clocks go forward on 29 March 2026 at 02:00 and back on 25 October at 03:00 in Paris.
        ("30 2 * * *", "2026-03-27T12:00Z", ["2026-03-28T01:30Z", "2026-03-29T01:00Z", "2026-03-30T00:30Z"]),
        ("30 2 * * *", "2026-10-24T12:00Z", ["2026-10-25T00:30Z", "2026-10-26T01:30Z"]),
        ("0 9 * * *", "2026-03-28T07:00Z", ["2026-03-28T08:00Z", "2026-03-29T07:00Z"]),
        ("0 9 * * *", "2026-10-24T12:00Z", ["2026-10-25T08:00Z", "2026-10-26T08:00Z"]),
        (
            "0 * * * *",
            "2026-10-24T23:30Z",
            ["2026-10-25T00:00Z", "2026-10-25T01:00Z", "2026-10-25T02:00Z", "2026-10-25T03:00Z"],
        ),
        ("0 * * * *", "2026-03-29T00:30Z", ["2026-03-29T01:00Z", "2026-03-29T02:00Z"]),
        ("*/30 2 * * *", "2026-10-24T12:00Z", ["2026-10-25T00:00Z", "2026-10-25T00:30Z", "2026-10-26T01:00Z"]),
        ("0 9 1 1 *", "2026-03-01T00:00Z", ["2027-01-01T08:00Z"]),
    ],
)
def test_schedule_across_clock_changes(cron, after, found):
    assert times(cron, "Europe/Paris", at(after))[: len(found)] == [at(text) for text in found]


def test_a_schedule_that_is_late_comes_once_for_each_of_its_times():
    text = workflow(
        "w",
        triggers='[{schedule: "0 * * * *"}]',
        audience="{field: engagement, gte: 0}",
        reentry="{after: 1s}",
        steps="- exit: seen",
    )
    world = World(text)
    world.contact("ana")
    world.ticks("3h30m", "3h35m", "4h")
    assert [when / 60 for _, when in minutes(world)] == [1, 2, 3, 4]


# ------------------------------------------------------------------------------------------------------------------- manual


def test_manual_enrolment_passes_the_audience_only_when_forced():
    world = World(workflow("w", triggers="[{manual: true}]", audience="{field: engagement, gte: 5}", steps=STAY))
    world.contact("in", engagement=5)
    world.contact("out")
    world.contact("forced")
    for key in ("in", "out", "forced"):
        world.enroll("w", key, at("1m"), forced=key == "forced")
    world.ticks("5m")
    assert minutes(world) == [("forced", 1), ("in", 1)]
    assert [detail["reason"] for kind, detail in world.journal("out") if kind == "refused"] == ["audience"]


# ----------------------------------------------------------------------------------------------------- audience, days, re-entry


def test_audience_is_judged_at_entry():
    world = World(workflow("w", audience="{field: engagement, gte: 5}", steps=STAY))
    world.contact("in", engagement=5)
    world.contact("out", engagement=4)
    for key in ("in", "out"):
        world.event(key, "signup", at("1m"))
    world.ticks("5m")
    world.set("out", at("6m"), engagement=9)
    world.set("in", at("6m"), engagement=0)
    world.ticks("10m")
    assert minutes(world) == [("in", 1)]


def test_active_days():
    text = workflow(
        "w",
        active="{from: 2026-03-03, until: 2026-03-04, at_end: exit}",
        reentry="{after: 1s, while_active: parallel}",
        steps=STAY,
    )
    world = World(text)
    for key, offset in (("before", "12h59m"), ("first", "13h"), ("last", "2d12h59m"), ("after", "2d13h")):
        world.contact(key)
        world.event(key, "signup", at(offset))
    world.every("30m", "2d12h30m")
    world.tick(at("2d13h") - 1)
    assert [key for key, _ in minutes(world)] == ["first", "last"]
    assert {state for state, _ in world.states()} == {"active"}
    world.ticks("2d13h", "2d14h")
    assert [key for key, _ in minutes(world)] == ["first", "last"]
    assert world.ended("first") == [("exited", "ended", (2 * DAY + 13 * HOUR) / MINUTE)]


def test_never_again_unless_said():
    world = World(workflow("w", steps="- exit: seen"))
    world.contact("ana")
    world.event("ana", "signup", at("1m"))
    world.event("ana", "signup", at("2m"))
    world.ticks("5m")
    world.event("ana", "signup", at("10m"))
    world.ticks("15m")
    assert minutes(world) == [("ana", 1)]
    assert [detail["reason"] for kind, detail in world.journal("ana") if kind == "refused"] == ["once", "once"]


@pytest.mark.parametrize("after", ["0", "'0'", "0s", "0d"])
def test_at_once_means_by_the_very_fact_that_ended_the_last_journey(after):
    keys = {"triggers": "[{event: purchase}]", "goal": "{event: purchase}"}
    world = World(workflow("w", steps=STAY, reentry=f"{{after: {after}}}", **keys))
    world.contact("ana")
    for hour in (1, 3, 5):
        world.event("ana", "purchase", at(f"{hour}h"))
    world.ticks("10h", "11h")
    assert minutes(world) == [("ana", 60), ("ana", 180), ("ana", 300)]
    assert world.states() == [("goal", "goal"), ("goal", "goal"), ("active", None)]


def test_what_goes_round_at_once_stops_at_a_limit_and_holds_nobody_up():
    triggers = "[{event: signup}, {field: engagement, changes: true}]"
    world = World(workflow("w", steps="- add: {engagement: 1}", triggers=triggers, reentry="{after: 0}"))
    for key in ("ana", "bea"):
        world.contact(key)
        world.event(key, "signup", at("1h"))
    report = world.tick(at("2h"))
    assert report.unfinished
    assert world.value("ana", "engagement") == world.value("bea", "engagement") > 1


def test_restart_takes_the_message_back_and_begins_anew():
    steps = "- send: bye\n- send: hello\n- wait: 10d"
    world = World(workflow("w", steps=steps, reentry="{while_active: restart}"), settings=CAPPED)
    world.contact("ana")
    world.event("ana", "signup", at("1m"))
    world.ticks("5m")
    world.event("ana", "signup", at("1h"))
    world.ticks("1h")
    assert world.states() == [("exited", "restarted"), ("active", None)]
    assert [row[2:] for row in world.outbox()] == [("sent", None), ("cancelled", "restarted"), ("ready", "cap")]


def _capped() -> str:
    from tests.engine.world import SETTINGS

    return SETTINGS + "pressure: {email: [1 per 1d]}\n"


CAPPED = _capped()


def test_a_run_that_is_over_before_the_next_fact_lets_it_in_and_one_that_is_not_does_not():
    """Both within one slice: what counts is the time of the fact, not of the tick."""
    text = workflow("w", steps="- wait: 2m\n- exit: seen", reentry="{after: 1s}")
    world = World(text)
    for key in ("ana", "bob"):
        world.contact(key)
        world.event(key, "signup", at("1m"))
    world.event("ana", "signup", at("2m"))
    world.event("bob", "signup", at("4m"))
    world.ticks("5m", "10m")
    assert minutes(world) == [("ana", 1), ("bob", 1), ("bob", 4)]


@pytest.mark.parametrize("more", ["", "\n- wait: 1h"])
def test_a_workflow_does_not_feed_itself(more):
    text = workflow(
        "w", steps="- add: {visits: 1}" + more, triggers="[{field: visits, changes: true}]", reentry="{after: 1s}"
    )
    world = World(text)
    world.contact("ana", visits=0)
    world.ticks("5m")
    world.set("ana", at("6m"), visits=1)
    world.ticks("10m", "3h")
    assert world.value("ana", "visits") == 2


def test_a_fact_during_a_run_is_ignored_though_the_run_is_over_when_a_tick_looks():
    text = workflow("w", steps="- wait: 2m\n- exit: seen", reentry="{after: 30s, since: entry}")
    world = World(text)
    world.contact("ana")
    for offset in ("1m", "2m", "3m", "4m"):
        world.event("ana", "signup", at(offset))
    world.ticks("5m", "10m")
    assert minutes(world) == [("ana", 1), ("ana", 3)]  # the first run ends at the third minute, the instant of the fact


def test_the_key_tells_runs_apart_and_unknown_is_one_value():
    text = workflow("w", triggers="[{event: cart_updated}]", reentry="{key: trigger.cart_id}", steps=STAY)
    world = World(text)
    world.contact("ana")
    for minute, cart in ((1, "a"), (2, "b"), (3, "a"), (4, None), (4, None)):
        world.event("ana", "cart_updated", at(f"{minute}m"), **({"cart_id": cart} if cart else {}))
    world.ticks("5m")
    assert minutes(world) == [("ana", 1), ("ana", 2), ("ana", 4)]
