"""When something can happen next: what is remembered must be what would be found anew."""

import random

import pytest

from flowctl.engine.horizon import Horizon
from flowctl.engine.runtime import load
from flowctl.engine.segments import Probe
from flowctl.store.database import open_store
from tests.engine.world import DAY, HOUR, MINUTE, T0, World, workflow

SEGMENTS = """
segments:
  recent: {match: {event: purchase, since: 2d}}
  between: {match: {event: cart_updated, between: [3d, 1d]}}
  opened: {match: {message: hello, status: opened, since: 5d}}
  soon: {match: {field: due_date, anniversary: today}}
"""


@pytest.fixture
def world():
    world = World(
        SEGMENTS,
        workflow(
            "w", triggers="[{event: signup, unless: {event: purchase, within: 60m}}]", steps="- wait: 1d\n- send: hello"
        ),
    )
    for key in ("ana", "bob"):
        world.contact(key)
    return world


def timed(runtime):
    kinds = ("window", "status_window", "moment", "day")
    return [probe for plan in runtime.segments for probe in plan.probes if probe.kind in kinds]


@pytest.mark.parametrize("seed", range(5))
def test_what_is_remembered_is_what_would_be_found(world, seed):
    chance = random.Random(seed)
    runtime = load(world.connection)
    kept = Horizon(world.connection, runtime)
    probes = [*timed(runtime), Probe(kind="moment", names=("created_at",), edge_ms=DAY)]
    assert {probe.kind for probe in probes} >= {"window", "status_window", "day"}
    now = T0
    moved = 0
    for turn in range(60):
        match chance.randrange(4):
            case 0:
                name = chance.choice(["purchase", "cart_updated", "signup"])
                # Late ones, and ones dated ahead.
                world.event(chance.choice(["ana", "bob"]), name, now + chance.randint(-4 * DAY, DAY))
            case 1:
                world.connection.execute(
                    "INSERT INTO message_events (contact_id, message, status, at) "
                    "VALUES (1, (SELECT id FROM names WHERE kind = 'message' AND name = 'hello'), ?, ?)",
                    (chance.choice([0, 2]), now - chance.randint(0, 5 * DAY)),
                )
            case 2:
                world.contact(f"c{turn}", when=now - chance.randint(0, DAY))
        then = now + chance.choice([MINUTE, HOUR, 7 * HOUR, DAY])
        fresh = Horizon(world.connection, runtime)
        kept.renew()
        fresh.renew()
        for probe in probes:
            answer = kept.moves(probe, now, then)
            assert answer == fresh.moves(probe, now, then), probe
            moved += answer
        assert kept.next(now) == fresh.next(now) > now
        now = chance.choice([then, now])
    assert moved > 20


def test_rows_of_another_process_are_seen(tmp_path):
    world = World(SEGMENTS, path=tmp_path / "w.db")
    world.contact("ana")
    runtime = load(world.connection)
    horizon = Horizon(world.connection, runtime)
    (window,) = [probe for probe in timed(runtime) if probe.kind == "window" and probe.edge_ms == 2 * DAY]
    horizon.renew()
    assert not horizon.moves(window, T0, T0 + 2 * DAY)
    other = open_store(tmp_path / "w.db", create=False)
    other.connection.execute(
        "INSERT INTO events (contact_id, type, at) VALUES (1, (SELECT id FROM event_types WHERE name = 'purchase'), ?)",
        (T0 + HOUR,),
    )
    other.close()
    horizon.renew()
    assert horizon.moves(window, T0 + 2 * DAY, T0 + 2 * DAY + HOUR)
    assert not horizon.moves(window, T0 + 2 * DAY + HOUR, T0 + 3 * DAY)
