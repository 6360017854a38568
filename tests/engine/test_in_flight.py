"""Contacts in flight when a workflow changes: they finish what they entered, or go where `move:` or an order sends them."""

from __future__ import annotations

import json

import pytest

from flowctl.engine import apply as applying
from flowctl.engine import by_hand
from flowctl.engine.in_flight import parse_orders
from flowctl.engine.plan import plan
from flowctl.engine.runtime import load
from flowctl.failure import ProblemsFound, UsageFailure
from flowctl.report.audit import audit
from flowctl.report.funnel import funnel
from tests.engine.world import World, at, project, workflow

STEPS = "- send: hello\n- {id: pause, wait: 2d}\n- send: bye\n"
W = workflow("w", steps=STEPS)
CHANGES = {
    "deleted": STEPS.replace("- {id: pause, wait: 2d}\n", ""),
    "renamed": STEPS.replace("pause", "rest"),
    "inserted": STEPS.replace("- {id: pause", "- send: again\n- {id: pause"),
    "another": "- send: again\n",
}


def waiting() -> World:
    """Ana stands on `pause`, until two days after she came in."""
    world = World(W)
    world.contact("ana")
    world.event("ana", "signup", at("1m"))
    world.ticks("5m")
    return world


def order(world: World, text: str, now: int, **said):
    return applying.apply(world.store, project(text), commit="abc1234", now=now, **said)


@pytest.mark.parametrize("steps", CHANGES.values(), ids=CHANGES)
def test_a_changed_workflow_leaves_who_is_inside_alone_and_takes_newcomers(steps):
    world = waiting()
    world.apply(workflow("w", steps=steps), now=at("1h"))
    world.contact("bob")
    world.event("bob", "signup", at("2h"))
    world.ticks("2h5m", "1d", "3d", "5d")
    assert world.messages("ana") == ["hello", "bye"]
    assert world.messages("bob") == [line.split(": ")[1] for line in steps.splitlines() if "send" in line]
    assert audit(world.store, now=at("5d")).enrollments == {"completed": 2}


def test_a_deleted_file_drains():
    world = waiting()
    world.apply(now=at("1h"))
    world.event("ana", "signup", at("2h"))
    world.ticks("2h5m", "3d")
    assert world.messages("ana") == ["hello", "bye"]
    assert world.states("w") == [("completed", None)]


def test_a_broken_file_is_refused_and_changes_nothing():
    world = waiting()
    with pytest.raises(ProblemsFound):
        order(world, W.replace("send: bye", "send: nobody"), at("1h"))
    world.ticks("3d")
    assert world.connection.execute("SELECT count(*) FROM releases").fetchone() == (1,)
    assert world.messages("ana") == ["hello", "bye"]


MOVED = workflow("w", steps="- send: hello\n- {id: rest, wait: 1d}\n- send: again\n", move="{pause: rest}")


def test_a_move_carries_over_who_stands_on_the_step_and_they_arrive_there_anew():
    world = waiting()
    found = plan(world.store, project(MOVED), now=at("1h"))
    assert (found.workflows[0].moved, found.workflows[0].lost) == ({"pause": 1}, {})
    release = world.apply(MOVED, now=at("1h"))
    assert release.carried.moved == {"w": {"pause": 1}}
    assert ("moved", {"from": "pause", "from_version": 1}) in world.journal("ana")
    world.ticks("1d30m")
    assert world.messages("ana") == ["hello"]
    world.ticks("1d1h")
    assert world.sent("ana")[-1] == ("again", "email", 25 * 60)
    world.ticks("3d")
    assert world.states() == [("completed", None)]
    orders = json.loads(world.connection.execute("SELECT orders FROM release_orders").fetchone()[0])
    assert orders == {"moved": {"w": {"pause": 1}}}


def test_a_move_calls_back_the_message_that_had_not_left():
    world = World(workflow("w", steps="- send: hello\n- exit: over\n"))
    world.contact("ana")
    world.event("ana", "signup", at("1m"))
    world.ticks("5m")
    world.connection.execute("DELETE FROM message_events")
    world.connection.execute(
        "UPDATE outbox SET state = 0, settled_at = NULL, counted_at = NULL, ready_at = ?", (at("9d"),)
    )
    world.connection.execute("UPDATE enrollments SET state = 0, reason = NULL, ended_at = NULL, due_at = NULL, pc = 0")
    world.connection.execute("DELETE FROM journal WHERE kind = 16")
    world.apply(workflow("w", steps="- {id: later, wait: 1h}\n- send: bye\n", move="{hello: later}"), now=at("1h"))
    assert world.outbox("ana") == [("hello", "email", "cancelled", "moved")]
    world.ticks("1h5m", "3h")
    assert world.messages("ana")[-1] == "bye"


def test_a_move_takes_along_nobody_who_stands_elsewhere():
    world = World(workflow("w", steps="- {id: first, wait: 1h}\n- {id: pause, wait: 2d}\n- send: bye\n"))
    world.contact("ana")
    world.event("ana", "signup", at("1m"))
    world.ticks("5m")
    assert world.apply(MOVED, now=at("10m")).carried.moved == {"w": {"pause": 0}}
    world.ticks("2h", "3d")
    assert world.messages("ana") == ["bye"]


@pytest.mark.parametrize(
    ("move", "told"),
    [
        ("{pauze: rest}", "has no step `pauze`; did you mean `pause`?"),
        ("{pause: rezt}", "no step `rezt`; did you mean `rest`?"),
    ],
)
def test_a_move_of_a_step_that_is_not_there_is_refused_where_it_stands(move, told):
    world = waiting()
    with pytest.raises(ProblemsFound) as refused:
        order(world, MOVED.replace("{pause: rest}", move), at("1h"))
    (problem,) = refused.value.problems
    assert told in problem.message
    assert (problem.place.path, problem.place.line) == ("file0.yaml", 2)
    assert problem.place.column > len("move: ")


def test_a_move_may_stay_in_the_file_and_a_new_store_takes_it():
    world = World(MOVED)
    assert not world.apply("# again\n" + MOVED, now=at("1h")).same


def test_an_order_takes_everybody_out_of_older_versions_and_is_recorded():
    world = waiting()
    changed = workflow("w", steps=CHANGES["another"])
    assert plan(world.store, project(changed), now=at("1h"), in_flight={"w": "exit"}).workflows[0].exits == 1
    order(world, changed, at("1h"), in_flight={"w": "exit"})
    world.contact("bob")
    world.event("bob", "signup", at("2h"))
    world.ticks("3h", "3d")
    assert world.states("w") == [("exited", "in-flight: exit"), ("completed", None)]
    assert world.messages("ana") == ["hello"]
    orders = json.loads(world.connection.execute("SELECT orders FROM release_orders").fetchone()[0])
    assert orders == {"in_flight": {"w": "exit"}, "exited": {"w": 1}}


def test_an_order_after_the_release_takes_out_who_is_still_in_older_versions_of_the_same_files():
    world = waiting()
    changed = workflow("w", steps=CHANGES["another"])
    order(world, changed, at("1h"))
    assert not order(world, changed, at("2h"), in_flight={"w": "exit"}).same
    world.ticks("3d")
    assert world.states("w") == [("exited", "in-flight: exit")]


def test_finish_by_order_is_stronger_than_a_move():
    world = waiting()
    order(world, MOVED, at("1h"), in_flight={"w": "finish"})
    world.ticks("3d")
    assert world.messages("ana") == ["hello", "bye"]


def test_orders_with_unknown_names_change_nothing():
    world = waiting()
    with pytest.raises(UsageFailure, match="no workflow 'v'"):
        order(world, MOVED, at("1h"), in_flight={"v": "exit"})
    assert world.connection.execute("SELECT count(*) FROM releases").fetchone() == (1,)
    with pytest.raises(UsageFailure, match="say what becomes"):
        parse_orders(["w=leave"])


def test_a_move_into_a_repeat_arrives_in_its_first_turn():
    world = waiting()
    turns = "- repeat: {every: 1d, max: 2}\n  steps: [{id: rest, wait: 1h}, {send: again}]\n- send: bye\n"
    world.apply(workflow("w", steps=turns, move="{pause: rest}"), now=at("1h"))
    world.every("1h", "4d")
    assert world.messages("ana") == ["hello", "again", "again", "bye"]
    assert world.states() == [("completed", None)]


def test_versions_are_reported_side_by_side_after_a_move():
    world = waiting()
    world.contact("bob")
    world.event("bob", "signup", at("6m"))
    world.ticks("10m")
    world.apply(MOVED, now=at("1h"))
    world.ticks("3d")
    first, second = (funnel(world.store, "w", version=number) for number in (1, 2))
    assert (first.entered, second.entered, second.completed) == (0, 2, 2)
    assert {step.step: step.reached for step in second.steps}["again"] == 2


def test_who_was_moved_did_not_reach_the_steps_behind_in_the_old_version():
    world = waiting()
    world.apply(MOVED, now=at("1h"))
    world.contact("bob")
    world.event("bob", "signup", at("1h"))
    world.ticks("2h", "3d")
    first, second = (
        {each.step: each.reached for each in funnel(world.store, "w", version=number).steps} for number in (1, 2)
    )
    assert (first["pause"], first["bye"]) == (1, 0)
    assert second["again"] == 2
    both = {each.step: each.reached for each in funnel(world.store, "w").steps}
    assert (both["again"], both["bye"]) == (2, 0)


def test_who_is_enrolled_inside_a_repeat_is_in_its_first_turn():
    turns = "- repeat: {every: 1d, max: 2}\n  steps: [{id: rest, wait: 1h}, {send: again}]\n- send: bye\n"
    world = World(workflow("w", steps=turns))
    ana = world.contact("ana")
    by_hand.enroll(world.connection, load(world.connection), "w", [ana], step="rest", force=False, now=at("1m"))
    world.every("1h", "4d")
    assert world.messages("ana") == ["again", "again", "bye"]


def test_the_goal_is_the_one_of_the_version_entered():
    steps = "- wait: 2d\n- send: bye\n"
    world = World(workflow("w", steps=steps, goal="{event: purchase}"))
    for key in ("ana", "bob"):
        world.contact(key)
    world.event("ana", "signup", at("1m"))
    world.ticks("5m")
    world.apply(workflow("w", steps=steps, goal="{event: cart_updated}"), now=at("1h"))
    world.event("bob", "signup", at("2h"))
    world.ticks("3h")
    world.event("ana", "cart_updated", at("4h"))
    world.event("bob", "purchase", at("4h"))
    world.ticks("5h")
    assert world.states() == [("active", None), ("active", None)]
    world.event("ana", "purchase", at("6h"))
    world.event("bob", "cart_updated", at("6h"))
    world.ticks("7h")
    assert world.states() == [("goal", "goal"), ("goal", "goal")]


def test_a_move_leaves_who_has_a_message_half_way_out():
    world = World(workflow("w", steps="- send: hello\n- send: bye\n"))
    world.contact("ana")
    world.event("ana", "signup", at("1m"))
    world.ticks("5m")
    world.connection.execute("UPDATE enrollments SET state = 0, ended_at = NULL, pc = 0")
    world.connection.execute("UPDATE outbox SET state = 2, settled_at = NULL WHERE pc = 0")
    release = world.apply(
        workflow("w", steps="- {id: later, wait: 1h}\n- send: bye\n", move="{hello: later}"), now=at("1h")
    )
    assert release.carried.moved == {"w": {"hello": 0}}
    assert world.connection.execute(
        "SELECT v.number FROM enrollments e JOIN workflow_versions v ON v.id = e.version_id"
    ).fetchall() == [(1,)]


def test_a_file_that_comes_back_takes_newcomers_while_the_first_ones_finish():
    world = waiting()
    world.apply(now=at("1h"))
    world.apply(workflow("w", steps=CHANGES["another"]), now=at("2h"))
    world.contact("bob")
    world.event("bob", "signup", at("3h"))
    world.ticks("3h5m", "3d")
    assert (world.messages("ana"), world.messages("bob")) == (["hello", "bye"], ["again"])
