"""What came first: facts and time-outs in one tick, out of order, repeated, at one instant, before a wait, dated ahead."""

from __future__ import annotations

from itertools import permutations

import pytest

from tests.engine.world import HOUR, MINUTE, World, at, workflow

AWAIT = (
    "- wait: 1h\n- wait_for: {event: purchase}\n  timeout: 2h\n  then: [{exit: bought}]\n  on_timeout: [{exit: late}]"
)
FIRST = "- wait_for: {event: purchase}\n  timeout: 2h\n  then: [{exit: bought}]\n  on_timeout: [{exit: late}]"


def entered(steps: str, when: str = "0m", **keys: str) -> World:
    world = World(workflow("w", steps=steps, **keys))
    world.contact("ana")
    world.event("ana", "signup", at(when))
    return world


# ------------------------------------------------------------------------------------- a fact and a time-out seen together


@pytest.mark.parametrize("tick", ["3h", "3h1m", "5h", "3d"])
@pytest.mark.parametrize(
    ("purchase", "outcome"),
    [(3 * HOUR - 1, "bought"), (3 * HOUR, "bought"), (3 * HOUR + 1, "late")],
)
def test_the_times_of_fact_and_timeout_decide_whenever_a_tick_looks(purchase, outcome, tick):
    world = entered(AWAIT)
    world.event("ana", "purchase", at(purchase))
    world.ticks("1h", tick, "4d")
    assert world.ended("ana") == [("exited", outcome, min(purchase, 3 * HOUR) / MINUTE)]


@pytest.mark.parametrize("tick", ["3h", "5h"])
@pytest.mark.parametrize(("purchase", "enters"), [(3 * HOUR, 0), (3 * HOUR + 1, 1)])
def test_what_prevents_an_entry_at_the_last_instant_prevents_it(purchase, enters, tick):
    world = World(
        workflow("w", triggers="[{event: signup, unless: {event: purchase, within: 3h}}]", steps="- wait: 1h")
    )
    world.contact("ana")
    world.event("ana", "signup", at(0))
    world.event("ana", "purchase", at(purchase))
    world.ticks(tick, "6h")
    assert len(world.entered("w")) == enters


def test_a_timeout_that_a_tick_has_seen_stays_though_the_fact_arrives_later():
    world = entered(AWAIT)
    world.ticks("1h", "3h5m")
    world.event("ana", "purchase", at("2h"))  # reported an hour late
    world.ticks("3h10m")
    assert world.ended("ana") == [("exited", "late", 180)]


def test_a_goal_and_a_step_due_at_one_instant_the_goal_comes_first():
    world = entered("- wait: 1h\n- add: {visits: 1}", goal="{event: purchase}")
    world.event("ana", "purchase", at("1h"))
    world.ticks("2h")
    assert world.ended("ana") == [("goal", "goal", 60)]
    assert world.value("ana", "visits") is None


# ------------------------------------------------------------------------------------------------------------ out of order


@pytest.mark.parametrize("order", list(permutations(("20m", "40m", "1h30"))))
def test_facts_stored_out_of_order_count_by_their_own_times(order):
    """Stored between two ticks: the first of them since the wait began ends it, whichever came in first."""
    world = entered("- wait: 30m\n- wait_for: {event: purchase}\n  timeout: 2h\n  then: [{exit: bought}]")
    world.ticks("30m")
    for when in order:
        world.event("ana", "purchase", at(when))
    world.ticks("2h")
    assert world.ended("ana") == [("exited", "bought", 40)]


def test_the_last_of_a_property_is_the_newest_by_time_not_the_last_to_arrive():
    steps = "- wait: 1h\n- if: {event: cart_updated, since: ever, last: {items: 0}}\n  then: [{exit: empty}]\n  else: [{exit: full}]"
    world = entered(steps)
    world.event("ana", "cart_updated", at("50m"), items=0)
    world.event("ana", "cart_updated", at("40m"), items=2)
    world.ticks("1h")
    assert world.states() == [("exited", "empty")]


def test_triggers_out_of_order_enter_in_the_order_of_their_times():
    world = World(workflow("w", reentry="{after: 30m, since: entry}", steps="- exit: {}".replace(" {}", " done")))
    world.contact("ana")
    for when in ("2h", "1h", "1h15m", "3h"):
        world.event("ana", "signup", at(when))
    world.ticks("4h")
    assert [minutes for _, minutes in world.entered("w")] == [60, 120, 180]


# ---------------------------------------------------------------------------------------------------------- at one instant


@pytest.mark.parametrize("ticks", [("5m",), ("0m", "5m")])
def test_two_events_in_one_second_are_two(ticks):
    steps = "- wait: 1h\n- if: {event: cart_updated, since: 2h, count: {gte: 2}}\n  then: [{exit: two}]\n  else: [{exit: one}]"
    world = entered(steps)
    for _ in range(2):
        world.event("ana", "cart_updated", at("0m"), items=1)
    world.ticks(*ticks, "1h")
    assert world.states() == [("exited", "two")]


def test_at_one_instant_what_arrived_after_the_cause_came_after_it():
    """Files write whole seconds: a purchase in the second of the sign-up, listed behind it, ends the wait for it."""
    for before, outcome in ((False, ("exited", "bought", 0)), (True, ("exited", "late", 120))):
        world = World(workflow("w", steps=FIRST))
        world.contact("ana")
        for name in ("purchase", "signup") if before else ("signup", "purchase"):
            world.event("ana", name, at("0m"))
        world.ticks("5m", "3h")
        assert world.ended("ana") == [outcome]


def test_the_cause_itself_never_ends_the_wait_that_follows_it():
    world = World(workflow("w", triggers="[{event: purchase}]", reentry="{while_active: ignore}", steps=FIRST))
    world.contact("ana")
    world.event("ana", "purchase", at("0m"))
    world.ticks("5m", "3h")
    assert world.ended("ana") == [("exited", "late", 120)]


@pytest.mark.parametrize(("policy", "runs"), [("ignore", 1), ("restart", 2), ("parallel", 2)])
def test_two_triggers_in_one_second_follow_the_policy(policy, runs):
    world = World(workflow("w", reentry=f"{{after: 1h, while_active: {policy}}}", steps="- wait: 2h"))
    world.contact("ana")
    for _ in range(2):
        world.event("ana", "signup", at("1m"))
    world.ticks("5m")
    assert len(world.entered("w")) == runs


# -------------------------------------------------------------------------------------------------------- before the wait


@pytest.mark.parametrize(
    ("since", "outcome"),
    [("", "late"), (", since: 1d", "bought"), (", since: ever", "bought"), (", since: entry", "bought"), (", since: hello", "late"), (", since: pause", "bought")],
)  # fmt: skip
def test_what_happened_before_the_wait_counts_only_where_since_says_so(since, outcome):
    steps = (
        "- id: pause\n  wait: 30m\n- wait: 30m\n- send: hello\n"
        f"- wait_for: {{event: purchase{since}}}\n  timeout: 2h\n  then: [{{exit: bought}}]\n  on_timeout: [{{exit: late}}]"
    )
    world = entered(steps)
    world.event("ana", "purchase", at("45m"))
    world.every("15m", "4h")
    assert world.states() == [("exited", outcome)]


# ------------------------------------------------------------------------------------------------------------ dated ahead


@pytest.mark.parametrize("ticks", [("5m", "1h", "1h55m", "2h", "2h30", "4h"), ("5m", "4h")])
@pytest.mark.parametrize(("dated", "outcome"), [("2h", ("exited", "bought", 120)), ("4h", ("exited", "late", 180))])
def test_a_fact_dated_ahead_counts_when_its_time_comes(dated, outcome, ticks):
    world = entered(AWAIT)
    world.event("ana", "purchase", at(dated))
    world.ticks(*ticks)
    assert world.ended("ana") == [outcome]


def test_until_its_time_no_condition_goal_or_segment_sees_it():
    world = World(
        "segment: buyers\nmatch: {event: purchase, since: 30d}",
        workflow(
            "w",
            goal="{event: purchase}",
            steps="- wait: 1h\n- if: {event: purchase, since: ever}\n  then: [{exit: seen}]\n- wait: 2h\n- exit: over",
        ),
        workflow("s", triggers="[{enters: buyers}]", steps="- exit: in"),
    )
    world.contact("ana")
    world.event("ana", "signup", at("0m"))
    world.event("ana", "purchase", at("2h"))
    world.ticks("1h", "1h55m")
    assert world.states("w") == [("active", None)]
    assert world.entered("s") == []
    world.ticks("2h")
    assert world.ended("ana") == [("goal", "goal", 120), ("exited", "in", 120)]


@pytest.mark.parametrize("pace", ["on time", "late"])
def test_a_field_change_dated_ahead_triggers_when_its_time_comes(pace):
    world = World(workflow("w", triggers="[{field: stage, to: customer}]", steps="- exit: in"))
    world.contact("ana")
    world.ticks("5m")
    world.set("ana", at("2h"), stage="customer")
    if pace == "on time":
        world.ticks("1h", "1h55m")
        assert world.entered() == []
    world.ticks("2h", "3h")
    assert world.entered() == [("ana", 120)]


# ------------------------------------------------------------------------------------------- after the end, in one slice


@pytest.mark.parametrize("ticks", [("1h", "1h5m"), ("1h5m",), ("1h1m", "1h2m", "1h3m", "1h4m", "1h5m"), ("9h",)])
class TestAfterTheEnd:
    """A run is over at 61 minutes; what happens a minute or two later finds it so, though one tick sees both."""

    def test_a_trigger_enters_anew(self, ticks):
        world = World(workflow("w", reentry="{after: 30s}", steps="- wait: 1h\n- exit: done"))
        world.contact("ana")
        world.event("ana", "signup", at("1m"))
        world.ticks("5m")
        world.event("ana", "signup", at("1h3m"))
        world.ticks(*ticks)
        assert [minutes for _, minutes in world.entered("w")] == [1, 63]

    @pytest.mark.parametrize("ending", ["goal: '{event: purchase}'", "exit_when: '[{event: purchase}]'"])
    def test_what_would_have_ended_it_comes_too_late(self, ticks, ending):
        name, _, said = ending.partition(": ")
        world = World(workflow("w", steps="- wait: 1h\n- add: {visits: 1}", **{name: said.strip("'")}))
        world.contact("ana")
        world.event("ana", "signup", at("1m"))
        world.ticks("5m")
        world.event("ana", "purchase", at("1h3m"))
        world.ticks(*ticks)
        assert world.ended("ana") == [("completed", None, 61)]
        assert world.value("ana", "visits") == 1

    def test_what_comes_before_it_ends_it(self, ticks):
        world = World(workflow("w", goal="{event: purchase}", steps="- wait: 1h\n- add: {visits: 1}"))
        world.contact("ana")
        world.event("ana", "signup", at("1m"))
        world.ticks("5m")
        world.event("ana", "purchase", at("1h1m"))  # at the very instant: before any step
        world.ticks(*ticks)
        assert world.ended("ana") == [("goal", "goal", 61)]
        assert world.value("ana", "visits") is None
