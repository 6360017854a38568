"""However few ticks look at a history, what they make of it is what ticks on time would have made."""

from __future__ import annotations

import random

import pytest

from flowctl import crash
from flowctl.engine.advance import advance
from tests.engine.world import HOUR, MINUTE, T0, World, workflow

SLICE = 5 * MINUTE
END = T0 + 16 * HOUR

SEGMENTS = """
segments:
  keen: {match: {event: cart_updated, since: 3h, count: {gte: 2}}}
  idle: {match: {all: [{event: purchase, since: ever}, {not: {event: purchase, since: 4h}}]}}
  marked: {match: {field: visits, gte: 2}}
"""
QUIET = (  # no message leaves them: they must come out the same to the row
    workflow(
        "cart", triggers="[{event: cart_updated, unless: {event: purchase, within: 60m}}]", reentry="{after: 2h, key: trigger.cart_id}",
        goal="{event: purchase, where: {amount: {gte: 50}}, within: 6h}",
        exit_when="[{event: cart_updated, where: {items: 0, cart_id: {is: {from: trigger.cart_id}}}}]",
        steps="""
- wait: 1h
- wait_for: {event: purchase}
  timeout: 3h
  then: [{add: {visits: 1}}]
  on_timeout: [{tag: {interests: [toys]}}]
- if: {event: cart_updated, since: 2h}
  then: [{wait: {between: [10m, 50m]}}, {exit: busy}]
""",
    ),
    workflow("keen", triggers="[{enters: keen}, {exits: idle}]", reentry="{after: 1h, while_active: restart}", steps="- wait: 2h30\n- set: {stage: customer}"),
    workflow("idle", triggers="[{enters: idle}]", reentry="{after: 1h}", exit_when="[{segment: keen}]", steps='- wait: 1h\n  time: "18:00"\n- add: {visits: 1}'),
    workflow("marked", triggers="[{enters: marked}, {field: visits, changes: true}]", reentry="{after: 30m}", steps="- wait: 20m\n- exit: seen"),
    workflow("hourly", triggers='[{schedule: "15 */2 * * *"}]', audience="{segment: keen}", reentry="{after: 1h}", steps="- wait: 45m\n- exit: seen"),
)  # fmt: skip
QUIET += (
    workflow(
        "looper",
        reentry="{after: 2h, while_active: restart}",
        steps="""
- repeat: {every: [30m, 1h], max: 4, while: {not: {event: purchase, since: entry}}}
  steps: [{add: {engagement: 1}}, {wait: 10m}]
- start: {workflow: started}
""",
    ),
    workflow(
        "started",
        triggers="[{manual: true}]",
        reentry="{after: 1h}",
        steps="""
- split: {a: 50, b: 50}
  paths:
    a: [{wait: 25m}, {set: {stage: loyal}}]
    b: [{wait_for: {field: stage, is: customer}, timeout: 2h}]
- stop: slotted
""",
    ),
    workflow(
        "slotted",
        triggers="[{event: cart_updated}]",
        exclusive_group="one",
        priority="20",
        reentry="{after: 1h}",
        steps='- wait_until: {slot: {days: mon-sun, between: ["13:00", "15:30"]}}\n- wait: 20m\n- tag: {interests: [books]}',
    ),
    workflow(
        "evicts",
        triggers="[{event: purchase}]",
        exclusive_group="one",
        priority="60",
        reentry="{after: 1h}",
        steps="- wait: 70m\n- untag: {interests: [books]}",
    ),
)
LOUD = (  # when they let people in does not depend on when a message leaves
    workflow(
        "welcome",
        goal="{event: purchase}",
        reentry="{after: 1m, since: entry, while_active: parallel}",
        steps="- wait: 1h\n- send: hello",
    ),
    workflow(
        "sorry",
        triggers="[{exits: keen}]",
        reentry="{after: 1m, since: entry, while_active: parallel}",
        exit_when="[{event: cart_updated}]",
        steps="- send: bye",
    ),
)


@pytest.fixture(scope="module")
def template():
    return World(SEGMENTS, *QUIET, *LOUD)


def filled(template: World, rng: random.Random) -> World:
    """Four contacts with random facts, all stored beforehand: each counts when its time comes."""
    world = template.snapshot()
    facts = []
    for number in range(4):
        world.contact(f"c{number}")
        for _ in range(rng.randrange(4, 22)):
            when = T0 + MINUTE * rng.randrange(1, 14 * 60) + rng.randrange(0, 2) * rng.randrange(60_000)
            what = rng.choice(["cart_updated"] * 4 + ["purchase", "signup"])
            props = {
                "cart_updated": {"items": rng.randrange(3), "cart_id": rng.choice("ab")},
                "purchase": {"amount": rng.choice([10, 60])},
                "signup": {},
            }
            facts.append((when, f"c{number}", what, props[what]))
            if rng.random() < 0.2:
                facts.append((when, f"c{number}", "cart_updated", {"items": 1, "cart_id": "a"}))
    for when, key, what, props in sorted(facts, key=lambda fact: fact[0]):
        world.event(key, what, when, **props)
    return world


def runs(world: World) -> list:
    quiet = ("cart", "keen", "idle", "marked", "hourly", "looper", "started", "slotted", "evicts")
    return world.connection.execute(
        f"SELECT workflow, contact_id, entered_at, state, reason, ended_at, goal_at, pc FROM enrollments WHERE workflow IN {quiet} ORDER BY 1, 2, 3, 4, 6",
    ).fetchall()


def sends(world: World) -> set:
    return set(
        world.connection.execute(
            "SELECT e.workflow, e.contact_id, e.entered_at FROM outbox o JOIN enrollments e ON e.id = o.enrollment_id WHERE o.state = 3"
        )
    )


@pytest.mark.parametrize("seed", range(2))
def test_late_is_on_time(template, seed, monkeypatch):
    rng = random.Random(seed)
    world = filled(template, rng)
    late, some, on_time = world.snapshot(), world.snapshot(), world
    late.tick(END)
    # Nor does it matter how many rows are taken in hand at once.
    monkeypatch.setitem(advance.__kwdefaults__, "batch_rows", 2)
    for now in [*sorted(rng.sample(range(T0 + SLICE, END, SLICE), 8)), END]:
        some.tick(now)
    monkeypatch.undo()
    for now in range(T0 + SLICE, END + 1, SLICE):
        on_time.tick(now)
    assert runs(late) == runs(on_time)
    assert runs(some) == runs(on_time)
    fields = "SELECT id, visits, stage, interests FROM contacts ORDER BY id"
    assert (
        late.connection.execute(fields).fetchall()
        == on_time.connection.execute(fields).fetchall()
        == some.connection.execute(fields).fetchall()
    )
    # Sending happens at the end of a tick: what was over by then does not leave.
    assert sends(late) <= sends(some) <= sends(on_time)
    assert len(on_time.channel.transmitted) == len(sends(on_time))


@pytest.mark.parametrize("seed", range(2))
def test_repeated_ticks_and_clocks_that_jump_back_add_nothing(template, seed):
    rng = random.Random(100 + seed)
    world = filled(template, rng)
    plain, troubled = world.snapshot(), world
    now = T0
    while now < END:
        now = min(END, now + SLICE * rng.randrange(4, 60))
        plain.tick(now)
        troubled.tick(now)
        before = troubled.books()
        troubled.tick(now)
        assert troubled.books() == before
        if rng.random() < 0.4:
            troubled.tick(now - rng.randrange(1, 10) * HOUR)
            assert troubled.books() == before
    assert troubled.sent() == plain.sent()
    assert runs(troubled) == runs(plain)


class _Dies(Exception):
    pass


@pytest.mark.parametrize("seed", range(2))
def test_a_tick_that_died_is_finished_by_the_next_one_at_the_time_it_had_reached(template, seed, monkeypatch):
    """Between any two transactions: what the next tick makes of it is what the dead one would have made."""
    rng = random.Random(200 + seed)
    world = filled(template, rng)
    whole, broken = world.snapshot(), world
    whole.tick(END)
    left = 0

    def point(_name: str) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise _Dies

    monkeypatch.setattr(crash, "point", point)
    deaths = 0
    for _ in range(200):
        left = rng.randrange(1, 60)
        try:
            broken.tick(END)
            break
        except _Dies:
            deaths += 1
    assert deaths > 5
    assert runs(broken) == runs(whole)
    assert sends(broken) == sends(whole)
