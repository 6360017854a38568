"""Delivering: what each answer of a channel makes of a message and of the contact that waits for it."""

from __future__ import annotations

from email import message_from_bytes, policy
from pathlib import Path

import pytest

from flowctl.channels.channel import Receipt
from flowctl.channels.recording import ACCEPTED, RecordingChannel
from flowctl.engine import building, gate
from flowctl.engine.adapters import channel_maker
from flowctl.engine.by_hand import resolve
from flowctl.engine.deliver import Delivery
from flowctl.engine.finish import end
from flowctl.engine.runtime import EXITED, load
from flowctl.engine.tick import tick
from flowctl.failure import Busy
from flowctl.store import statuses
from flowctl.store.database import transaction
from tests.engine.world import MESSAGES, SETTINGS, World, at, workflow

DROPPED = Receipt(outcome="in_doubt", reply="lost the connection after the dot", phase="body")
BUSY = Receipt(outcome="retry", reply="451 try later", phase="rcpt")
BUSY_AT_DATA = Receipt(outcome="retry", reply="451 try later", phase="data")
NOBODY = Receipt(outcome="failed", reply="550 no such user", phase="rcpt", scope="address")
REFUSED = Receipt(outcome="failed", reply="554 not this text", phase="body")
DOWN = Receipt(outcome="retry", reply="connection refused", phase="connect", scope="provider")


class Threaded(RecordingChannel):
    """The same by way of the pool, as every real channel goes."""

    inline = False


@pytest.fixture(params=[RecordingChannel, Threaded])
def channel(request):
    return request.param


def world_of(
    channel, message: str = "hello", *, people=("ana",), script=(), steps: str = "", messages: str = MESSAGES
) -> World:
    steps = steps or f"- send: {message}\n  via: email\n  on_skip: [{{tag: {{interests: [toys]}}}}]\n- wait: 1h"
    world = World(workflow("w", steps=steps), channel=channel(script), messages=messages)
    for key in people:
        world.contact(key)
        world.event(key, "signup", at("1m"))
    return world


def test_what_was_accepted_is_sent_and_has_a_status(channel):
    world = world_of(channel)
    world.ticks("5m")
    assert world.outbox() == [("hello", "email", "sent", None)]
    assert world.connection.execute("SELECT status, at FROM message_events").fetchall() == [(0, at("5m"))]


def test_a_later_reply_is_tried_again_with_growing_gaps_and_the_same_message_id(channel):
    world = world_of(channel, script=[BUSY, BUSY_AT_DATA])
    world.ticks("5m", "5m30s")
    assert len(world.channel.asked) == 1
    world.ticks("6m", "7m59s")
    assert len(world.channel.asked) == 2
    world.ticks("8m")
    assert world.outbox() == [("hello", "email", "sent", None)]
    assert len({letter.message_id for letter in world.channel.asked}) == 1
    assert len(world.channel.transmitted) == 1


def test_a_message_refused_for_now_too_often_fails_and_the_contact_goes_on(channel):
    world = world_of(channel, script=lambda _: BUSY)
    world.every("30m", "1d")
    (row,) = world.outbox()
    assert row[2] == "failed"
    assert len(world.channel.asked) == 8
    assert world.value("ana", "interests") == '["toys"]'


def test_a_retry_stops_when_the_message_expires(channel):
    world = world_of(channel, script=lambda _: BUSY, steps="- send: hello\n  via: email\n  expire_after: 10m")
    world.ticks("5m", "6m", "8m", "11m", "12m")
    assert world.outbox() == [("hello", "email", "skipped", "expired")]
    assert world.states() == [("completed", None)]


def test_an_address_refused_for_good_is_suppressed_and_the_others_get_theirs(channel):
    people = [f"c{number:02}" for number in range(50)]
    world = world_of(
        channel, people=people, script=lambda letter: NOBODY if letter.recipient.startswith("c07") else ACCEPTED
    )
    world.ticks("5m")
    assert len(world.channel.transmitted) == 49
    assert world.outbox("c07") == [("hello", "email", "failed", "550 no such user")]
    assert world.connection.execute(
        "SELECT count(*) FROM suppressions WHERE contact_id > 0 AND reason = 'refused'"
    ).fetchone() == (1,)
    assert world.value("c07", "interests") == '["toys"]'
    assert world.value("c08", "interests") is None


def test_a_text_refused_for_good_suppresses_nobody(channel):
    world = world_of(channel, script=[REFUSED])
    world.ticks("5m")
    assert world.outbox() == [("hello", "email", "failed", "554 not this text")]
    assert world.connection.execute("SELECT count(*) FROM suppressions").fetchone() == (0,)


def test_a_provider_that_is_down_costs_no_attempt_and_everything_leaves_later():
    answers = iter([DOWN])
    people = [f"c{number}" for number in range(10)]
    world = world_of(Threaded, people=people, script=lambda _: next(answers, ACCEPTED))
    report = world.tick(at("5m"))
    assert report.refusals == {"email": "connection refused"}
    assert world.channel.transmitted == []
    assert {row[2] for row in world.outbox()} == {"ready"}
    assert world.connection.execute("SELECT max(attempts) FROM outbox").fetchone() == (0,)
    world.ticks("10m")
    assert len(world.channel.transmitted) == 10


def test_a_channel_that_cannot_be_made_stops_no_other(monkeypatch):
    monkeypatch.delenv("NO_SUCH_SECRET", raising=False)
    settings = SETTINGS.replace(
        "sms: {adapter: maildir, path: sms}", 'sms: {adapter: maildir, path: "${NO_SUCH_SECRET}"}'
    )
    world = World(workflow("w", steps="- send: hello\n  via: {all: [sms, email]}"), settings=settings)
    world.contact("ana", phone="+33612345678")
    world.event("ana", "signup", at("1m"))

    made = channel_maker(load(world.connection), Path())

    class Channels(dict):
        def __getitem__(self, name):
            return made(name) if name == "sms" else world.channel

    report = tick(world.store, now=at("5m"), channels=Channels())
    assert world.sent("ana") == [("hello", "email", 5)]
    assert "NO_SUCH_SECRET" in report.refusals["sms"]
    assert ("hello", "sms", "ready", "provider") in world.outbox("ana")


# ----------------------------------------------------------------------------------------------------------------- in doubt


def test_marketing_in_doubt_is_never_sent_again_and_the_contact_goes_on(channel):
    world = world_of(channel, script=[DROPPED])
    world.ticks("5m", "15m", "2h", "1d")
    assert len(world.channel.asked) == 1
    assert world.outbox() == [("hello", "email", "in_doubt", "in_doubt")]
    assert world.states() == [("completed", None)]
    assert world.value("ana", "interests") is None  # it counts as left, not as skipped


def test_marketing_in_doubt_counts_against_caps(channel):
    world = World(
        workflow("w", steps="- send: hello\n  via: email\n- send: bye"),
        channel=channel([DROPPED]),
        settings=SETTINGS + "pressure: {email: [1 per 1d]}\n",
    )
    world.contact("ana")
    world.event("ana", "signup", at("1m"))
    world.ticks("5m", "1d4m")
    assert len(world.channel.asked) == 1
    world.ticks("1d5m")
    assert len(world.channel.asked) == 2


def test_transactional_in_doubt_is_sent_once_more_to_the_byte_and_then_left(channel):
    world = world_of(channel, "receipt", script=lambda _: DROPPED)
    world.ticks("5m")
    assert world.states() == [("active", None)]
    world.set("ana", at("6m"), first_name="Changed")
    world.ticks("10m", "20m", "1d")
    first, second = world.channel.transmitted
    assert (first.message_id, first.payload) == (second.message_id, second.payload)
    assert world.outbox() == [("receipt", "email", "in_doubt", "in_doubt")]
    assert world.states() == [("completed", None)]


def test_the_resend_repeats_the_attempt_that_is_in_doubt_not_an_earlier_one_that_was_refused(channel):
    messages = MESSAGES.replace(
        "subject: Receipt, text: Receipt", "subject: Receipt, text: \"Dear {{ contact.first_name|default('you') }}\""
    )
    world = world_of(channel, "receipt", script=[BUSY_AT_DATA, DROPPED], messages=messages)
    world.ticks("5m")
    world.set("ana", at("5m"), first_name="Ana")
    world.ticks("6m", "11m")
    refused, doubtful, again = world.channel.asked
    assert b"Dear you" in refused.payload
    assert b"Dear Ana" in doubtful.payload
    assert again.payload == doubtful.payload


@pytest.mark.parametrize("then", [NOBODY, REFUSED])
def test_a_refused_resend_leaves_the_first_attempt_in_doubt(channel, then):
    world = world_of(channel, "receipt", script=[DROPPED, then])
    world.ticks("5m", "10m", "1d")
    assert world.outbox()[0][2] == "in_doubt"
    assert world.states() == [("completed", None)]
    assert world.value("ana", "interests") is None


@pytest.mark.parametrize("meanwhile", ["suppressed", "goal", "expired"])
def test_what_is_not_sent_again_after_all_stays_in_doubt(channel, meanwhile):
    text = workflow("w", goal="{event: purchase}", steps="- send: receipt\n  via: [email, sms]\n  expire_after: 20m")
    world = World(text, channel=channel([DROPPED]))
    world.contact("ana", phone="+33612345678")
    world.event("ana", "signup", at("1m"))
    world.ticks("5m")
    if meanwhile == "suppressed":
        world.suppress("ana@example.com", at("6m"))
    if meanwhile == "goal":
        world.event("ana", "purchase", at("6m"))
    world.ticks("10m" if meanwhile != "expired" else "30m", "1d")
    assert len(world.channel.asked) == 1  # nor by the other channel: the first may have left
    assert [row[2] for row in world.outbox()] == ["in_doubt"]
    assert world.states()[0][0] == ("goal" if meanwhile == "goal" else "completed")


@pytest.mark.parametrize(("status", "state"), [(statuses.OPENED, "sent"), (statuses.BOUNCED, "sent")])
def test_a_status_that_bears_the_key_settles_it_before_it_is_sent_again(channel, status, state):
    world = world_of(channel, "receipt", script=[DROPPED])
    world.ticks("5m")
    key = world.channel.transmitted[0].key
    with transaction(world.connection):
        statuses.record(
            world.connection,
            [statuses.Status(sending=statuses.by_key(world.connection, key), status=status, at=at("6m"))],
            now=at("6m"),
        )
    world.ticks("10m", "1d")
    assert len(world.channel.asked) == 1
    assert world.outbox()[0][2] == state
    assert world.states() == [("completed", None)]


def test_a_person_may_order_a_resend_of_what_the_contact_left_behind(channel):
    world = world_of(channel, script=[DROPPED])
    world.ticks("5m", "2h")
    resolve(world.connection, world.channel.asked[0].key, "resend", now=at("3h"))
    world.ticks("3h")
    assert len(world.channel.asked) == 2
    assert world.channel.asked[0].message_id == world.channel.asked[1].message_id
    assert world.outbox()[0][2] == "sent"


# -------------------------------------------------------------------------------------------------- around the point of no return


@pytest.mark.parametrize("fact", ["suppressed", "cancelled"])
def test_what_another_program_stored_after_the_claim_stops_what_has_not_begun(fact, monkeypatch):
    """Whoever is suppressed, or whose journey ended, while others' messages leave gets nothing any more."""
    world = world_of(Threaded, people=[f"c{number}" for number in range(10)], steps="- send: hello\n  via: email")
    mark = Delivery._mark
    told = []

    def meanwhile(self, *said):
        if not told:  # all are claimed, none has left
            told.append(True)
            if fact == "suppressed":
                world.suppress("c9@example.com", at("5m"))
            else:
                end(
                    world.connection, "SELECT id, 1 FROM enrollments WHERE contact_id = 10", EXITED, "by hand", at("5m")
                )
        return mark(self, *said)

    monkeypatch.setattr(Delivery, "_mark", meanwhile)
    world.ticks("5m")
    assert len(world.channel.transmitted) == 9
    world.ticks("10m")
    assert len(world.channel.transmitted) == 9
    assert world.outbox("c9")[0][2:] == (
        ("skipped", "suppressed") if fact == "suppressed" else ("cancelled", "by hand")
    )


def test_a_letter_that_cannot_be_built_fails_alone(channel):
    messages = MESSAGES + '  broken:\n    email: {from: shop, subject: X, text: "{{ contact.visits + 1 }}"}\n'
    world = World(workflow("w", steps="- send: broken\n- send: bye"), channel=channel(), messages=messages)
    for key, visits in (("ana", 1), ("nix", None), ("bob", 2)):
        world.contact(key, visits=visits)
        world.event(key, "signup", at("1m"))
    world.ticks("5m")
    assert [row[:2] for row in world.sent() if row[1] == "broken"] == [("ana", "broken"), ("bob", "broken")]
    assert world.messages("nix") == ["bye"]
    assert world.outbox("nix")[0][2] == "failed"


def test_stopping_leaves_the_rest_ready(channel):
    people = [f"c{number}" for number in range(30)]
    world = world_of(channel, people=people)
    held = []

    def script(_letter):
        if len(world.channel.asked) == 3:
            held[0].stopped = True
        return ACCEPTED

    world.channel._answer = script
    world.tick(at("5m"), on_delivery=held.append)
    assert 3 <= len(world.channel.transmitted) <= 30
    world.tick(at("10m"))
    assert sorted(letter.recipient for letter in world.channel.transmitted) == sorted(
        f"c{number}@example.com" for number in range(30)
    )


@pytest.mark.parametrize(("field", "value"), [("due_date", "0000-01-01"), ("seen_at", 2**60), ("seen_at", -(2**60))])
def test_a_contact_with_a_value_that_no_calendar_holds_fails_alone(field, value):
    world = World(
        workflow("w", steps="- send: hello"),
        settings=SETTINGS.replace("    push: text\n", "    push: text\n    seen_at: datetime\n"),
    )
    for key in ("ana", "odd", "bob"):
        world.contact(key)
        world.event(key, "signup", at("1m"))
    world.connection.execute(f"UPDATE contacts SET {field} = ? WHERE key = 'odd'", (value,))
    world.ticks("5m")
    assert {"ana", "bob"} <= {row[0] for row in world.sent()}
    assert {state for state, _ in world.states()} == {"completed"}


def test_a_store_that_locks_at_the_point_of_no_return_ends_the_tick_and_nothing_leaves(monkeypatch):
    world = world_of(Threaded, people=[f"c{number}" for number in range(5)])
    mark = Delivery._mark
    monkeypatch.setattr(Delivery, "_mark", _busy)
    with pytest.raises(Busy):
        world.ticks("5m")
    assert world.channel.transmitted == []
    monkeypatch.setattr(Delivery, "_mark", mark)
    world.ticks("10m")
    assert len(world.channel.transmitted) == 5


def _busy(*_):
    message = "the store is locked by another program"
    raise Busy(message)


def test_each_letter_is_made_of_its_own_contact_and_trigger_in_whatever_order_they_leave(channel, monkeypatch):
    monkeypatch.setattr(building, "BATCH_ROWS", 3)
    text = '{{ contact.first_name|default("?") }} {{ trigger.items }} {{ trigger.cart_id|default("none") }}'
    message = f"messages: {{cart: {{email: {{from: shop, subject: Cart, text: '{text}'}}}}}}"
    texts = [
        workflow(name, triggers=f"[{{event: cart_updated, where: {{items: {items}}}}}]", steps="- send: cart\n- wait: 1h", priority=priority)
        for name, items, priority in (("few", 1, "20"), ("many", 2, "80"))
    ]  # fmt: skip
    world = World(*texts, channel=channel(), messages=message)
    expected = set()
    for number in range(10):
        key, items, name, cart = (
            f"c{number}",
            1 + number % 2,
            "Zoé" if number % 3 else None,
            "" if number < 4 else f"k{number}",
        )
        world.contact(key, first_name=name)
        world.event(key, "cart_updated", at("1m"), items=items, **({"cart_id": cart} if cart else {}))
        expected.add((f"{key}@example.com", f"{name or '?'} {items} {cart or 'none'}"))
    world.ticks("5m")
    letters = world.channel.transmitted
    assert {letter.recipient for letter in letters[:5]} == {f"c{number}@example.com" for number in range(1, 10, 2)}
    assert {(letter.recipient, _text(letter)) for letter in letters} == expected


def _text(letter):
    said = message_from_bytes(letter.payload, policy=policy.default)
    return said.get_body(("plain",)).get_content().splitlines()[0]


def test_the_next_chunk_is_claimed_while_letters_of_the_last_one_are_under_way(monkeypatch):
    monkeypatch.setattr(gate, "CHUNK_ROWS", 2)
    world = world_of(Threaded, people=[f"c{number}" for number in range(7)])
    asked_at, judge, settled = [], gate.Gate.judge, []
    monkeypatch.setattr(
        gate.Gate, "judge", lambda *said, **more: (asked_at.append(len(settled)), judge(*said, **more))[1]
    )
    hand_out = Delivery._hand_out
    monkeypatch.setattr(Delivery, "_hand_out", lambda *said: (hand_out(*said), settled.append(said))[0])
    world.ticks("5m")
    assert asked_at == [0, 0, 0, 0], "one sending of all chunks"
    assert sorted(letter.recipient for letter in world.channel.transmitted) == [f"c{n}@example.com" for n in range(7)]
    assert [row[2] for row in world.outbox()] == ["sent"] * 7


def test_no_further_chunk_is_claimed_for_a_provider_that_refuses_everything(monkeypatch):
    monkeypatch.setattr(gate, "CHUNK_ROWS", 2)
    world = world_of(Threaded, people=[f"c{number}" for number in range(9)], script=[ACCEPTED] * 3 + [DOWN] * 9)
    world.tick(at("5m"))
    assert len(world.channel.transmitted) == 3
    assert sorted(row[2] for row in world.outbox()) == ["ready"] * 6 + ["sent"] * 3
    assert world.connection.execute("SELECT max(attempts) FROM outbox WHERE state = 0").fetchone() == (0,)
    world.channel._script = iter(())
    world.ticks("20m")
    assert len({letter.recipient for letter in world.channel.transmitted}) == len(world.channel.transmitted) == 9


@pytest.mark.parametrize("chunk_rows", [1, 2, 3, 50])
def test_chunks_of_two_channels_and_letters_that_cannot_be_built_are_each_settled_once(chunk_rows, monkeypatch):
    monkeypatch.setattr(gate, "CHUNK_ROWS", chunk_rows)
    messages = MESSAGES + '  broken:\n    email: {from: shop, subject: X, text: "{{ contact.visits + 1 }}"}\n'
    email, sms = Threaded(), Threaded()
    flows = (workflow("w", steps="- send: broken\n  via: email"), workflow("v", steps="- send: hello\n  via: sms"))
    world = World(*flows, messages=messages)
    for number in range(12):
        world.contact(f"c{number}", visits=number if number % 4 else None, phone=f"+336123456{number:02}")
        world.event(f"c{number}", "signup", at("1m"))
    channels = {"email": email, "sms": sms}
    for minute in ("5m", "10m", "15m"):
        tick(world.store, now=at(minute), channels=channels)
    assert (
        sorted(row[1:3] for row in world.outbox())
        == [("email", "failed")] * 3 + [("email", "sent")] * 9 + [("sms", "sent")] * 12
    )
    for sent, many in ((email.transmitted, 9), (sms.transmitted, 12)):
        assert len({letter.recipient for letter in sent}) == len(sent) == many


@pytest.mark.parametrize("accepted", range(6))
def test_a_chunk_claimed_ahead_is_released_where_its_provider_refuses_meanwhile(accepted, monkeypatch):
    monkeypatch.setattr(gate, "CHUNK_ROWS", 3)
    email, sms = Threaded([ACCEPTED] * accepted + [DOWN] * 9), Threaded()
    flows = (workflow("w", steps="- send: hello\n  via: email"), workflow("v", steps="- send: hello\n  via: sms"))
    world = World(*flows)
    for number in range(9):
        by_phone = number in (4, 5)
        world.contact(
            f"c{number}", consent=["sms"] if by_phone else ["email"], phone="+33612345678" if by_phone else None
        )
        world.event(f"c{number}", "signup", at("1m"))
    tick(world.store, now=at("5m"), channels={"email": email, "sms": sms})
    states = [row[1:3] for row in world.outbox() if row[2] != "skipped"]
    assert states.count(("email", "sent")) == len(email.transmitted) == accepted
    assert states.count(("email", "ready")) == 7 - accepted
    assert states.count(("sms", "sent")) == 2


def test_who_is_told_to_stop_begins_with_no_other_channel(monkeypatch):
    people = [f"c{number}" for number in range(6)]
    flows = (workflow("w", steps="- send: hello\n  via: email"), workflow("v", steps="- send: hello\n  via: sms"))
    email, sms = Threaded(), Threaded()
    world = World(*flows)
    for number, key in enumerate(people):
        world.contact(key, phone=f"+3361234567{number}")
        world.event(key, "signup", at("1m"))
    held = []
    for each in (email, sms):
        each._answer = lambda _letter: setattr(held[0], "stopped", True) or ACCEPTED
    tick(world.store, now=at("5m"), channels={"email": email, "sms": sms}, on_delivery=held.append)
    assert not (email.transmitted and sms.transmitted)
    assert "claimed" not in {row[2] for row in world.outbox()}
    email._answer = sms._answer = None
    tick(world.store, now=at("10m"), channels={"email": email, "sms": sms})
    assert len(email.transmitted) == len(sms.transmitted) == 6
