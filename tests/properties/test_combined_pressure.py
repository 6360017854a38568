"""The bound over several workflows: against exhaustive search on random graphs, and never below what the engine really sends."""

from __future__ import annotations

import json
import random
from itertools import product
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowctl.engine.compiled import CHANNELS as ENGINE_CHANNELS
from flowctl.engine.tick import tick
from flowctl.lint.bounds import CHANNELS, Pressure
from flowctl.lint.combined import Combined
from flowctl.lint.context import Context
from flowctl.lint.exclusion import exclude, fits, worst_case
from flowctl.lint.live import InFlight, Live, draining
from flowctl.lint.merging import chains, is_a_path, merge, old_then_new
from flowctl.lint.pressure import curve, separations, zero_cycle
from flowctl.lint.suppressions import Suppressions
from flowctl.program.graph import TimeGraph
from tests.engine.world import DAY, HOUR, MINUTE, SETTINGS, T0, World, project

TIME = 20
COUNT = 5
START, END = 0, 1


@st.composite
def small_graphs(draw):
    """A graph with its start, its end, its sends, and the gap until it begins again (None: never)."""
    nodes = draw(st.integers(3, 5))
    pair = st.tuples(st.integers(1, nodes - 1), st.sampled_from([0, 1, 2, 5]))
    arrows = [draw(st.lists(pair, max_size=2)) for _ in range(nodes)]
    arrows[END] = []
    sends = draw(st.sets(st.integers(2, nodes - 1), min_size=1, max_size=2))
    return arrows, sends, draw(st.sampled_from([None, 0, 3, 7]))


def built(arrows, gap):
    graph = TimeGraph(workflow=None, nodes=[SimpleNamespace(sending=None)] * len(arrows), arrows=arrows)
    if gap is not None:
        graph.comeback_arrows = [(END, (START, gap))]
    return graph


def one_at_a_time(parts):
    """The most sends by window when a contact is in one graph at a time: every walk, within TIME and COUNT."""
    pending = [(which, send, 0, 1) for which, (_, sends, _) in enumerate(parts) for send in sends]
    seen = set(pending)
    while pending:
        which, node, time, count = pending.pop()
        arrows, _, gap = parts[which]
        following = [(which, target, apart) for target, apart in arrows[node]]
        if node == END:
            following += [(other, START, 0) for other in range(len(parts)) if other != which]
            following += [(which, START, gap)] if gap is not None else []
        for other, target, apart in following:
            state = (other, target, time + apart, count + (target in parts[other][1]))
            if state not in seen and state[2] <= TIME and state[3] <= COUNT:
                seen.add(state)
                pending.append(state)
    return [max(count for _, _, time, count in seen if time < window) for window in range(1, TIME + 1)]


@given(st.lists(small_graphs(), min_size=2, max_size=3))
@settings(max_examples=120, deadline=None)
def test_one_graph_of_several_is_what_exhaustive_search_finds(parts):
    graphs = [built(arrows, gap) for arrows, _, gap in parts]
    links = [
        (first, END, second, START, 0) for first in range(len(parts)) for second in range(len(parts)) if first != second
    ]
    merged = merge(graphs, links, comes_back=[True] * len(parts))
    begins = [sum(len(arrows) for arrows, _, _ in parts[:which]) for which in range(len(parts))]
    sends = [begin + send for begin, (_, own, _) in zip(begins, parts, strict=True) for send in sorted(own)]
    told = curve(separations(merged.all_arrows(), sends), sends, sends_max=COUNT)
    assert [told.most(window) for window in range(1, TIME + 1)] == one_at_a_time(parts)


@given(
    st.lists(
        st.tuples(
            st.integers(1, 5),
            st.dictionaries(
                st.sampled_from("abc"), st.frozensets(st.integers(0, 3), min_size=1, max_size=3), max_size=2
            ),
        ),
        min_size=1,
        max_size=7,
    )
)
@settings(max_examples=200, deadline=None)
def test_audiences_that_exclude_each_other_are_not_added(units):
    case = worst_case([(kept, count) for count, kept in units])
    most = sum(count for count, kept in units if fits(kept, case))
    values = [
        dict(zip("abc", chosen, strict=True)) for chosen in product(range(5), repeat=3)
    ]  # 4: none of those asked for
    exact = max(
        sum(count for count, kept in units if all(value[name] in allowed for name, allowed in kept.items()))
        for value in values
    )
    assert most == exact
    for _, first in units:
        for _, second in units:
            meet = any(
                all(value[name] in allowed for kept in (first, second) for name, allowed in kept.items())
                for value in values
            )
            assert exclude(first, second) == (not meet)


# ------------------------------------------------------------------------------------- random projects, lived on the real engine

REENTRY = [
    "{}",
    "{after: 2d}",
    "{after: 3d, since: entry}",
    "{after: 1d, while_active: restart}",
    "{while_active: restart}",
    "{after: 30h, since: entry, while_active: parallel}",
    "{after: 1d, key: trigger.cart_id}",
    "{while_active: parallel, key: trigger.cart_id, after: 12h, since: entry}",
]
SPANS = ["1h", "5h", "1d", "30h", "2d"]
WINDOWS = (HOUR, 24 * HOUR, 72 * HOUR, 7 * 24 * HOUR, 20 * 24 * HOUR)
DAYS = 24


def random_steps(rng, depth=0):
    """A list of steps as lines."""
    lines = []
    for _ in range(rng.randrange(1, 4)):
        kind = rng.choice(["send", "send", "wait", "all", "if", "repeat", "wait_for"][: 7 if depth < 2 else 4])
        inner = (
            ["      " + line for line in random_steps(rng, depth + 1)] if kind in ("if", "repeat", "wait_for") else []
        )
        match kind:
            case "send":
                lines.append(f"- send: {rng.choice(['hello', 'bye', 'again', 'receipt'])}")
            case "all":
                lines.append("- {send: hello, via: {all: [email, sms]}}")
            case "wait":
                lines.append(f"- wait: {rng.choice(SPANS)}")
            case "if":
                lines += ["- if: {field: engagement, gte: 5}", "  then:", *inner, "  else:", "      - wait: 3h"]
            case "repeat":
                every = f"[{rng.choice(SPANS)}, {rng.choice(SPANS)}]"
                lines += [f"- repeat: {{every: {every}, max: {rng.randrange(1, 4)}}}", "  steps:", *inner]
            case "wait_for":
                lines += ["- wait_for: {event: signup}", f"  timeout: {rng.choice(SPANS)}"]
                lines += ["  then:", *inner, "  on_timeout:", "      - wait: 1h"]
    return lines


def random_workflow(rng, name, *, manual=False, group=False, then=""):
    head = [
        f"workflow: {name}",
        f"triggers: [{'{manual: true}' if manual else '{event: cart_updated}'}]",
        f"reentry: {rng.choice(REENTRY[:3] if manual or then else REENTRY[:5] if group else REENTRY)}",
        *(["goal: {event: purchase}"] if rng.random() < 0.4 else []),
        *(["exit_when: [{event: signup}]"] if rng.random() < 0.2 else []),
        *([f"exclusive_group: g\npriority: {rng.choice([40, 50, 60])}"] if group else []),
    ]
    steps = random_steps(rng) + ([f"- start: {then}"] if then else [])
    return "\n".join([*head, "steps:", *(f"  {line}" for line in steps)]) + "\n"


def random_texts(rng):
    """Three or four workflows: one alone, two in a group or one that hands over to another."""
    texts = [random_workflow(rng, "alone")]
    if rng.random() < 0.5:
        return [*texts, random_workflow(rng, "first", group=True), random_workflow(rng, "second", group=True)]
    return [*texts, random_workflow(rng, "first", then="second"), random_workflow(rng, "second", manual=True)]


def history(world, rng, people, begin, days):
    """Random facts, in order of time."""
    for key in people:
        at = begin
        while at < begin + days * DAY:
            at += rng.choice([MINUTE, HOUR, 5 * HOUR, DAY, 2 * DAY])
            name = rng.choice(["cart_updated"] * 5 + ["purchase", "signup"])
            world.event(key, name, at, **({"cart_id": rng.choice(["x", "y"])} if name == "cart_updated" else {}))


def live_on(world, rng, until):
    now = world.now
    while now < until:
        now += rng.choice([HOUR, 2 * HOUR, 7 * HOUR])
        tick(world.store, now=now, channels=dict.fromkeys(ENGINE_CHANNELS, world.channel))
    world.now = now


def sent(world):
    """(contact, workflow, key, channel, time) of every marketing message that left."""
    return world.connection.execute(
        "SELECT o.contact_id, e.workflow, e.rkey, n.name, o.counted_at FROM outbox o JOIN enrollments e ON e.id = o.enrollment_id "
        "JOIN names n ON n.id = o.channel WHERE o.marketing = 1 AND o.state = 3"
    ).fetchall()


def most_of(times, window):
    return max((sum(begin <= at < begin + window for at in times) for begin in times), default=0)


def check_units(context, rows, texts):
    """Each workflow on each channel, per contact and key."""
    for journey in context.journeys:
        if journey.pressure is None:
            continue
        for channels in (CHANNELS, ("email",), ("sms",)):
            bound = journey.pressure.bound(channels)
            if bound.is_unbounded:
                continue
            by = {}
            for contact, name, key, channel, at in rows:
                if name == journey.name and channel in channels:
                    by.setdefault((contact, key if bound.key else ""), []).append(at)
            for times in by.values():
                for window in WINDOWS:
                    assert most_of(times, window) <= bound.most(window, 1000), (
                        texts,
                        journey.name,
                        channels,
                        window // HOUR,
                    )


def check_total(context, rows, texts):
    """All together, where each has a bound that does not depend on keys."""
    combined = Combined(context)
    journeys = [journey for unit in combined.units for journey in unit.journeys]
    if any(
        journey.graph.comeback.key or journey.pressure.bound(CHANNELS).is_unbounded
        for journey in journeys
        if journey.pressure
    ):
        return False
    for channels in (CHANNELS, ("email",), ("sms",)):
        by = {}
        for contact, _, _, channel, at in rows:
            if channel in channels:
                by.setdefault(contact, []).append(at)
        for times in by.values():
            for window in WINDOWS:
                assert most_of(times, window) <= combined.total(channels, window, 1000).count, (
                    texts,
                    channels,
                    window // HOUR,
                )
    return True


def lived(texts, rng, days=DAYS):
    world = World(*texts, settings=SETTINGS)
    people = ["ana", "bea", "col"]
    for key in people:
        world.contact(key, engagement=rng.choice([0, 10]), phone=f"+3361234567{people.index(key)}")
    history(world, rng, people, T0, days)
    live_on(world, rng, T0 + days * DAY)
    return world


@pytest.mark.parametrize("seed", [*range(8), 1028, 1066])
def test_the_engine_never_sends_more_than_the_bound(seed):
    rng = random.Random(seed)
    texts = random_texts(rng)
    world = lived(texts, rng)
    rows = sent(world)
    context = Context(project(*texts), Suppressions({}))
    check_units(context, rows, texts)
    check_total(context, rows, texts)


def test_a_group_and_a_chain_are_held_to_their_one_graph():
    """The merged bounds are really less than the sums, and the engine stays below them."""
    steps = "steps:\n  - send: bye\n  - wait: 3d\n"
    group = [
        f"workflow: {name}\ntriggers: [{{event: cart_updated}}]\nexclusive_group: g\n{steps}"
        for name in ("first", "second")
    ]
    chain = [
        f"workflow: first\ntriggers: [{{event: cart_updated}}]\n{steps}  - start: second\n",
        f"workflow: second\ntriggers: [{{manual: true}}]\n{steps}",
    ]
    for texts in (group, chain):
        context = Context(project(*texts), Suppressions({}))
        (unit,) = Combined(context).units
        assert [unit.most(("email",), window, 10) for window in (DAY, 3 * DAY)] == [1, 2]
        world = lived(texts, random.Random(5))
        rows = sent(world)
        assert check_total(context, rows, texts)
        assert len(rows) > 3
    assert list(chains(context)) == ["first"]


@pytest.mark.parametrize("seed", range(4))
def test_a_version_that_drains_counts(seed):
    rng = random.Random(100 + seed)
    old, new = (random_workflow(rng, "alone") for _ in range(2))
    world = World(old, settings=SETTINGS)
    for key in ("ana", "bea"):
        world.contact(key, phone=f"+3361234567{len(key)}", engagement=10)
    history(world, rng, ("ana", "bea"), T0, 16)
    live_on(world, rng, T0 + 6 * DAY)
    world.apply(new)
    live_on(world, rng, T0 + 16 * DAY)
    before, after = (Context(project(text), Suppressions({})).journeys[0] for text in (old, new))
    if not (is_a_path(before) and is_a_path(after)):
        return
    merged = Pressure(old_then_new(before.graph, after.graph))
    begin = T0 + 6 * DAY  # the older version's newcomers ended here
    for channels in (CHANNELS, ("email",)):
        bound = merged.bound(channels)
        if bound.is_unbounded or not bound.sends:
            continue
        by = {}
        for contact, _, _, channel, at in sent(world):
            if channel in channels and at >= begin:
                by.setdefault(contact, []).append(at)
        for times in by.values():
            for window in WINDOWS:
                assert most_of(times, window) <= bound.most(window, 1000), (old, new, window // HOUR)


def test_only_versions_that_differ_drain():
    same = "workflow: alone\ntriggers: [{event: cart_updated}]\nsteps:\n  - send: bye\n"
    now = project(same.replace("steps:", "# a comment\nowner: crm\nsteps:"))
    other = project(same + "  - wait: 1d\n")
    live = Live(
        in_flight=(
            InFlight(workflow="alone", version=1, steps={"": 2}, release=other),
            InFlight(workflow="alone", version=2, steps={"bye": 3}, release=project(same)),
            InFlight(workflow="alone", version=0, steps={"": 1}, release=None),
        )
    )
    assert [(one.in_flight.version, one.journey.name) for one in draining(live, now)] == [(1, "alone")]
    assert zero_cycle({}) is None
    assert json.dumps(sorted(other.messages)) == json.dumps(sorted(now.messages))
