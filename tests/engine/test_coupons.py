"""What templates call: coupons, events, and the codes that never leave twice."""

from __future__ import annotations

import pytest

from flowctl.failure import ProblemsFound
from flowctl.store import coupons
from tests.engine.world import World, at, workflow

MESSAGES = """
messages:
  gift:
    purpose: transactional
    sms: {text: "Your code {{ coupon('WELCOME10') }}"}
  seen:
    purpose: transactional
    sms: {text: "{% for e in events.last('purchase', 2) %}{{ e.cart_id }} {% endfor %}{{ events.last('signup') | length }}"}
"""
GIFT = workflow("gift", steps="- send: gift", reentry="{after: 1h}")
PHONES = {"ana": "+33612345678", "bea": "+33612345679", "cleo": "+33612345670"}


def world_of(*texts, messages=MESSAGES):
    world = World(*texts, messages=messages)
    for key, phone in PHONES.items():
        world.contact(key, phone=phone)
    return world


def texts(world):
    return [letter.payload["text"] for letter in world.channel.transmitted]


def test_each_contact_gets_one_code_and_keeps_it():
    world = world_of(GIFT)
    assert coupons.add(world.connection, "WELCOME10", ["A1", "B2", "C3", "D4", "A1"]) == 4
    for key in PHONES:
        world.event(key, "signup", at("1h"))
    world.tick(at("1h"))
    world.event("ana", "signup", at("5h"))
    world.tick(at("5h"))
    assert sorted(texts(world)[:3]) == ["Your code A1", "Your code B2", "Your code C3"]
    assert texts(world)[3] == texts(world)[0]
    assert [(pool.codes, pool.left) for pool in coupons.pools(world.connection)] == [(4, 1)]


def test_running_out_fails_that_message_with_a_reason():
    world = world_of(GIFT)
    coupons.add(world.connection, "WELCOME10", ["A1"])
    for key in ("ana", "bea"):
        world.event(key, "signup", at("1h"))
    world.tick(at("1h"))
    assert texts(world) == ["Your code A1"]
    (_, _, state, reason) = world.outbox("bea")[0]
    assert state == "failed"
    assert reason == "no code is left of coupon WELCOME10: `flowctl coupons import WELCOME10 FILE` brings more"


def test_events_last_are_the_newest_up_to_now():
    world = world_of(workflow("seen", steps="- wait: 1h\n- send: seen"))
    for hour, cart in ((1, "c1"), (2, "c2"), (3, "c3"), (9, "c9")):
        world.event("ana", "purchase", at(f"{hour}h"), cart_id=cart)
    world.event("ana", "signup", at("3h"))
    world.tick(at("4h"))
    assert texts(world) == ["c3 c2 1"]


@pytest.mark.parametrize(
    "text",
    [
        "{{ coupon(contact.first_name) }}",
        "{{ coupon }}",
        "{{ events.last('purchase', 1000) }}",
        "{{ events.first('purchase') }}",
        "{{ coupon('A', 2) }}",
    ],
)
def test_what_cannot_be_fetched_before_is_refused(text):
    with pytest.raises(ProblemsFound) as found:
        World(messages=f'messages:\n  gift: {{purpose: transactional, sms: {{text: "{text}"}}}}\n')
    assert "must be written out" in found.value.problems[0].message


def test_an_event_that_is_not_declared_is_refused():
    with pytest.raises(ProblemsFound) as found:
        World(messages="messages:\n  gift: {purpose: transactional, sms: {text: \"{{ events.last('purchas') }}\"}}\n")
    assert "no event `purchas`" in found.value.problems[0].message
