"""Goals and exits: who is out, when, as what; and workflows that pause."""

from __future__ import annotations

import pytest

from tests.engine.world import SETTINGS, World, at, workflow

CAPPED = SETTINGS + "pressure: {email: [1 per 1d]}\n"


# -------------------------------------------------------------------------------------------------------------------- goals


def test_a_goal_ends_the_journey_and_takes_its_message_back():
    world = World(
        workflow("w", goal="{event: purchase}", steps="- send: bye\n- send: hello\n- send: again"), settings=CAPPED
    )
    world.contact("ana")
    world.event("ana", "signup", at("1m"))
    world.ticks("5m")
    world.event("ana", "purchase", at("1h"))
    world.ticks("2h", "3d")
    assert world.messages("ana") == ["bye"]
    assert world.ended("ana") == [("goal", "goal", 60)]
    assert world.outbox("ana")[1] == ("hello", "email", "cancelled", "goal")


def test_what_caused_the_entry_is_no_goal_but_what_came_at_the_same_instant_after_it_is():
    world = World(workflow("w", goal="{event: purchase}", triggers="[{event: purchase}]", steps="- wait: 1d"))
    world.contact("ana")
    world.contact("bob")
    world.event("ana", "purchase", at("1m"))
    world.event("bob", "purchase", at("1m"))
    world.event("bob", "purchase", at("1m"))
    world.ticks("5m")
    assert world.states(key="ana") == [("active", None)]
    assert world.states(key="bob")[0] == ("goal", "goal")


@pytest.mark.parametrize(("purchase", "met"), [("2d", True), ("2d1m", False)])
def test_a_goal_within_may_be_met_after_the_journey_ended(purchase, met):
    world = World(workflow("w", goal="{event: purchase, within: 2d}", on_goal="[{send: again}]", steps="- send: hello"))
    world.contact("ana")
    world.event("ana", "signup", at("0m"))
    world.ticks("5m")
    world.event("ana", "purchase", at(purchase))
    world.ticks("2d5m")
    assert world.states() == [("completed", None)]
    assert world.messages("ana") == ["hello"]  # without on_goal
    (goal,) = world.connection.execute("SELECT goal_at FROM enrollments").fetchone()
    assert (goal == at(purchase)) if met else (goal is None)
    assert sum(kind == "goal" for kind, _ in world.journal("ana")) == int(met)


def test_a_goal_after_a_restart_is_the_new_enrollments_alone():
    world = World(
        workflow("w", goal="{event: purchase, within: 2d}", reentry="{while_active: restart}", steps="- wait: 1d")
    )
    world.contact("ana")
    world.event("ana", "signup", at("0m"))
    world.event("ana", "signup", at("1h"))
    world.ticks("5m", "1h5m")
    world.event("ana", "purchase", at("2h"))
    world.ticks("3h")
    assert world.states() == [("exited", "restarted"), ("goal", "goal")]
    assert world.connection.execute("SELECT goal_at FROM enrollments ORDER BY id").fetchall() == [(None,), (at("2h"),)]


def test_a_goal_within_that_came_too_late_ends_nothing():
    world = World(workflow("w", goal="{event: purchase, within: 1h}", steps="- wait: 1d\n- send: hello"))
    world.contact("ana")
    world.event("ana", "signup", at("0m"))
    world.event("ana", "purchase", at("1h1m"))
    world.ticks("5m", "2h", "2d")
    assert world.messages("ana") == ["hello"]


def test_a_goal_without_within_counts_only_while_active():
    world = World(workflow("w", goal="{event: purchase}", steps="- send: hello"))
    world.contact("ana")
    world.event("ana", "signup", at("0m"))
    world.ticks("5m")
    world.event("ana", "purchase", at("10m"))
    world.ticks("15m")
    assert world.connection.execute("SELECT goal_at FROM enrollments").fetchone() == (None,)


def test_a_goal_that_does_not_end_is_recorded_once_and_the_journey_goes_on():
    world = World(workflow("w", goal="{event: purchase, ends: false}", steps="- wait: 1d\n- send: hello"))
    world.contact("ana")
    world.event("ana", "signup", at("0m"))
    world.ticks("5m")
    world.event("ana", "purchase", at("10m"))
    world.event("ana", "purchase", at("20m"))
    world.ticks("15m", "25m", "2d")
    assert world.messages("ana") == ["hello"]
    assert [kind for kind, _ in world.journal("ana")].count("goal") == 1
    assert world.connection.execute("SELECT goal_at FROM enrollments").fetchone() == (at("10m"),)


def test_on_goal_steps_follow_and_exit_when_no_longer_applies():
    text = workflow(
        "w", goal="{event: purchase}", on_goal="[{send: again}, {wait: 1d}, {send: bye}]", exit_when="[{event: cart_updated}]",
        steps="- wait: 3d\n- send: hello",
    )  # fmt: skip
    world = World(text)
    world.contact("ana")
    world.event("ana", "signup", at("0m"))
    world.ticks("5m")
    world.event("ana", "purchase", at("10m"))
    world.ticks("15m")
    world.event("ana", "cart_updated", at("20m"))
    world.ticks("25m", "2d", "5d")
    assert world.messages("ana") == ["again", "bye"]
    assert world.states() == [("goal", "goal")]


def test_a_state_goal_that_holds_at_entry_is_already():
    world = World(workflow("w", goal="{field: stage, is: customer}", steps="- send: hello"))
    world.contact("old", stage="customer")
    world.contact("new")
    for key in ("old", "new"):
        world.event(key, "signup", at("1m"))
    world.ticks("5m")
    assert world.states(key="old") == [("exited", "already")]
    assert world.messages("old") == []
    assert world.messages("new") == ["hello"]
    assert world.connection.execute("SELECT count(*) FROM enrollments WHERE goal_at IS NOT NULL").fetchone() == (0,)


def test_a_state_goal_met_by_a_step_of_its_own():
    world = World(workflow("w", goal="{field: stage, is: customer}", steps="- set: {stage: customer}\n- send: hello"))
    world.contact("ana")
    world.event("ana", "signup", at("1m"))
    world.ticks("5m")
    assert (world.messages("ana"), world.states()) == ([], [("goal", "goal")])


# -------------------------------------------------------------------------------------------------------------------- exits


def test_exit_when_compares_with_the_trigger():
    text = workflow(
        "w", triggers="[{event: cart_updated, where: {items: {gt: 0}}}]", reentry="{while_active: parallel, key: trigger.cart_id}",
        exit_when="[{event: cart_updated, where: {items: 0, cart_id: {is: {from: trigger.cart_id}}}}]", steps="- wait: 1d\n- send: hello",
    )  # fmt: skip
    world = World(text)
    world.contact("ana")
    world.event("ana", "cart_updated", at("1m"), items=2, cart_id="c1")
    world.event("ana", "cart_updated", at("2m"), items=1, cart_id="c2")
    world.ticks("5m")
    world.event("ana", "cart_updated", at("10m"), items=0, cart_id="c2")
    world.ticks("15m", "2d")
    assert world.ended("ana") == [("completed", None, 2 * 24 * 60), ("exited", "exit_when cart_updated", 10)]
    assert len(world.sent("ana")) == 1


def test_exits_apply_while_paused_and_nothing_runs():
    live = workflow("w", exit_when="[{event: purchase}]", steps="- wait: 1h\n- send: hello")
    world = World(live)
    for key in ("ana", "bob"):
        world.contact(key)
        world.event(key, "signup", at("0m"))
    world.ticks("5m")
    world.apply(live.replace("triggers:", "state: paused\ntriggers:"), now=at("10m"))
    world.event("ana", "purchase", at("20m"))
    world.contact("eve")
    world.event("eve", "signup", at("21m"))
    world.ticks("2h")
    assert (world.states(key="ana"), world.states(key="bob"), world.sent()) == (
        [("exited", "exit_when purchase")],
        [("active", None)],
        [],
    )
    world.apply(live, now=at("3h"))
    world.ticks("3h5m")
    assert world.messages("bob") == ["hello"]
    assert world.states(key="eve") == []  # what would have started while it was paused is gone


def test_what_fell_due_too_long_ago_in_a_pause_is_skipped():
    live = workflow("w", steps="- wait: 1h\n- send: hello\n  expire_after: 1d\n- send: bye")
    world = World(live)
    world.contact("ana")
    world.event("ana", "signup", at("0m"))
    world.ticks("5m")
    world.apply(live.replace("triggers:", "state: paused\ntriggers:"), now=at("10m"))
    world.ticks("3d")
    world.apply(live, now=at("3d"))
    world.ticks("3d5m")
    assert world.outbox("ana")[0] == ("hello", "email", "skipped", "expired")
