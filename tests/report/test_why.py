"""Why this person got this, or not: what each decision saw, who did not enter and why, what one message waited for."""

from __future__ import annotations

import json

import pytest

from flowctl.cli import explain
from flowctl.cli.main import main
from flowctl.engine.by_hand import drain, pause
from flowctl.failure import UsageFailure
from flowctl.report.timeline import timeline
from tests.engine.world import SETTINGS, World, at, workflow

VIPS = "segment: vip\nmatch: {event: purchase, since: 30d, count: {gte: 2}}"
CART = workflow(
    "cart",
    triggers="[{event: cart_updated, where: {items: {gt: 0}}}]",
    audience="{all: [{field: stage, is: customer}, {not: {segment: vip}}]}",
    reentry="{after: 1d}",
    exit_when="[{event: cart_updated, where: {items: 0}}]",
    steps="""
- wait: 1h
- if: {all: [{field: visits, gte: 2}, {event: purchase, since: 7d, count: {lt: 2}}, {reachable: sms}]}
  then: [{send: hello}]
  else: [{send: bye}]
- if: {trigger: {items: {gte: {from: contact.engagement}}}}
  then: [{wait: 1m}]
- id: buys
  wait_for: {event: purchase, where: {amount: {gte: 10}}}
  timeout: 3d
""",
)


@pytest.fixture(scope="module")
def world():
    """Ana is let in, Bob is a lead, Cleo cannot be reached; Dora's cart came before the workflow and an empty one after."""
    world = World(VIPS, CART)
    world.contact("ana", stage="customer", engagement=1)
    world.contact("bob", stage="lead")
    world.contact("cleo", stage="customer", consent=())
    world.contact("dora", stage="customer")
    world.event("dora", "cart_updated", at("-3d"), items=2)
    for key in ("ana", "bob", "cleo"):
        world.event(key, "cart_updated", at("1m"), items=2, cart_id="c1")
    world.event("ana", "cart_updated", at("2m"), items=3)
    world.event("dora", "cart_updated", at("2m"), items=0)
    world.ticks("5m", "2h")
    return world


def told(world: World, key: str, **asked: str) -> list[tuple[str, str, str]]:
    """Sentence, values and `file:line` of each entry, as explain says them."""
    story = timeline(world.store, key, now=world.now, **asked)
    return [
        (explain.sentence(each, story.zone), explain.values(each), each.step.where if each.step else "")
        for each in story.entries
    ]


def test_trigger_version_and_what_the_audience_saw(world):
    (entered,) = [line for line in told(world, "ana", workflow="cart") if line[0].startswith("entered")]
    assert entered[0] == "entered cart v1 (event cart_updated)"
    assert "items 2, cart_id c1" in entered[1]
    assert "stage customer, segment vip no" in entered[1]
    assert entered[2].startswith("file1.yaml:")
    assert entered[2].endswith("@abc1234")


def test_each_decision_keeps_the_values_it_saw_and_what_it_asked(world):
    first, second = [line[1] for line in told(world, "ana", workflow="cart") if "condition" in line[0]]
    assert first.startswith("visits unknown, purchase count 0, reachable sms no; asks {all: [{field: visits, gte: 2}, ")
    assert second == "trigger.items 2, engagement 1; asks {trigger: {items: {gte: {from: contact.engagement}}}}"


def test_they_are_those_of_then_not_of_today(world):
    later = world.snapshot()
    later.set("ana", at("3h"), visits=9, engagement=7)
    assert told(later, "ana", workflow="cart") == told(world, "ana", workflow="cart")


def test_who_did_not_enter_and_why(world):
    (refused,) = [line for line in told(world, "bob", workflow="cart") if "did not" in line[0]]
    assert refused[:2] == (
        "did not enter cart: the audience does not hold (event cart_updated)",
        "stage lead, segment vip no",
    )
    assert ("did not enter cart: inside already (event cart_updated)", "", "file1.yaml@abc1234") in told(
        world, "ana", workflow="cart"
    )
    (admission,) = timeline(world.store, "bob", workflow="cart", now=world.now).admissions
    assert (admission.reason, admission.seen) == ("audience", {"stage": "lead", "segment vip": False})
    assert admission.asks == "{all: [{field: stage, is: customer}, {not: {segment: vip}}]}"


def test_facts_that_started_nothing(world):
    lines = [line[:2] for line in told(world, "dora", workflow="cart")]
    asks = "asks {event: cart_updated, where: {items: {gt: 0}}}"
    assert lines == [
        ("cart_updated did not start cart: it happened before the workflow was first applied", f"items 2; {asks}"),
        ("cart_updated did not start cart: the trigger's `where` does not hold", f"items 0; {asks}"),
    ]
    (admission,) = timeline(world.store, "dora", workflow="cart", now=world.now).admissions
    assert admission.reason is None


def test_what_arrived_too_late_and_what_was_prevented():
    world = World(
        workflow("old", steps="- wait: 1h"),
        workflow("quiet", triggers="[{event: signup, unless: {event: purchase, within: 1h}}]", steps="- wait: 1h"),
    )
    world.contact("ana")
    world.ticks("5m", "3d")
    world.event("ana", "signup", at("1d"))  # told two days later
    world.event("ana", "purchase", at("1d30m"))
    world.ticks("3d5m")
    (late,) = [line[0] for line in told(world, "ana", workflow="old")]
    assert late.startswith("signup did not start old: older than `max_event_age` when it arrived")
    (prevented,) = [line[0] for line in told(world, "ana", workflow="quiet")]
    assert prevented == "signup did not start quiet: what its `unless` names came in time"


def test_a_hold_says_until_when_and_a_skip_why():
    capped = SETTINGS + "pressure: {email: [1 per 1d]}\n"
    steps = "- send: hello\n- {send: bye, expire_after: 2d}\n- {send: again, expire_after: 1h, on_skip: continue}"
    world = World(workflow("w", steps=steps), settings=capped)
    world.contact("ana", consent=("email",))
    world.event("ana", "signup", at("1m"))
    world.ticks("5m", "1d5m", "1d6h")
    lines = told(world, "ana", workflow="w")
    (held,) = [line for line in lines if line[0].startswith("held back bye")]
    assert held[0].startswith("held back bye: the pressure cap is full")
    assert "2026-03-03" in held[0] + held[1]
    assert held[2] == "file0.yaml:5@abc1234"
    assert any(line[0] == "skipped again: its `expire_after` was over" for line in lines)


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"reentry": "{after: never}"}, "once"),
        ({"reentry": "{after: 7d}"}, "too_soon"),
        ({"state": "paused"}, "closed"),
        ({"active": "{until: 2026-03-01}"}, "inactive"),
        ({"reentry": "{after: 1m}", "exclusive_group": "one", "priority": "10"}, "exclusive: other"),
        ({"reentry": "{after: 1m}"}, None),
    ],
)
def test_whether_one_would_enter_now(more, reason):
    other = workflow("other", triggers="[{event: purchase}]", exclusive_group="one", steps="- wait: 9d")
    world = World(workflow("w", steps="- wait: 1h"), other)
    world.contact("ana")
    world.event("ana", "signup", at("1m"))
    world.event("ana", "purchase", at("1m"))
    world.ticks("5m", "2h")
    world.apply(workflow("w", steps="- wait: 1h", **more), other, now=at("2h"))
    (admission,) = timeline(world.store, "ana", workflow="w", now=at("2h10m")).admissions
    assert admission.reason == reason
    # Nothing was written by asking.
    assert len(world.entered("w")) == 1


@pytest.mark.parametrize(
    ("order", "state"), [(pause, "paused by hand"), (drain, "draining by hand"), (None, "live")]
)  # fmt: skip
def test_a_workflow_that_admits_nobody_says_by_whose_word(order, state):
    world = World(workflow("w", steps="- wait: 1h"))
    world.contact("ana")
    if order:
        order(world.connection, "w")
    (admission,) = timeline(world.store, "ana", workflow="w", now=at("1h")).admissions
    assert (admission.state, admission.reason) == (state, "closed" if order else None)


def test_why_nobody_could_be_reached(world):
    (skipped,) = [line for line in told(world, "cleo") if "skipped" in line[0]]
    assert skipped[0] == "skipped bye: not reachable (email: no address)"
    other = World(workflow("w", steps="- wait: 1h\n- send: hello"))
    other.contact("ana", email="ana@example.com", consent=())
    other.contact("bob")
    for key in ("ana", "bob"):
        other.event(key, "signup", at("1m"))
    other.ticks("5m")
    other.withdraw("bob", "email", at("30m"))
    other.suppress("bob@example.com", at("31m"))
    other.ticks("2h")
    assert any(
        "skipped hello: not reachable (email: no consent; sms: no phone number; push: no address)" in line
        for line, *_ in told(other, "ana")
    )
    assert any("email: suppressed (manual)" in line for line, *_ in told(other, "bob"))


def test_one_message(world):
    lines = [line[0] for line in told(world, "ana", message="hello")]
    assert not any("bye" in line for line in lines)
    assert "the condition does not hold" in lines
    assert any("sent bye" in line for line, *_ in told(world, "ana", message="bye"))
    with pytest.raises(UsageFailure, match="helo") as unknown:
        timeline(world.store, "ana", message="helo")
    assert "hello" in unknown.value.help


def test_where_somebody_waits_for_what_and_until_when(world):
    (pending,) = timeline(world.store, "cleo", workflow="cart", now=world.now).pending
    text, _, where = explain._waiting(pending, "Europe/Paris")
    assert text.startswith(
        "→ cart stands on buys, waits for {event: purchase, where: {amount: {gte: 10}}}, until 2026-03-05 12:02"
    )
    line = int(where.removeprefix("file1.yaml:").removesuffix("@abc1234"))
    assert "id: buys" in CART.splitlines()[line - 1]


def test_a_wait_is_over_when_it_was_over(world):
    later = world.snapshot()
    later.ticks("6d")
    (over,) = [each for each in timeline(later.store, "cleo", workflow="cart").entries if each.kind == "timed_out"]
    assert over.at == at("1h1m") + (at("3d1m") - at(0))


def test_what_ended_a_journey_names_its_line(world):
    later = world.snapshot()
    later.event("ana", "cart_updated", at("3h"), items=0)
    later.ticks("3h5m")
    (left,) = [each for each in timeline(later.store, "ana", workflow="cart").entries if each.kind == "exited"]
    assert left.step is not None
    assert left.step.asks == "{event: cart_updated, where: {items: 0}}"
    line = CART.splitlines()[left.step.line - 1]
    assert line.startswith("exit_when:")


def test_on_the_command_line(tmp_path, monkeypatch, capsys):
    """The document holds what the lines say; the contact is not in the workflow."""
    from tests.shop import HOUR, NOW, Shop

    shop = Shop(tmp_path / "shop", people=2)
    shop.happens("bought", shop.people[0], NOW + HOUR, '{"amount": 20}')
    shop.ticks(NOW + 6 * HOUR)
    shop.store.close()
    monkeypatch.setenv("FLOWCTL_NOW", str(shop.now))
    assert main(["-C", str(shop.root), "explain", "k0", "--message", "present", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [(each["kind"], each["detail"]["reason"]) for each in said["entries"]] == [("passed_by", "where")]
    assert [(each["workflow"], each["would_enter"]) for each in said["admissions"]] == [("big-spender", True)]
    assert main(["-C", str(shop.root), "explain", "k0", "--workflow", "big-spender"]) == 0
    out = capsys.readouterr().out
    assert "now\t→ would enter big-spender on {event: bought, where: {amount: {gte: 100}}}" in out
    assert main(["-C", str(shop.root), "explain", "k0", "--workflow", "big-spende"]) == 2
    assert "did you mean 'big-spender'?" in capsys.readouterr().err


def test_who_is_taken_out_was_not_asked_what_the_step_would_have_asked():
    steps = "- wait_for: {event: purchase}\n  timeout: 1d"
    world = World(workflow("w", steps=steps, reentry="{while_active: restart}"))
    world.contact("ana")
    for when in ("1m", "3m"):
        world.event("ana", "signup", at(when))
    world.ticks("2m", "5m")
    (left,) = (each for each in timeline(world.store, "ana").entries if each.kind == "exited")
    assert (left.detail["reason"], left.step.asks) == ("restarted", "")
