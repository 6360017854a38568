"""Re-entry under every policy equals a plain reference that looks at one fact after the other."""

from __future__ import annotations

import random
from itertools import product

import pytest

from tests.engine.world import HOUR, MINUTE, T0, World, workflow

GRID = 5 * MINUTE
AFTER = {"never": None, "1h": HOUR, "3h": 3 * HOUR}
LENGTHS = {"": 0, "- wait: 1h\n": HOUR, "- wait: 4h\n": 4 * HOUR}
POLICIES = [
    (after, since, active, key, steps)
    for after, since, active, key in product(AFTER, ("exit", "entry"), ("ignore", "restart", "parallel"), (False, True))
    for steps in LENGTHS
    if after != "never" or since == "exit"
]


def text_of(number: int) -> str:
    after, since, active, key, steps = POLICIES[number]
    keyed = ", key: trigger.cart_id" if key else ""
    return workflow(
        f"w{number}",
        triggers="[{event: cart_updated}]",
        reentry=f"{{after: {after}, since: {since}, while_active: {active}{keyed}}}",
        steps=steps + "- exit: over",
    )


def reference(policy, facts):
    """Runs as [entry, end, reason, key], where each fact finds the world as those before it left it."""
    after_word, since, active, keyed, steps = policy
    after, length = AFTER[after_word], LENGTHS[steps]
    runs: list[list] = []
    for at, cart in facts:
        key = cart if keyed else None
        mine = [run for run in runs if run[3] == key]
        # A run that ends at the very instant of a fact from outside still is there; one that began and ended at it is not.
        inside = [run for run in mine if run[0] <= at < run[1] or (run[0] < at == run[1] and run[2] == "over")]
        counted = [run for run in mine if run[2] != "restarted"]
        if active == "ignore" and inside:
            continue
        if active == "restart" and inside:
            for run in inside:
                run[1:3] = [at, "restarted"]
        elif after is None:
            if any(run not in inside for run in counted) or (counted and active != "parallel"):
                continue
        elif since == "exit":
            if any(run[1] + after > at for run in counted if run not in inside):
                continue
        elif any(run[0] + after > at for run in counted):
            continue
        runs.append([at, at + length, "over", key])
    return sorted((run[0], run[1], run[2]) for run in runs)


def history(rng: random.Random, grid: int = GRID):
    """Facts on a grid, often several at one instant, often just when a run or its gap is over."""
    moments = [T0 + grid]
    for _ in range(rng.randrange(2, 12)):
        moments.append(
            moments[-1]
            + rng.choice([0, 0, grid, HOUR - grid, HOUR, HOUR + grid, 2 * HOUR, 3 * HOUR, 4 * HOUR, 7 * HOUR])
        )
    return [(at, rng.choice(["a", "b", None])) for at in moments]


@pytest.fixture(scope="module")
def template():
    return World(*(text_of(number) for number in range(len(POLICIES))))


@pytest.mark.parametrize("seed", range(2))
def test_all_policies(template, seed):
    rng = random.Random(seed)
    world = template.snapshot()
    histories = {}
    for number in range(8):
        key = f"c{number}"
        world.contact(key)
        histories[key] = history(rng)
    for at, cart, key in sorted(
        ((at, cart, key) for key, facts in histories.items() for at, cart in facts), key=lambda fact: fact[0]
    ):
        world.event(key, "cart_updated", at, **({"cart_id": cart} if cart else {}))
    compare(world, histories, rng)


def test_to_the_minute_within_a_slice(template):
    """One contact, facts between the ends of slices: what was over by the time of a fact is over for it."""
    rng = random.Random(7)
    world = template.snapshot()
    world.contact("ana")
    facts = history(rng, MINUTE)
    for at, cart in facts:
        world.event("ana", "cart_updated", at, **({"cart_id": cart} if cart else {}))
    compare(world, {"ana": facts}, rng)


def compare(world: World, histories: dict, rng: random.Random) -> None:
    """Let a hundred hours pass in ticks of random lengths; then every policy let in whom the reference lets in."""
    end = T0 + 100 * HOUR
    now = T0
    while now < end:
        now += GRID * rng.choice([1, 1, 2, 7, 60, 300])
        world.tick(min(now, end))
    got: dict = {}
    for name, key, entered, ended, reason in world.connection.execute(
        "SELECT e.workflow, c.key, e.entered_at, e.ended_at, e.reason FROM enrollments e JOIN contacts c ON c.id = e.contact_id"
    ):
        got.setdefault((name, key), []).append((entered, ended, reason))
    for number, policy in enumerate(POLICIES):
        for key, facts in histories.items():
            # Facts of one instant come in the order in which they were stored: sorted() above is stable.
            assert sorted(got.get((f"w{number}", key), [])) == reference(policy, facts), (policy, facts)
