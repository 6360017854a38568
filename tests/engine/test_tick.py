"""Ticks: once, late, repeated, with a clock that jumps, with too much at once, and what they leave for the next."""

from __future__ import annotations

import pytest

from flowctl.channels.recording import RecordingChannel
from flowctl.engine import advance, observe
from flowctl.engine.tick import tick
from flowctl.failure import Busy, Failure
from flowctl.store.database import open_store
from tests.engine.world import DAY, HOUR, MINUTE, SETTINGS, World, at, workflow

JOURNEY = workflow(
    "w",
    goal="{event: purchase}",
    reentry="{after: 1h}",
    steps="- send: hello\n- wait: 2h\n- wait_for: {event: cart_updated}\n  timeout: 1d\n  then: [{exit: cart}]\n- send: bye",
)


def test_a_store_without_a_release_is_a_failure(tmp_path):
    with pytest.raises(Failure, match="nothing was applied"):
        tick(open_store(tmp_path / "s.db", create=True), now=at("5m"))


def test_a_second_tick_at_the_same_instant_changes_nothing():
    world = World(JOURNEY)
    for number in range(5):
        world.contact(f"c{number}")
        world.event(f"c{number}", "signup", at("1m") + number)
    for offset in ("5m", "2h5m", "1d3h"):
        world.ticks(offset)
        before = world.books()
        world.ticks(offset)
        assert world.books() == before


def test_a_clock_that_jumps_back_does_nothing_twice_and_goes_on():
    world = World(JOURNEY)
    world.contact("ana")
    world.event("ana", "signup", at("1m"))
    world.ticks("3h")
    sent = world.sent()
    world.event("ana", "purchase", at("2h"))  # ahead of that clock, and past for the store: not to be missed
    report = world.tick(at("1h"))
    assert report.clock_behind_ms == 2 * HOUR
    world.tick(at("0m"))
    assert world.sent() == sent
    world.ticks("3h5m")
    assert world.states() == [("goal", "goal")]


def test_a_clock_that_jumps_back_does_not_send_past_a_cap():
    world = World(
        workflow("w", steps="- send: hello\n- send: bye"), settings=SETTINGS + "pressure: {email: [1 per 1d]}\n"
    )
    world.contact("ana")
    world.event("ana", "signup", at("1m"))
    world.ticks("5m", "1d")
    world.tick(at("2h"))
    world.tick(at("1d4m"))
    assert world.messages("ana") == ["hello"]
    world.ticks("1d5m")
    assert world.messages("ana") == ["hello", "bye"]


def test_overlapping_ticks_the_loser_is_busy(tmp_path):
    world = World(JOURNEY, path=tmp_path / "s.db")
    world.contact("ana")
    world.event("ana", "signup", at("1m"))
    other = open_store(tmp_path / "s.db", create=False)
    losers = []

    def meanwhile(_delivery) -> None:
        with pytest.raises(Busy, match="another flowctl is running") as busy:
            tick(other, now=at("5m"), channels={})
        losers.append(busy.value.exit_code)

    world.tick(at("5m"), on_delivery=meanwhile)
    assert losers
    assert set(losers) == {75}
    assert world.messages("ana") == ["hello"]


def test_one_contact_with_very_many_facts_stops_nobody():
    world = World(
        workflow("many", steps="- wait: 10d", reentry="{while_active: parallel, after: 1s}"),
        workflow("restart", steps="- wait: 10d", reentry="{while_active: restart}"),
    )
    world.contact("busy")
    world.contact("ana")
    for number in range(250):
        world.event("busy", "signup", at("1m") + number * 100)
    world.event("ana", "signup", at("4m"))
    world.ticks("5m", "10m", "15m")
    assert world.states("many", "ana") == [("active", None)]
    assert len(world.states("many", "busy")) == 250
    assert [state for state, _ in world.states("restart", "busy")] == ["exited"] * 249 + ["active"]


def test_two_workflows_that_start_each_other_stop_nobody():
    back = "[{field: stage, to: %s}]"
    world = World(
        workflow(
            "one",
            triggers=back % "lead",
            steps="- set: {stage: customer}",
            reentry="{while_active: restart, after: 1s, since: entry}",
        ),
        workflow(
            "two",
            triggers=back % "customer",
            steps="- set: {stage: lead}",
            reentry="{while_active: restart, after: 1s, since: entry}",
        ),
        workflow("w", steps="- send: hello"),
    )
    world.contact("loop")
    world.contact("ana")
    world.ticks("5m")
    world.set("loop", at("6m"), stage="lead")
    world.event("ana", "signup", at("6m"))
    world.ticks("10m", "15m")
    assert world.messages("ana") == ["hello"]


def test_a_poison_row_among_many_fails_alone(monkeypatch):
    monkeypatch.setattr(advance, "BATCH_ROWS", 64)
    world = World(workflow("w", steps="- wait: 1h\n- add: {visits: 1}\n- send: hello"))
    for number in range(100):
        world.contact(f"c{number:02}", visits=2**63 - 1 if number in (13, 77) else 0)
        world.event(f"c{number:02}", "signup", at("1m"))
    world.ticks("5m", "2h")
    failed = {
        key
        for key, _, _, _ in ((f"c{n:02}", *world.ended(f"c{n:02}")[0]) for n in range(100))
        if world.states(key=key)[0][0] == "failed"
    }
    assert failed == {"c13", "c77"}
    assert len(world.sent()) == 98
    assert "cannot store REAL" in world.states(key="c13")[0][1]


def test_more_facts_than_one_look_takes_in_hand(monkeypatch):
    monkeypatch.setattr(observe, "ROWS_MAX", 10)
    monkeypatch.setattr(observe.new_facts, "__kwdefaults__", {"rows_max": 10})
    world = World(JOURNEY)
    for number in range(35):
        world.contact(f"c{number}")
        world.event(f"c{number}", "signup", at("1m"))
        world.event(f"c{number}", "signup", at("2m"))
    world.ticks("5m")
    assert len(world.sent()) == 35


def test_a_late_tick_enters_facts_at_their_own_times_and_sends_in_the_last_slice():
    world = World(JOURNEY)
    for number in range(3):
        world.contact(f"c{number}")
        world.event(f"c{number}", "signup", at(f"{number + 1}h"))
    world.event("c1", "purchase", at("2h30m"))
    report = world.tick(at("9h"))
    assert world.entered() == [("c0", 60), ("c1", 120), ("c2", 180)]
    assert sorted(row[0] for row in world.sent()) == ["c0", "c2"]
    assert {row[3] for row in world.sent()} == {540}
    assert report.slices > 5


def test_a_tick_after_a_month_of_silence_sends_no_burst():
    text = workflow(
        "w",
        triggers='[{schedule: "0 9 * * *"}]',
        audience="{field: engagement, gte: 0}",
        reentry="{after: 1h}",
        steps="- send: hello",
    )
    world = World(text)
    for number in range(3):
        world.contact(f"c{number}")
    world.ticks("30d")
    assert max(world.messages(f"c{number}").count("hello") for number in range(3)) <= 1


def test_what_the_first_send_made_due_runs_in_the_same_tick():
    world = World(
        workflow("w", steps="- send: hello\n- set: {stage: customer}\n- send: bye"),
        workflow("x", triggers="[{field: stage, to: customer}]", steps="- send: again"),
    )
    world.contact("ana")
    world.event("ana", "signup", at("1m"))
    world.ticks("5m")
    assert sorted(world.messages("ana")) == ["again", "bye", "hello"]


def test_contacts_in_flight_keep_their_version():
    world = World(workflow("w", steps="- wait: 1h\n- send: hello"))
    world.contact("old")
    world.event("old", "signup", at("1m"))
    world.ticks("5m")
    world.apply(workflow("w", steps="- wait: 1h\n- send: bye"), now=at("10m"))
    world.contact("new")
    world.event("new", "signup", at("11m"))
    world.ticks("15m", "2h")
    assert (world.messages("old"), world.messages("new")) == (["hello"], ["bye"])


def test_a_workflow_that_is_gone_drains():
    world = World(
        workflow("w", steps="- wait: 1h\n- send: hello"), workflow("x", steps="- exit: x", triggers="[{manual: true}]")
    )
    for key in ("in", "late"):
        world.contact(key)
    world.event("in", "signup", at("1m"))
    world.ticks("5m")
    world.apply(workflow("x", steps="- exit: x", triggers="[{manual: true}]"), now=at("10m"))
    world.event("late", "signup", at("11m"))
    world.ticks("15m", "2h")
    assert (world.messages("in"), world.messages("late")) == (["hello"], [])


def test_a_snapshot_runs_as_the_store_itself_would(tmp_path):
    world = World(JOURNEY, path=tmp_path / "s.db")
    for number in range(4):
        world.contact(f"c{number}")
        world.event(f"c{number}", "signup", at("1m"))
    world.ticks("5m")
    copy = world.snapshot(RecordingChannel())
    for offset in ("3h", "1d4h"):
        world.ticks(offset)
        copy.ticks(offset)
    assert copy.books() == world.books()
    assert copy.store.path is None


def test_slices_are_cut_on_one_grid():
    world = World(JOURNEY)
    world.contact("ana")
    world.event("ana", "signup", at("1m"))
    first = world.snapshot()
    first.ticks("7m")
    second = world.snapshot()
    second.ticks("5m", "7m")
    assert first.entered() == second.entered()
    assert MINUTE * 5 == 300_000
    assert DAY == 24 * HOUR


def test_a_row_that_python_cannot_take_fails_alone_too(monkeypatch):
    from flowctl.engine.steps import tag

    run = tag.run

    def broken(batch, version, pc, said):
        if batch.connection.execute("SELECT 1 FROM work WHERE contact_id = 3").fetchone():
            message = "no such thing"
            raise OverflowError(message)
        run(batch, version, pc, said)

    monkeypatch.setattr(tag, "run", broken)
    world = World(workflow("w", steps="- tag: {interests: [toys]}\n- send: hello"))
    for number in range(6):
        world.contact(f"c{number}")
        world.event(f"c{number}", "signup", at("1m"))
    world.ticks("5m")
    assert [row[0] for row in world.sent()] == ["c0", "c1", "c3", "c4", "c5"]
    assert world.states(key="c2") == [("failed", "error: no such thing")]
