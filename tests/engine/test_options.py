"""What a workflow says beside its steps: exclusive groups, secondary goals, its audience, guards, its days; and orders by hand."""

from __future__ import annotations

import pytest

from flowctl.cli import explain
from flowctl.engine import by_hand
from flowctl.failure import UsageFailure
from flowctl.report.status import status
from flowctl.report.timeline import timeline
from flowctl.report.workflows import workflows
from tests.engine.world import SETTINGS, World, at, workflow

WAITS = "- wait: 5d\n- send: hello"


def group(name: str, event: str, priority: int) -> str:
    return workflow(
        name,
        steps=WAITS,
        triggers=f"[{{event: {event}}}]",
        exclusive_group="offers",
        priority=str(priority),
        reentry="{after: 1h}",
    )


# ------------------------------------------------------------------------------------------------------------ exclusive groups


def test_a_higher_priority_evicts_and_lower_or_equal_is_refused():
    world = World(group("low", "signup", 10), group("high", "purchase", 60), group("equal", "cart_updated", 60))
    world.contact("ana")
    world.event("ana", "signup", at("1h"))
    world.tick(at("1h"))
    world.event("ana", "purchase", at("2h"))
    world.tick(at("2h"))
    assert world.states(key="ana") == [("exited", "superseded"), ("active", None)]
    world.event("ana", "signup", at("4h"))
    world.event("ana", "cart_updated", at("4h"))
    world.tick(at("4h"))
    assert world.states("low") == [("exited", "superseded")]
    assert world.states("equal") == []
    refused = [detail for kind, detail in world.journal("ana") if kind == "refused"]
    assert sorted((detail["workflow"], detail["reason"]) for detail in refused) == [
        ("equal", "exclusive: high"),
        ("low", "exclusive: high"),
    ]
    world.tick(at("10d"))
    world.event("ana", "signup", at("10d"))
    world.tick(at("10d"))  # the other is over
    assert world.states("low")[-1] == ("active", None)


def test_facts_of_one_tick_admit_the_higher_alone():
    world = World(group("low", "signup", 10), group("high", "purchase", 60))
    world.contact("ana")
    world.contact("bea")
    for key in ("ana", "bea"):
        world.event(key, "signup", at("1h"))
    world.event("ana", "purchase", at("1h"))
    world.tick(at("1h"))
    assert world.entered() == [("ana", 60), ("bea", 60)]
    assert world.states("high", "ana") == [("active", None)]
    assert world.states("low", "bea") == [("active", None)]


# ------------------------------------------------------------------------------------------------------------ secondary goals


def test_secondary_goals_are_recorded_once_and_end_nothing():
    goals = "{bought: {event: purchase}, loyal: {field: stage, is: loyal}}"
    world = World(workflow("nurture", steps=WAITS, secondary_goals=goals, goal="{event: cart_updated}"))
    world.contact("ana")
    world.contact("bea", stage="loyal")
    for key in ("ana", "bea"):
        world.event(key, "signup", at("1h"))
    world.tick(at("1h"))
    for offset in ("2h", "3h"):
        world.event("ana", "purchase", at(offset), amount=1)
    world.set("ana", at("4h"), stage="loyal")
    world.tick(at("5h"))
    rows = world.connection.execute(
        "SELECT c.key, g.name, g.at FROM secondary_goals g JOIN enrollments e ON e.id = g.enrollment_id "
        "JOIN contacts c ON c.id = e.contact_id ORDER BY g.name"
    ).fetchall()
    assert rows == [("ana", "bought", at("2h")), ("ana", "loyal", at("4h"))]
    assert world.states("nurture") == [("active", None), ("active", None)]
    assert [detail for kind, detail in world.journal("ana") if kind == "secondary_goal"] == [
        {"reason": "bought"},
        {"reason": "loyal"},
    ]


def test_a_fact_that_ends_the_journey_is_a_secondary_goal_too():
    world = World(
        workflow("nurture", steps=WAITS, secondary_goals="{bought: {event: purchase}}", goal="{event: purchase}")
    )
    world.contact("ana")
    world.event("ana", "signup", at("1h"))
    world.event("ana", "purchase", at("1h") + 1, amount=1)
    world.tick(at("2h"))
    assert world.states("nurture") == [("goal", "goal")]
    assert world.connection.execute("SELECT name FROM secondary_goals").fetchall() == [("bought",)]


# ----------------------------------------------------------------------------------------------------- audience, holdout, days


def test_leave_when_outside():
    said = {"audience": "{field: stage, is: lead}", "leave_when_outside": "true"}
    world = World(
        workflow("leads", steps=WAITS, **said), workflow("all", steps=WAITS, audience="{field: stage, is: lead}")
    )
    world.contact("ana", stage="lead")
    world.event("ana", "signup", at("1h"))
    world.tick(at("1h"))
    world.set("ana", at("2h"), stage="customer")
    world.tick(at("2h"))
    assert world.states("leads") == [("exited", "outside")]
    assert world.states("all") == [("active", None)]


def test_a_workflow_may_leave_out_the_holdout():
    settings = SETTINGS + "holdout: 100%\n"
    world = World(
        workflow("held", steps="- send: hello"),
        workflow("open", steps="- send: bye", holdout="false"),
        settings=settings,
    )
    world.contact("ana")
    world.event("ana", "signup", at("1h"))
    world.tick(at("1h"))
    assert world.messages("ana") == ["bye"]
    assert ("hello", "email", "skipped", "holdout") in world.outbox("ana")


def test_active_days_and_what_becomes_of_those_inside():
    days = "{from: 2026-03-03, until: 2026-03-04, at_end: AT_END}"
    texts = [
        workflow(word, steps=WAITS, active=days.replace("AT_END", word), reentry="{after: 1h, while_active: parallel}")
        for word in ("finish", "exit")
    ]
    world = World(*texts)
    world.contact("ana")
    for when in ("2026-03-02T22:59:00Z", "2026-03-02T23:00:00Z", "2026-03-04T22:59:00Z", "2026-03-04T23:00:00Z"):
        world.event("ana", "signup", at(when))
        world.tick(at(when))
    assert len(world.states("finish")) == 2
    assert world.states("finish") == [("active", None), ("active", None)]
    assert world.states("exit") == [("exited", "ended"), ("exited", "ended")]


# --------------------------------------------------------------------------------------------------------------------- guards


GUARDED = (
    SETTINGS
    + """
teams: {marketing: {members: [lea], email: team@example.com}}
guards: [{unsubscribed: 20%, over: 7d, at_least: 4, then: pause, notify: marketing}]
"""
)


def tire(world, keys, when):
    for key in keys:
        row = "INSERT INTO message_events (contact_id, message, status, at, outbox_id) SELECT contact_id, message, 7, ?, id FROM outbox WHERE contact_id = ?"
        world.connection.execute(row, (when, world.id_of(key)))


def guarded_world(count: int = 5, settings: str = GUARDED) -> tuple[World, list[str]]:
    world = World(workflow("news", steps="- send: hello\n- wait: 1d\n- send: bye"), settings=settings)
    keys = [f"c{number}" for number in range(count)]
    for key in keys:
        world.contact(key)
        world.event(key, "signup", at("1h"))
    world.tick(at("1h"))
    return world, keys


def test_a_workflow_that_tires_people_is_paused_and_its_team_told():
    world, keys = guarded_world()
    tire(world, keys[:1], at("2h"))
    assert world.tick(at("2h")).guarded == {}  # 20 % is the limit
    tire(world, keys[1:2], at("3h"))
    report = world.tick(at("3h"))
    assert report.guarded == {
        "news": "guard: 2 of 5 messages unsubscribed (40.0%, limit 20.0% over 7d); paused, marketing told"
    }
    assert status(world.store, now=at("3h")).guarded == report.guarded
    assert world.connection.execute("SELECT recipient, team FROM notices").fetchall() == [
        ("team@example.com", "marketing")
    ]
    assert workflows(world.store)[0].state == "paused by a guard"
    story = timeline(world.store, keys[4])
    assert story.pending[0].standstill == "paused by a guard"
    assert "until 2026-03-03 12:00; the workflow is paused by a guard" in explain.drawn(story, 200)[-1]
    world.tick(at("3d"))
    assert [row[0] for row in world.outbox(keys[4])] == ["hello"]
    world.apply(workflow("news", steps="- send: hello\n- wait: 1d\n- send: again"), settings=GUARDED, now=at("3d"))
    world.tick(at("3d") + 1)
    assert [row[0] for row in world.outbox(keys[4])] == ["hello"]  # an apply does not wake it
    by_hand.resume(world.connection, "news", now=at("4d"))
    tire(world, keys[2:3], at("4d") + 1)
    assert world.tick(at("4d") + 2).guarded == {}  # what left before a person resumed it counts no more
    assert [row[0] for row in world.outbox(keys[4])] == ["hello", "bye"]
    assert workflows(world.store)[0].state == "live"


@pytest.mark.parametrize(
    ("team", "then", "told"),
    [
        ("alert: 'https://hooks.example.com/1'", "pause", "; paused, marketing told"),
        ("alert: 'https://hooks.example.com/1', email: team@example.com", "notify", "; marketing told"),
        ("members: [lea]", "pause", "; paused"),
    ],
)
def test_a_team_is_told_by_its_alert_where_it_has_one_and_said_to_be_told_where_it_can_be(team, then, told):
    settings = GUARDED.replace("members: [lea], email: team@example.com", team).replace("then: pause", f"then: {then}")
    world, keys = guarded_world(settings=settings)
    tire(world, keys[:2], at("2h"))
    assert world.tick(at("2h")).guarded["news"].endswith(f"over 7d){told}")
    recipients = world.connection.execute("SELECT recipient FROM notices").fetchall()
    assert recipients == ([("alert:marketing",)] if "alert" in team else [])
    assert workflows(world.store)[0].state == ("paused by a guard" if then == "pause" else "live")


def test_a_pause_by_hand_takes_the_place_of_the_guards():
    world, keys = guarded_world()
    tire(world, keys[:2], at("2h"))
    world.tick(at("2h"))
    by_hand.pause(world.connection, "news")
    assert workflows(world.store)[0].state == "paused by hand"


def test_too_few_messages_prove_nothing():
    world, keys = guarded_world(3)
    tire(world, keys, at("2h"))
    assert world.tick(at("2h")).guarded == {}


# -------------------------------------------------------------------------------------------------------------------- by hand


def running() -> World:
    world = World(
        workflow("news", steps="- send: hello\n- wait: 1d\n- send: bye", reentry="{after: 1h, while_active: parallel}")
    )
    world.contact("ana")
    world.event("ana", "signup", at("1h"))
    world.tick(at("1h"))
    return world


def test_a_pause_by_hand_outlasts_an_apply_and_resuming_makes_held_messages_ready():
    world = running()
    by_hand.pause(world.connection, "news")
    assert workflows(world.store)[0].state == "paused by hand"
    world.event("ana", "signup", at("3h"))
    world.tick(at("2d"))
    assert (world.messages("ana"), len(world.states())) == (["hello"], 1)
    world.apply(workflow("news", steps="- send: hello\n- wait: 2d\n- send: bye"), now=at("2d"))
    assert by_hand.resume(world.connection, "news", now=at("2d")) == ("live", 0)
    world.tick(at("2d"))
    assert world.messages("ana") == ["hello", "bye"]


def test_a_message_held_by_a_pause_leaves_on_resume():
    text = workflow("news", steps="- send: hello", reentry="{after: 1h, while_active: parallel}")
    world = World(text, settings=SETTINGS + "pressure: {email: [1 per 16h]}\n")
    world.contact("ana")
    for offset in ("1h", "3h"):  # the second one is held back by the cap until 17 h
        world.event("ana", "signup", at(offset))
        world.tick(at(offset))
    by_hand.pause(world.connection, "news")
    world.tick(at("18h"))
    assert [row[2:] for row in world.outbox("ana")] == [("sent", None), ("ready", "paused")]
    assert by_hand.resume(world.connection, "news", now=at("18h") + 1) == ("live", 1)
    world.tick(at("18h") + 1)
    assert world.messages("ana") == ["hello", "hello"]


def test_draining_and_stopping_by_hand():
    world = running()
    by_hand.drain(world.connection, "news")
    world.event("ana", "signup", at("3h"))
    world.tick(at("2d"))
    assert (world.messages("ana"), len(world.states())) == (["hello", "bye"], 1)
    by_hand.resume(world.connection, "news", now=at("2d"))
    world.event("ana", "signup", at("3d"))
    world.tick(at("3d"))
    assert by_hand.stop(world.connection, "news", now=at("3d") + 2) == 1
    world.event("ana", "signup", at("4d"))
    world.tick(at("4d"))
    assert world.states()[-1] == ("exited", "stopped")
    assert len(world.states()) == 2
    assert workflows(world.store)[0].state == "stopped by hand"


def test_a_slip_is_told():
    world = running()
    with pytest.raises(UsageFailure) as found:
        by_hand.pause(world.connection, "newz")
    assert found.value.help == "did you mean 'news'?"
    with pytest.raises(UsageFailure):
        by_hand.resume(world.connection, "news", now=at("2h"))


@pytest.mark.parametrize("end", ["goal: '{event: purchase}'", "exit_when: '[{event: purchase}]'"])
def test_what_the_ending_fact_scores_is_a_secondary_goal_too(end):
    """The tier that a purchase lifts the contact into, and the field that follows from it, though the purchase ends the journey."""
    name, _, said = end.partition(": ")
    score = "score: points\nrules:\n  - {when: {event: purchase}, add: 60}\nmin: 0\ntiers: [{cold: 0}, {mql: 50}]"
    settings = SETTINGS.replace("    push: text", "    points: number\n    push: text")
    goals = "{mql: {field: points_tier, is: mql}, rich: {field: points, gte: 60}, late: {field: stage, is: loyal}}"
    world = World(
        score,
        workflow("nurture", steps=WAITS, secondary_goals=goals, **{name: said.strip("'")}),
        settings=settings,
    )
    world.contact("ana")
    world.event("ana", "signup", at("1h"))
    world.tick(at("1h"))
    world.event("ana", "purchase", at("2h1m"), amount=1)
    world.tick(at("2h5m"))
    world.set("ana", at("2h7m"), stage="loyal")  # after the end
    world.tick(at("2h10m"))
    assert world.states("nurture")[0][0] in ("goal", "exited")
    rows = world.connection.execute("SELECT name, at FROM secondary_goals ORDER BY name").fetchall()
    assert rows == [("mql", at("2h1m")), ("rich", at("2h1m"))]
    assert sum(kind == "secondary_goal" for kind, _ in world.journal("ana")) == 2
