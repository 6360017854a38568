"""The gate: what may leave now, what waits until when, what never will."""

from __future__ import annotations

import pytest

from tests.engine.world import DAY, HOUR, MESSAGES, MINUTE, SETTINGS, T0, World, at, workflow

CARTS = {"triggers": "[{event: cart_updated}]", "reentry": "{while_active: parallel, after: 1s}"}


def pressed(pressure: str, *texts: str, **said: str) -> World:
    return World(
        *(texts or (workflow("w", steps="- send: hello\n  via: email", **CARTS),)),
        settings=f"{SETTINGS}pressure: {pressure}\n",
        **said,
    )


def carts(world: World, key: str, *offsets: str) -> None:
    for offset in offsets:
        world.event(key, "cart_updated", at(offset))


# --------------------------------------------------------------------------------------------------------------------- caps


def test_a_cap_holds_until_exactly_when_there_is_room_again():
    world = pressed("{email: [1 per 16h]}")
    world.contact("ana")
    carts(world, "ana", "1m", "2m", "3m")
    world.ticks("5m")
    world.tick(at("16h5m") - 1)
    assert len(world.sent()) == 1
    world.tick(at("16h5m"))
    assert len(world.sent()) == 2
    world.tick(at("32h5m") - 1)
    assert len(world.sent()) == 2
    world.tick(at("32h5m"))
    assert [row[2] for row in world.sent("ana")] == [5, 16 * 60 + 5, 32 * 60 + 5]


def test_the_narrowest_of_several_windows_decides():
    world = pressed("{email: [2 per 1h, 3 per 1d], all: [4 per 2d]}")
    world.contact("ana")
    carts(world, "ana", "1m", "2m", "3m", "4m", "4m")
    world.ticks("5m", "1h5m", "1d5m", "1d1h5m", "2d", "2d5m")
    assert [row[2] for row in world.sent("ana")] == [5, 5, 65, 1445, 2885]


def test_all_counts_every_channel():
    text = workflow("w", steps="- send: hello\n  via: {all: [email, sms, push]}", **CARTS)
    world = pressed("{all: [2 per 1d]}", text)
    world.contact("ana", phone="+33612345678", push="token")
    carts(world, "ana", "1m")
    world.ticks("5m", "1d4m", "1d5m")
    assert [row[1:] for row in world.sent("ana")] == [("email", 5), ("sms", 5), ("push", 1445)]


def test_caps_are_each_contacts_own():
    world = pressed("{email: [1 per 1d]}")
    for key in ("ana", "bob", "cat"):
        world.contact(key)
        carts(world, key, "1m")
    world.ticks("5m")
    assert len(world.sent()) == 3


def test_priority_goes_first_then_who_came_first():
    low = workflow("low", steps="- send: bye", priority="10", **CARTS)
    high = workflow("high", steps="- wait: 1m\n- send: hello\n  via: email", priority="90", **CARTS)
    also = workflow("also", steps="- wait: 2m\n- send: again", priority="90", **CARTS)
    world = pressed("{email: [2 per 1d]}", low, high, also)
    world.contact("ana")
    carts(world, "ana", "1m")
    world.ticks("5m")
    assert world.messages("ana") == ["hello", "again"]
    world.ticks("1d5m")
    assert world.messages("ana") == ["hello", "again", "bye"]


def test_transactional_passes_and_does_not_count():
    text = workflow(
        "w", steps="- send: receipt\n  via: email\n- send: bye\n- send: receipt\n  id: second\n  via: email", **CARTS
    )
    world = pressed("{email: [1 per 1d]}", text)
    world.contact("ana")
    carts(world, "ana", "1m", "2m")
    world.ticks("5m")
    assert world.messages("ana") == ["receipt", "receipt", "bye", "receipt"]


def test_on_cap_skip():
    world = pressed(
        "{email: [1 per 16h], on_cap: skip}", workflow("w", steps="- send: bye\n  on_skip: [{exit: capped}]", **CARTS)
    )
    world.contact("ana")
    carts(world, "ana", "1m", "2m")
    world.ticks("5m", "17h")
    assert world.outbox("ana") == [("bye", "email", "sent", None), ("bye", "email", "skipped", "cap")]
    assert world.states() == [("completed", None), ("exited", "capped")]


@pytest.mark.parametrize(("expire", "left"), [("16h", ["bye"]), ("16h5m", ["bye", "bye"])])
def test_a_deferral_ends_at_expire_after(expire, left):
    world = pressed("{email: [1 per 16h]}", workflow("w", steps=f"- send: bye\n  expire_after: {expire}", **CARTS))
    world.contact("ana")
    carts(world, "ana", "1m", "2m")
    world.ticks("5m", "16h5m")
    assert world.messages("ana") == left
    assert world.states()[1][0] == "completed"


def test_expire_after_runs_from_arrival_and_is_three_days_unless_said():
    world = World(workflow("w", steps="- send: hello"))
    world.contact("ana")
    world.contact("bob")
    world.event("ana", "signup", at("1m"))
    world.tick(at("1m") + 3 * DAY - 1)
    world = World(workflow("w", steps="- wait: 1h\n- send: hello", triggers="[{event: signup, max_event_age: 30d}]"))
    for key, offset in (("ana", "1m"), ("bob", "2m")):
        world.contact(key)
        world.event(key, "signup", at(offset))
    world.tick(at("1h2m") + 3 * DAY - 1)
    assert world.sent() == [("bob", "hello", "email", (HOUR + 3 * DAY) / MINUTE + 2 - 1 / MINUTE)]
    assert world.outbox("ana") == [("hello", "email", "skipped", "expired")]


def test_a_held_message_is_journaled_once():
    world = pressed("{email: [1 per 16h]}")
    world.contact("ana")
    carts(world, "ana", "1m", "2m")
    world.ticks("5m", "1h", "2h", "16h5m")
    assert [kind for kind, _ in world.journal("ana")].count("held") == 1


# --------------------------------------------------------------------------------------------------------------------- once

ONCE = (
    MESSAGES + "  offer:\n    once: 30d\n    email: {from: shop, subject: Offer, text: Offer}\n    sms: {text: Offer}\n"
)


def test_once_never_twice_within():
    world = World(workflow("w", steps="- send: offer", **CARTS), messages=ONCE)
    world.contact("ana")
    carts(world, "ana", "1m", "2m")
    world.ticks("5m")
    assert world.outbox("ana") == [("offer", "email", "sent", None), ("offer", "email", "skipped", "once")]
    carts(world, "ana", "29d", "30d6m")
    world.ticks("29d1m", "30d10m")
    assert [row[2] / 1440 for row in world.sent("ana")] == [5 / 1440, 30 + 10 / 1440]


def test_once_counts_the_message_not_its_channels():
    world = World(workflow("w", steps="- send: offer\n  via: {all: [email, sms]}", **CARTS), messages=ONCE)
    world.contact("ana", phone="+33612345678")
    carts(world, "ana", "1m")
    world.ticks("5m")
    assert [row[1] for row in world.sent("ana")] == ["email", "sms"]
    carts(world, "ana", "10m")
    world.ticks("15m")
    assert len(world.sent("ana")) == 2


# ------------------------------------------------------------------------------------------- between the queue and the gate

HELD = workflow("w", steps="- send: bye\n- send: hello\n  via: [email, sms]\n  on_skip: [{tag: {interests: [toys]}}]")


def held() -> World:
    """Ana's `hello` waits behind the cap by e-mail; she has a phone too."""
    world = pressed("{email: [1 per 1d]}", HELD)
    world.contact("ana", phone="+33612345678")
    world.event("ana", "signup", at("1m"))
    world.ticks("5m")
    assert world.messages("ana") == ["bye"]
    return world


def test_a_withdrawn_consent_gives_the_next_channel_its_turn():
    world = held()
    world.withdraw("ana", "email", at("1h"))
    world.ticks("1d5m")
    assert world.sent("ana")[1:] == [("hello", "sms", 1445)]
    assert world.value("ana", "interests") is None


def test_a_suppressed_address_gives_the_next_channel_its_turn():
    world = held()
    world.suppress("ana@example.com", at("1h"))
    world.ticks("1d5m")
    assert world.sent("ana")[1:] == [("hello", "sms", 1445)]


def test_unreachable_on_all_channels_is_skipped():
    world = held()
    world.withdraw("ana", "email", at("1h"))
    world.withdraw("ana", "sms", at("1h"))
    world.ticks("1d5m")
    assert world.messages("ana") == ["bye"]
    assert world.value("ana", "interests") == '["toys"]'
    assert world.states() == [("completed", None)]


def test_an_address_changed_since_is_not_written_to():
    world = held()
    world.set("ana", at("1h"), email="new@example.com")
    world.ticks("1d5m")
    assert [letter.recipient for letter in world.channel.transmitted] == ["ana@example.com", "+33612345678"]


def test_a_suppression_stops_every_contact_with_that_address():
    world = World(workflow("w", steps="- wait: 1h\n- send: hello"))
    world.contact("ana")
    world.contact("twin")
    world.set("twin", at("0m"), email="ANA@example.com")
    for key in ("ana", "twin"):
        world.event(key, "signup", at("1m"))
    world.ticks("5m")
    world.suppress("Ana@Example.com", at("30m"))
    world.ticks("2h")
    assert world.sent() == []


def test_unsubscribed_still_gets_what_is_transactional_but_a_bounced_address_gets_nothing():
    world = World(workflow("w", steps="- send: hello\n  via: email\n- send: receipt\n  via: email"))
    for key, reason in (("left", "unsubscribed"), ("bounced", "bounced")):
        world.contact(key)
        world.suppress(f"{key}@example.com", at("0m"), reason=reason)
        world.event(key, "signup", at("1m"))
    world.ticks("5m")
    assert world.sent() == [("left", "receipt", "email", 5)]


def test_a_topic_opted_out_of():
    messages = MESSAGES + "  offer:\n    topic: offers\n    email: {from: shop, subject: Offer, text: Offer}\n"
    world = World(workflow("w", steps="- send: offer\n- send: hello"), messages=messages)
    world.contact("ana")
    world.connection.execute(
        "INSERT INTO consents VALUES (?, 'all', 'topic:offers', 0, ?, 'test')", (world.id_of("ana"), at("0m"))
    )
    world.event("ana", "signup", at("1m"))
    world.ticks("5m")
    assert world.messages("ana") == ["hello"]


def test_on_goal_begins_in_the_tick_in_which_the_gate_found_the_goal_met():
    text = workflow("w", goal="{field: stage, is: customer}", on_goal="[{send: again}]", steps="- send: hello")
    world = World(text)
    world.contact("ana")
    world.event("ana", "signup", at("1m"))

    def meanwhile(_delivery) -> None:  # a purchase is stored after the last look and before the gate
        world.connection.execute("UPDATE contacts SET stage = 'customer'")

    world.tick(at("5m"), on_delivery=meanwhile)
    assert world.messages("ana") == ["again"]
    assert world.outbox("ana")[0] == ("hello", "email", "cancelled", "goal")


def test_a_contact_in_the_holdout_gets_no_marketing():
    world = World(workflow("w", steps="- send: hello\n- send: receipt"), settings=SETTINGS + "holdout: 50%\n")
    for number in range(40):
        world.contact(f"c{number}")
        world.event(f"c{number}", "signup", at("1m"))
    world.ticks("5m")
    hello = [row for row in world.sent() if row[1] == "hello"]
    assert 5 < len(hello) < 35
    assert len(world.sent()) - len(hello) == 40


def ten(pressure: str) -> World:
    """Ten workflows that want the same people in one tick: odd ones by SMS, even ones by e-mail; the tenth matters most."""
    texts = [
        workflow(
            f"w{number}",
            priority=str(number * 10),
            steps=f"- send: {'hello' if number % 2 else 'bye'}\n  id: s{number}\n  via: {'sms' if number % 2 else 'email'}\n  expire_after: 30d",
        )
        for number in range(1, 11)
    ]
    world = pressed(pressure, *texts)
    for number in range(3):
        world.contact(f"c{number}", phone=f"+3361234567{number}")
        world.event(f"c{number}", "signup", at("1m"))
    return world


def by_workflow(world: World, key: str) -> list[tuple[float, str]]:
    rows = world.connection.execute(
        "SELECT m.at, v.workflow FROM message_events m JOIN enrollments e ON e.id = m.enrollment_id "
        "JOIN workflow_versions v ON v.id = e.version_id JOIN contacts c ON c.id = m.contact_id WHERE c.key = ? ORDER BY m.at, m.id",
        (key,),
    )
    # What leaves at one instant goes by channel: in order of what matters here.
    return sorted((((when - T0) / MINUTE, name) for when, name in rows), key=lambda row: (row[0], -int(row[1][1:])))


def test_ten_workflows_want_the_same_contact_in_one_tick():
    world = ten("{email: [2 per 1d], sms: [1 per 1d], all: [3 per 1d, 5 per 2d]}")
    world.every("6h", "6d")
    for key in ("c0", "c1", "c2"):
        left = by_workflow(world, key)
        # By priority, as far as each channel and both together have room.
        assert [name for _, name in left] == ["w10", "w9", "w8", "w7", "w6", "w5", "w4", "w2", "w3", "w1"]
        times = [when for when, _ in left]
        assert len([when for when in times if when == times[0]]) == 3
        for limit, hours, names in (
            (2, 24, "w10 w8 w6 w4 w2"), (1, 24, "w9 w7 w5 w3 w1"), (3, 24, ""), (5, 48, ""),
        ):  # fmt: skip
            mine = [when for when, name in left if not names or name in names.split()]
            assert all(sum(end - hours * 60 < when <= end for when in mine) <= limit for end in mine)


def test_ten_workflows_and_what_has_no_room_is_skipped():
    world = ten("{email: [2 per 1d], sms: [1 per 1d], all: [3 per 1d], on_cap: skip}")
    world.every("6h", "3d")
    for key in ("c0", "c1", "c2"):
        assert [name for _, name in by_workflow(world, key)] == ["w10", "w9", "w8"]
    assert [row[2:] for row in world.outbox("c0")].count(("skipped", "cap")) == 7


def test_consent_is_given_by_channel_and_purpose():
    text = workflow("w", steps="- send: hello\n  via: {all: [email, sms]}\n- send: receipt\n  via: {all: [email, sms]}")
    world = World(text)
    world.contact("ana", consent=("sms",), email="ana@example.com", phone="+33612345678")
    world.event("ana", "signup", at("1m"))
    world.ticks("5m")
    assert [row[:2] for row in world.sent("ana")] == [("hello", "sms"), ("receipt", "email"), ("receipt", "sms")]


def test_a_topic_opted_out_of_leaves_the_other_topics():
    messages = MESSAGES + (
        "  offer:\n    topic: offers\n    email: {from: shop, subject: Offer, text: Offer}\n"
        "  news:\n    topic: news\n    email: {from: shop, subject: News, text: News}\n"
    )
    world = World(workflow("w", steps="- send: offer\n- send: news"), messages=messages)
    world.contact("ana")
    world.connection.execute(
        "INSERT INTO consents VALUES (?, 'all', 'topic:offers', 0, ?, 'test')", (world.id_of("ana"), at("0m"))
    )
    world.event("ana", "signup", at("1m"))
    world.ticks("5m")
    assert world.messages("ana") == ["news"]
    assert ("offer", "email", "skipped", "topic") in world.outbox("ana")


def test_once_ever_is_for_good():
    messages = MESSAGES.replace("  bye:\n", "  bye:\n    once: ever\n")
    world = World(workflow("w", steps="- send: bye", **CARTS), messages=messages)
    world.contact("ana")
    carts(world, "ana", "1m", "2m")
    world.ticks("5m")
    world.event("ana", "cart_updated", at("300d"))
    world.ticks("300d5m")
    assert world.messages("ana") == ["bye"]
    assert [row[2:] for row in world.outbox("ana")] == [("sent", None), ("skipped", "once"), ("skipped", "once")]
