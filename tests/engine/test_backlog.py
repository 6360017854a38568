"""A tick that finds far more due than usual stops marketing and asks; everything else goes on, and nothing is lost."""

from __future__ import annotations

import pytest

from flowctl.engine import backlog
from flowctl.engine.by_hand import pause, resume
from flowctl.report.timeline import timeline
from tests.engine.world import DAY, World, at, workflow

PROMPT = (
    workflow("w", steps="- send: hello\n  via: email\n  expire_after: 3d\n- set: {stage: customer}"),
    workflow("r", triggers="[{event: purchase}]", steps="- send: receipt\n  via: email"),
)


@pytest.fixture
def world(monkeypatch):
    """A store in which 2 marketing messages left on each of 8 days, and a floor of 5."""
    monkeypatch.setattr(backlog, "FLOOR", 5)
    world = World(*PROMPT)
    people(world, "old", 16)
    for day in range(8):
        for number in (2 * day, 2 * day + 1):
            world.event(f"old{number}", "signup", at("1h") + day * DAY)
        world.tick(at("2h") + day * DAY)
    assert len(world.sent()) == 16
    return world


def people(world, name: str, count: int) -> None:
    for number in range(count):
        world.contact(f"{name}{number}")


def sign_up(world, name: str, count: int, when: int) -> None:
    people(world, name, count)
    for number in range(count):
        world.event(f"{name}{number}", "signup", when)


def test_far_more_than_usual_stops_marketing_until_somebody_confirms(world):
    sign_up(world, "new", 7, at("9d"))  # 3 × 2 = 6 would be usual
    world.event("old0", "purchase", at("9d"))
    report = world.tick(at("9d1h"))
    assert (report.backlog.due, report.backlog.usual_max) == (7, 6)
    assert [row[1] for row in world.sent()[16:]] == ["receipt"]  # transactional goes on
    assert world.states("w", "new0") == [("active", None)]  # entered, advanced, and waiting on its step
    [pending] = timeline(world.store, "new0", now=at("9d1h")).pending
    assert pending.messages == ("hello by email: stopped, more is due than usual (`flowctl tick --confirm-backlog`)",)
    assert world.tick(at("9d2h")).backlog.due == 7  # the next tick asks again
    report = world.tick(at("9d3h"), unasked=True)
    assert (report.backlog, report.sent) == (None, 7)
    assert world.states("w", "new0") == [("completed", None)]


def test_usual_is_what_the_busiest_day_was(world):
    sign_up(world, "new", 6, at("9d"))
    report = world.tick(at("9d1h"))
    assert (report.backlog, report.sent) == (None, 6)
    sign_up(world, "more", 18, at("10d"))
    assert world.tick(at("10d1h")).sent == 18


def test_a_first_campaign_leaves_unasked(monkeypatch):
    monkeypatch.setattr(backlog, "FLOOR", 5)
    world = World(*PROMPT)
    sign_up(world, "new", 50, at("1h"))
    report = world.tick(at("2h"))
    assert (report.backlog, report.sent) == (None, 50)


def test_a_small_project_is_never_asked(world, monkeypatch):
    monkeypatch.setattr(backlog, "FLOOR", 1_000)
    sign_up(world, "new", 50, at("9d"))
    assert world.tick(at("9d1h")).sent == 50


def test_what_expired_meanwhile_is_skipped_and_no_backlog(world):
    sign_up(world, "new", 20, at("9d"))
    assert world.tick(at("9d1h")).backlog.due == 20
    report = world.tick(at("13d"))
    assert (report.backlog, report.sent, report.skipped) == (None, 0, 20)


def test_a_paused_workflow_that_is_switched_on_again_asks(world):
    sign_up(world, "new", 20, at("9d"))
    world.tick(at("9d1h"), limit=None)
    pause(world.connection, "w")
    assert world.tick(at("9d2h")).backlog is None
    resume(world.connection, "w", now=at("9d3h"))
    assert world.tick(at("9d3h")).backlog.due == 20


def test_the_question_reads_an_index(world):
    plan = " ".join(
        row[3]
        for row in world.connection.execute(
            "EXPLAIN QUERY PLAN SELECT 1 FROM outbox INDEXED BY outbox_ready WHERE ready_at <= 1 AND marketing = 1"
        )
    )
    assert "outbox_ready" in plan


def test_a_limit_lets_so_many_leave_and_keeps_the_rest(world):
    sign_up(world, "new", 6, at("9d"))
    assert world.tick(at("9d1h"), limit=4).sent == 4
    assert [row[2] for row in world.outbox()].count("ready") == 2
    assert world.connection.execute("SELECT max(attempts) FROM outbox").fetchone() == (1,)
    assert world.tick(at("9d1h"), limit=4).sent == 2
