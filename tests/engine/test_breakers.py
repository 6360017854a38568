"""A provider that refuses everything is left alone from tick to tick, tried with one message, and costs no contact an attempt."""

from __future__ import annotations

import pytest

from flowctl.channels.channel import Receipt
from flowctl.channels.recording import ACCEPTED, RecordingChannel
from flowctl.engine.by_hand import retry_channel
from flowctl.engine.tick import tick
from flowctl.failure import UsageFailure
from flowctl.report.status import status
from flowctl.store.breakers import breakers
from tests.engine.world import HOUR, MINUTE, World, at, workflow

LOGIN = Receipt(outcome="retry", reply="535 5.7.8 bad credentials", phase="login", scope="sender")
MAIL = Receipt(outcome="retry", reply="550 5.7.1 sender blocked", phase="mail", scope="sender")
CLOSING = Receipt(outcome="retry", reply="421 4.7.0 too much", phase="mail", scope="provider")
SOON = Receipt(outcome="retry", reply="429", phase="mail", scope="provider", retry_after_s=30)
DOUBT = Receipt(outcome="in_doubt", reply="lost after the dot", phase="body")
NOBODY = Receipt(outcome="failed", reply="550 no such user", phase="rcpt", scope="address")


class Threaded(RecordingChannel):
    inline = False


def world_of(answer, people: int = 10, steps: str = "- send: hello\n  via: email") -> World:
    world = World(workflow("w", steps=steps), channel=Threaded(answer))
    for number in range(people):
        world.contact(f"c{number}", phone=f"+336123456{number:02}")
        world.event(f"c{number}", "signup", at("1m"))
    return world


@pytest.mark.parametrize("refusal", [LOGIN, MAIL, CLOSING])
def test_it_is_tried_with_one_message_at_growing_gaps(refusal):
    world = world_of(lambda _: refusal)
    gaps, asked, last = [], 0, 0
    for minute in range(5, 240):
        world.tick(at(f"{minute}m"))
        if len(world.channel.asked) > asked:
            assert not gaps or len(world.channel.asked) == asked + 1  # one message, not the batch
            gaps.append(minute - last)
            asked, last = len(world.channel.asked), minute
    assert gaps == [5, 5, 10, 20, 40, 60, 60]
    assert world.connection.execute("SELECT max(attempts), count(*) FROM outbox WHERE state = 0").fetchone() == (0, 10)
    assert {row[3] for row in world.outbox()} == {"provider"}


def test_when_it_takes_one_the_rest_follows_in_the_same_tick():
    answers = iter([LOGIN, LOGIN])
    world = world_of(lambda _: next(answers, ACCEPTED))
    world.ticks("5m", "10m")
    (breaker,) = breakers(world.connection)
    assert (breaker.refusals, breaker.until_at, breaker.reply) == (2, at("20m"), LOGIN.reply)
    assert status(world.store, now=at("11m")).refusing == {"email": LOGIN.reply}
    world.ticks("15m")
    assert world.channel.transmitted == []
    world.ticks("20m")
    assert len(world.channel.transmitted) == 10
    assert breakers(world.connection) == []
    assert status(world.store, now=at("21m")).refusing == {}


def test_a_refusal_of_the_one_message_for_what_it_is_shows_that_the_provider_works():
    answers = iter([LOGIN, NOBODY])
    world = world_of(lambda _: next(answers, ACCEPTED))
    world.ticks("5m", "10m")
    assert len(world.channel.transmitted) == 9
    assert breakers(world.connection) == []


def test_a_doubt_of_the_one_message_is_the_last_for_now():
    answers = iter([LOGIN, DOUBT])
    world = world_of(lambda _: next(answers, ACCEPTED))
    world.ticks("5m", "10m")
    assert [row[2] for row in world.outbox()].count("in_doubt") == 1
    assert len(world.channel.asked) == 2
    world.ticks("20m")
    assert len(world.channel.transmitted) == 10  # the doubtful one among them


def test_a_provider_that_says_when_is_heeded():
    answers = iter([SOON])
    world = world_of(lambda _: next(answers, ACCEPTED))
    world.tick(at("5m"))
    assert breakers(world.connection)[0].until_at == at("5m") + MINUTE // 2
    world.tick(at("5m") + MINUTE // 2)
    assert len(world.channel.transmitted) == 10


def test_other_channels_go_on():
    world = world_of(
        lambda letter: LOGIN if letter.channel == "email" else ACCEPTED,
        steps="- send: hello\n  via: {all: [email, sms]}",
    )
    world.ticks("5m", "6m")
    assert {letter.channel for letter in world.channel.transmitted} == {"sms"}
    assert len(world.channel.transmitted) == 10


def test_a_letter_that_cannot_be_built_is_no_probe():
    messages = """
messages:
  hello:
    email: {from: shop, subject: "{{ contact.visits + 1 }}", text: Hello}
"""
    world = World(workflow("w", steps="- send: hello\n  via: email"), messages=messages, channel=Threaded([LOGIN]))
    for key, visits in (("nix", None), ("ana", 1), ("bob", 2)):
        world.contact(key, visits=visits)
        world.event(key, "signup", at("1m"))
    world.ticks("5m", "10m")
    assert sorted(row[0] for row in world.sent()) == ["ana", "bob"]
    assert world.outbox("nix")[0][2] == "failed"


def test_a_person_may_say_that_it_is_mended():
    answers = iter([LOGIN] * 4)
    world = world_of(lambda _: next(answers, ACCEPTED))
    world.ticks("5m", "10m", "20m", "40m")
    with pytest.raises(UsageFailure, match="refuses nothing"):
        retry_channel(world.connection, "sms", now=at("41m"))
    assert retry_channel(world.connection, "email", now=at("41m")) == 10
    world.ticks("41m")
    assert len(world.channel.transmitted) == 10


def test_what_is_held_leaves_by_its_own_rules_afterwards():
    """Whoever is suppressed while a provider refuses gets nothing when it takes letters again."""
    answers = iter([LOGIN])
    world = world_of(lambda _: next(answers, ACCEPTED))
    world.tick(at("5m"))
    world.suppress("c3@example.com", at("6m"))
    world.tick(at("1h"))
    assert len(world.channel.transmitted) == 9


def test_two_lines_that_are_refused_at_once_count_once():
    world = world_of(lambda _: LOGIN)
    world.channel._connections = 4
    tick(world.store, now=at("5m"), channels={"email": world.channel})
    assert breakers(world.connection)[0].refusals == 1
    assert HOUR == 60 * MINUTE


def test_what_is_remembered_of_a_provider_names_nobody():
    said = Receipt(
        outcome="retry", reply="550 5.7.1 <c0@example.com> to +33 6 12 34 56 78 blocked", phase="mail", scope="sender"
    )
    world = world_of(lambda _: said)
    world.ticks("5m")
    assert breakers(world.connection)[0].reply == "550 5.7.1 <…> to … blocked"
