"""Caps: what leaves equals a greedy reference tick by tick, and no rolling window ever holds more than it may."""

from __future__ import annotations

import random

import pytest

from flowctl.engine import gate
from tests.engine.world import DAY, HOUR, MINUTE, SETTINGS, T0, World, workflow

JOURNEYS = {  # name: (message, channel, priority, marketing)
    "low": ("bye", "email", 10, True),
    "high": ("again", "email", 90, True),
    "text": ("hello", "sms", 50, True),
    "slip": ("receipt", "email", 50, False),
}
EXPIRE = 2 * DAY


def windows(rng: random.Random) -> dict[str, list[tuple[int, int]]]:
    """At random, per channel and for all."""
    made = {}
    for name in ("email", "sms", "all"):
        if rng.random() < 0.8:
            spans = sorted(rng.sample([1, 2, 5, 12, 24], rng.randrange(1, 3)))
            made[name] = [(number + 1 + rng.randrange(2), hours * HOUR) for number, hours in enumerate(spans)]
    return made


def world_of(caps) -> World:
    texts = [
        workflow(
            name, triggers=f"[{{event: cart_updated, where: {{cart_id: {name}}}}}]", priority=str(priority),
            reentry="{after: 1s, since: entry, while_active: parallel}", steps=f"- send: {message}\n  via: {channel}\n  expire_after: 2d",
        )
        for name, (message, channel, priority, _) in JOURNEYS.items()
    ]  # fmt: skip
    lines = ", ".join(
        f"{name}: [{', '.join(f'{n} per {ms // HOUR}h' for n, ms in rates)}]" for name, rates in caps.items()
    )
    return World(*texts, settings=f"{SETTINGS}pressure: {{{lines}}}\n")


class Greedy:
    """One contact: who is next leaves if every window that concerns it has room."""

    def __init__(self, caps) -> None:
        self.caps = caps
        self.pending: list[tuple[int, int, int, str]] = []
        self.counted: list[tuple[int, str]] = []
        self.sent: list[tuple[str, int, int]] = []

    def arrive(self, at: int, order: int, name: str) -> None:
        self.pending.append((-JOURNEYS[name][2], at, order, name))

    def tick(self, now: int) -> None:
        for one in sorted(self.pending):
            _, at, _, name = one
            _, channel, _, marketing = JOURNEYS[name]
            if at > now:
                continue
            if at + EXPIRE <= now:
                self.pending.remove(one)
            elif not marketing or self._room(channel, now):
                self.pending.remove(one)
                self.sent.append((name, at, now))
                if marketing:
                    self.counted.append((now, channel))

    def _room(self, channel: str, now: int) -> bool:
        return all(
            sum(1 for when, which in self.counted if when > now - ms and scope in (which, "all")) < n
            for scope in (channel, "all")
            for n, ms in self.caps.get(scope, [])
        )


@pytest.mark.parametrize("seed", range(3))
def test_greedy(seed, monkeypatch):
    monkeypatch.setattr(gate, "CHUNK_ROWS", 1 + seed * 3)  # chunks never part a contact's messages
    rng = random.Random(seed)
    caps = windows(rng)
    world = world_of(caps)
    people = {f"c{number}": Greedy(caps) for number in range(6)}
    for number, key in enumerate(people):
        world.contact(key, phone=f"+3361234567{number}")
    now, order = T0, 0
    for _ in range(40):
        before, now = now, now + MINUTE * rng.choice([5, 10, 30, 60, 120, 240, 600])
        for key, greedy in people.items():
            for minute in sorted(rng.sample(range(1, (now - before) // MINUTE), rng.randrange(0, 3))):
                name = rng.choice(list(JOURNEYS))
                order += 1
                world.event(key, "cart_updated", before + minute * MINUTE, cart_id=name)
                greedy.arrive(before + minute * MINUTE, order, name)
        world.tick(now)
        for greedy in people.values():
            greedy.tick(now)
    for key, greedy in people.items():
        got = world.connection.execute(
            "SELECT v.workflow, o.arrived_at, m.at FROM outbox o JOIN workflow_versions v ON v.id = o.version_id "
            "JOIN message_events m ON m.outbox_id = o.id JOIN contacts c ON c.id = o.contact_id WHERE c.key = ? ORDER BY m.at, o.arrived_at",
            (key,),
        ).fetchall()
        assert sorted(got) == sorted(greedy.sent), (seed, key, caps)
    assert len(world.channel.transmitted) == sum(len(greedy.sent) for greedy in people.values())
    _no_window_is_overfull(world, caps)


def _no_window_is_overfull(world: World, caps) -> None:
    """Straight from what was sent, without any reference: a window may end at any send."""
    for key in {row[0] for row in world.sent()}:
        marketing = [(channel, minute) for message, channel, minute in world.sent(key) if message != "receipt"]
        for scope, rates in caps.items():
            times = sorted(minute for channel, minute in marketing if scope in (channel, "all"))
            for n, ms in rates:
                for end in times:
                    assert sum(end - ms / MINUTE < when <= end for when in times) <= n
