"""A tick that dies at each named point, by os._exit and at random by SIGKILL: nothing is lost, nothing arrives twice unlisted."""

from __future__ import annotations

import random
import time
from itertools import count

import pytest

from flowctl.crash import POINTS
from tests.crash.town import Town, storm_rounds
from tests.engine.world import MINUTE, at, workflow

PEOPLE = 12
# Each point at its first pass and, where a tick passes it again, deep inside. `transmitting` is after the point of no return, before DATA.
PLACES = [*POINTS, "advanced:2", "built:7", "transmitting:3", "transmitted:2", "settled:3", "observed:2"]


def test_the_places_cover_every_point():
    assert {place.partition(":")[0] for place in PLACES} == set(POINTS)


@pytest.mark.parametrize("place", PLACES)
def test_dying_at(place, tmp_path, smtp_server, monkeypatch):
    server = smtp_server()
    town = Town(tmp_path, monkeypatch, server.port, people=PEOPLE)
    status, _, err = town.run("tick", now=at("5m"), FLOWCTL_CRASH_AT=place)
    assert (status, err) == (137, ""), "it never came to that point"
    town.ticks("6m", "15m", "1h30m", "1h40m", "3h", "3h10m", "3h20m", "1d")
    twice = town.reckon(server, now=at("1d"))
    assert not twice
    town.everybody_is_through()
    doubtful = sum(number for (_, state), number in town.states().items() if state == "in_doubt")
    # Only what was past the point of no return may be in doubt, and of that at most what was under way at once.
    assert doubtful <= (4 if place.startswith(("built:", "transmit", "settled")) else 0)
    assert doubtful >= (1 if place.startswith("transmitting") else 0)


@pytest.mark.parametrize("policy", ["marketing", "transactional"])
@pytest.mark.parametrize("point", POINTS)
def test_dying_at_each_point_by_policy(point, policy, tmp_path, smtp_server, monkeypatch):
    """Marketing leaves at most once, transactional at least once, and what may have left is listed."""
    message = {"marketing": "hello", "transactional": "receipt"}[policy]
    server = smtp_server()
    town = Town(tmp_path, monkeypatch, server.port, workflow("w", steps=f"- send: {message}\n  via: email"), people=8)
    assert town.run("tick", now=at("5m"), FLOWCTL_CRASH_AT=point)[0] == 137, "it never came to that point"
    town.ticks("6m", "12m", "20m", "1h", "1d")
    town.reckon(server, now=at("1d"))
    states = town.states()
    assert sum(states.values()) == 8
    if policy == "transactional":  # each was asked again, and the server answers
        assert states == {(message, "sent"): 8}
        assert set(server.recipients()) == {f"c{number:03}@example.com" for number in range(8)}
    else:
        doubtful = states[message, "in_doubt"]
        assert states[message, "sent"] == 8 - doubtful
        assert (
            (1 if point == "transmitting" else 0) <= doubtful <= (4 if point.startswith(("transmit", "settled")) else 0)
        )


def test_dying_in_the_middle_of_transactional_messages(tmp_path, smtp_server, monkeypatch):
    """Those in doubt go out once more, the same to the byte."""
    server = smtp_server("--delay", "0.05")
    town = Town(tmp_path, monkeypatch, server.port, people=PEOPLE)
    town.ticks("5m")
    status, _, err = town.run("tick", now=at("1h10m"), FLOWCTL_CRASH_AT="transmitted:3")
    assert (status, err) == (137, "")
    time.sleep(0.3)  # the server finishes what it was told
    town.ticks("1h11m", "1h20m", "1h30m", "3h", "3h10m", "1d")
    twice = town.reckon(server, now=at("1d"))
    assert len(twice) <= 4
    town.everybody_is_through()
    assert all(state == "sent" for (message, state) in town.states() if message == "receipt")


def test_random_kills(tmp_path, smtp_server, monkeypatch):
    """Ticks are killed at any moment while another program goes on storing sign-ups."""
    seed = random.randrange(1 << 30)
    print("seed", seed)
    rng = random.Random(seed)
    server = smtp_server("--delay", "0.03")
    town = Town(tmp_path, monkeypatch, server.port)
    names = count()
    now = at("0m")
    killed = 0
    for _ in range(storm_rounds(6)):
        now += 20 * MINUTE
        for _ in range(rng.randrange(1, 12)):
            key = f"c{next(names):05}"
            town.world.contact(key, when=now - MINUTE)
            town.world.event(key, "signup", now - MINUTE)
        process = town.command("tick", now=now)
        # A process needs a third of a second to begin; then most moments are inside a tick.
        time.sleep(rng.uniform(0.1, 0.9))
        killed += process.poll() is None
        process.kill()
        process.communicate()
    for step in range(1, 14):
        town.tick(now + step * 20 * MINUTE)
    town.reckon(server, now=now + 14 * 20 * MINUTE)
    assert town.run("audit", now=now + 14 * 20 * MINUTE)[0] == 0
    town.everybody_is_through()
    assert killed, "no tick was alive when it was to be killed"
