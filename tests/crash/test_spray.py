"""Everything at once: refusals, doubts, withdrawn consents, ticks that die between any two transactions. The books balance after each tick."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from flowctl import crash
from flowctl.channels.channel import Receipt
from flowctl.channels.recording import ACCEPTED, RecordingChannel
from flowctl.report.audit import audit
from tests.crash.town import storm_rounds
from tests.engine.world import HOUR, MINUTE, SETTINGS, T0, World, workflow

ANSWERS = {
    ACCEPTED: 70,
    Receipt(outcome="in_doubt", reply="lost the connection after the dot", phase="body"): 6,
    Receipt(outcome="retry", reply="451 try later", phase="rcpt"): 8,
    Receipt(outcome="retry", reply="451 try later", phase="data"): 6,
    Receipt(outcome="failed", reply="550 no such user", phase="rcpt", scope="address"): 2,
    Receipt(outcome="failed", reply="554 not this text", phase="body"): 3,
    Receipt(outcome="retry", reply="connection refused", phase="connect", scope="provider"): 3,
}
JOURNEYS = (
    workflow(
        "journey",
        goal="{event: purchase}",
        on_goal="[{send: again}]",
        reentry="{after: 1h, while_active: restart}",
        exit_when="[{field: stage, is: loyal}]",
        steps="""
- send: hello
  via: [email, sms]
  on_skip: [{send: receipt}]
- wait: 30m
- send: bye
  expire_after: 3h
- send: receipt
  id: last
  via: {all: [email, sms]}
""",
    ),
    workflow(
        "cart",
        triggers="[{event: cart_updated}]",
        reentry="{after: 1s, since: entry, while_active: parallel}",
        steps="- send: receipt\n  via: [email, sms]\n- send: hello\n  via: {all: [sms, email]}",
    ),
)


class _Dies(Exception):
    pass


@pytest.fixture(scope="module")
def template():
    return World(*JOURNEYS, settings=SETTINGS + "pressure: {email: [2 per 3h], all: [3 per 5h]}\n")


@pytest.mark.parametrize("seed", range(storm_rounds(4)))
def test_spray(template, seed, monkeypatch):
    rng = random.Random(seed)
    dice = random.Random(seed)  # the connections' threads have their own
    channel = RecordingChannel(lambda _: dice.choices(list(ANSWERS), list(ANSWERS.values()))[0])
    channel.inline = False
    world = template.snapshot(channel)
    for number in range(6):
        world.contact(f"c{number}", phone=f"+3361234567{number}")
    left = 0

    def point(_name: str) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise _Dies

    monkeypatch.setattr(crash, "point", point)
    now = T0
    for _ in range(40):
        before, now = now, now + MINUTE * rng.choice([5, 10, 20, 60])
        for number in range(6):
            _happen(world, rng, f"c{number}", number, before, now)
        left = rng.choice([0, rng.randrange(1, 25)])
        try:
            world.tick(now)
        except _Dies:
            assert audit(world.store, now=now).differences == ()
    left = 0
    channel._answer = lambda _: ACCEPTED
    for _ in range(30):
        now += 4 * HOUR
        world.tick(now)
    _reckon(world)


def _happen(world: World, rng: random.Random, key: str, number: int, before: int, now: int) -> None:
    if rng.random() < 0.5:
        event = rng.choice(["signup", "signup", "cart_updated", "cart_updated", "purchase"])
        world.event(key, event, before + rng.randrange(1, now - before))
    if rng.random() < 0.02:
        world.withdraw(key, rng.choice(["email", "sms"]), now)
    if rng.random() < 0.02:
        world.suppress(f"c{number}@example.com", now)
    if rng.random() < 0.02:
        world.set(key, now, stage=rng.choice(["loyal", "lead"]))


def _reckon(world: World) -> None:
    """Nobody is stuck, nothing is open, and what the channel took is what the books say."""
    assert "active" not in Counter(state for state, _ in world.states())
    rows = {
        key: (state, marketing, doubts)
        for key, state, marketing, doubts in world.connection.execute(
            "SELECT key, state, marketing, doubts FROM outbox WHERE key IS NOT NULL"
        )
    }
    assert not world.connection.execute("SELECT 1 FROM outbox WHERE state < 3").fetchall()
    taken = Counter(letter.key for letter in world.channel.transmitted)
    assert {key for key, (state, _, _) in rows.items() if state == 3} <= set(taken)
    for key, times in taken.items():
        state, marketing, doubts = rows[key]
        assert state in (3, 5)
        assert times == 1 or (times == 2 and not marketing and doubts >= 1)
    letters = {}
    for letter in world.channel.transmitted:
        assert letters.setdefault(letter.key, letter) == letter, "a resend differs"
