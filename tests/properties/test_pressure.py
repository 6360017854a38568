"""The pressure bound against exhaustive search on random graphs, and against random runs of random workflows."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from flowctl.language.steps import ExitStep, IfStep, RepeatStep, SendStep, WaitForStep, WaitStep
from flowctl.lint.bounds import CHANNELS, Pressure
from flowctl.lint.pressure import curve, separations, zero_cycle
from flowctl.program.compiling import compile_program
from flowctl.program.graph import build_graph
from flowctl.project.load import load_texts

NODES = 6
TIME = 24
COUNT = 6


@st.composite
def graphs(draw):
    nodes = draw(st.integers(2, NODES))
    pair = st.tuples(st.integers(0, nodes - 1), st.sampled_from([0, 0, 1, 2, 5, 7]))
    arrows = [draw(st.lists(pair, max_size=3)) for _ in range(nodes)]
    sends = draw(st.sets(st.integers(0, nodes - 1), min_size=1))
    return arrows, sorted(sends)


def everything(arrows, sends):
    """Every (node, time, sends so far) that some walk from some send reaches: exhaustive, within TIME and COUNT."""
    pending = [(send, 0, 1) for send in sends]
    seen = set(pending)
    while pending:
        node, time, count = pending.pop()
        for target, apart in arrows[node]:
            state = (target, time + apart, count + (target in sends))
            if state not in seen and state[1] <= TIME and state[2] <= COUNT:
                seen.add(state)
                pending.append(state)
    return seen


@given(graphs())
@settings(max_examples=150, deadline=None)
def test_the_curve_is_what_exhaustive_search_finds(graph):
    arrows, sends = graph
    states = everything(arrows, sends)
    told = curve(separations(arrows, sends), sends, sends_max=COUNT)
    for window in range(1, TIME + 1):
        assert told.most(window) == max(count for _, time, count in states if time < window)


@given(graphs())
@settings(max_examples=80, deadline=None)
def test_a_witness_is_a_walk_that_takes_that_long(graph):
    arrows, sends = graph
    gaps = separations(arrows, sends)
    told = curve(gaps, sends, sends_max=COUNT)
    for count, soonest in enumerate(told.soonest_ms, start=1):
        way = told.witness(count)
        assert len(way) == count
        assert (way[0][1], way[-1][1]) == (0, soonest)
        for (send, at), (following, then) in itertools.pairwise(way):
            assert then - at == gaps[send][following]


@given(graphs())
@settings(max_examples=150, deadline=None)
def test_a_cycle_without_time_is_found_exactly_where_there_is_one(graph):
    arrows, sends = graph
    reach = [{target for target, apart in out if apart == 0} for out in arrows]
    for _ in arrows:
        reach = [near | {further for node in near for further in reach[node]} for near in reach]
    found = zero_cycle(separations(arrows, sends))
    assert (found is not None) == any(send in reach[send] for send in sends)
    if found is not None:
        assert set(found) <= set(sends)
        assert all(following in reach[send] for send, following in zip(found, [*found[1:], found[0]], strict=True))


# ------------------------------------------------------------------------------------------- random runs of random workflows

HOUR = 3_600_000
SETTINGS = """
project: random
timezone: Europe/Paris
events: {bought: {}, seen: {}}
"""
MESSAGES = """
messages:
  a: {email: {subject: a, text: a}}
  b: {push: {title: b, text: b}, email: {subject: b, text: b}}
  c: {sms: {text: c}}
  d: {purpose: transactional, email: {subject: d, text: d}}
"""
WHILE = ", while: {field: country, is: FR}"
SPANS = ["1h", "5h", "1d", "2d", "30h"]


def step(inner):
    return st.one_of(
        st.sampled_from(["a", "b", "c", "d"]).map(lambda name: [f"send: {name}"]),
        st.sampled_from(SPANS).map(lambda span: [f"wait: {span}"]),
        st.just(["{send: b, via: {all: [push, email]}}"]),
        st.tuples(inner, inner).map(
            lambda two: ["if: {field: country, is: FR}", "then:", *listed(two[0]), "else:", *listed(two[1])]
        ),
        st.tuples(st.sampled_from(SPANS), inner, inner).map(
            lambda said: [
                "wait_for: {event: seen}",
                f"timeout: {said[0]}",
                "then:",
                *listed(said[1]),
                "on_timeout:",
                *listed(said[2]),
            ]
        ),
        st.tuples(
            st.sampled_from(SPANS), st.sampled_from(SPANS), st.integers(1, 4), inner, st.sampled_from(["", WHILE])
        ).map(
            lambda said: [
                f"repeat: {{every: [{said[0]}, {said[1]}], max: {said[2]}{said[4]}}}",
                "steps:",
                *listed(said[3]),
            ]
        ),
        st.just(["send: a", "on_skip:", "  - send: c"]),
        st.just(["exit: done"]),
    )


def listed(steps):
    """A list of steps as lines, one level deeper."""
    out = []
    for lines in steps:
        for index, line in enumerate(lines):
            if line.startswith("{"):
                out.append(f"  - {line}")
            else:
                out.append(f"  {'- ' if index == 0 else '  '}{line}")
    return out


STEPS = st.recursive(
    st.lists(st.sampled_from([["send: a"], ["wait: 1d"], ["send: b"]]), min_size=1, max_size=3),
    lambda inner: st.lists(step(inner), min_size=1, max_size=4),
    max_leaves=6,
)
REENTRY = st.sampled_from(
    [
        "{}",
        "{after: 2d}",
        "{after: 3d, since: entry}",
        "{after: 1d, while_active: restart}",
        "{while_active: restart}",
        "{after: 30h, since: entry}",
    ]
)


class Exit(Exception):
    """The run ended."""


class Restart(Exception):
    """The trigger came again."""


class Run:
    """One contact's runs, as language.md says them, with chance for events; independent of programs and graphs."""

    def __init__(self, project, workflow, chance):
        self.messages, self.workflow, self.chance = project.messages, workflow, chance
        self.at = 0
        self.sent = []  # (time, channel) of marketing
        self.can_restart = workflow.reentry.while_active == "restart"

    def lived(self):
        for _ in range(6):
            entered = self.at
            while True:
                try:
                    self.steps(self.workflow.steps)
                except Exit:
                    pass
                except Restart:
                    entered = self.at
                    if len(self.sent) < 60:
                        continue
                break
            after = self.workflow.reentry.after
            if after == "never":
                break
            since = entered if self.workflow.reentry.since == "entry" else self.at
            self.at = max(self.at, since + after.elapsed_ms)
        return self.sent

    def rest(self):
        """Facts reach who rests."""
        if self.workflow.goal is not None and self.chance.random() < 0.05:
            raise Exit
        if self.can_restart and self.chance.random() < 0.1:
            raise Restart

    def pass_time(self, span):
        self.rest()
        self.at += span

    def steps(self, steps):
        """Runs steps; gives the time of the last message that left, None where none did."""
        last = None
        for one in steps:
            left = self.step(one)
            last = left if left is not None else last
        return last

    def step(self, one):
        match one:
            case SendStep():
                return self.send(one)
            case WaitStep():
                self.pass_time(one.wait.shortest_ms if self.chance.random() < 0.7 else one.wait.elapsed_ms)
            case WaitForStep():
                self.rest()
                if self.chance.random() < 0.5:
                    self.at += self.chance.choice([0, 0, HOUR])
                    return self.steps(one.then)
                self.at += one.timeout.shortest_ms
                return self.steps(one.on_timeout)
            case IfStep():
                return self.steps(one.then if self.chance.random() < 0.5 else one.else_)
            case RepeatStep():
                return self.repeat(one)
            case ExitStep():
                raise Exit
        return None

    def send(self, one):
        self.rest()
        if self.chance.random() < 0.15:
            return self.steps(one.on_skip) if isinstance(one.on_skip, list) else None
        self.at += self.chance.choice([0, 0, 0, HOUR])  # held by quiet hours
        message = self.messages[one.send]
        if message.purpose == "marketing":
            both = getattr(one.via, "all_", None)
            self.sent += [(self.at, channel) for channel in both or [self.chance.choice(message.channels)]]
        return self.at

    def repeat(self, one):
        last = None
        if one.repeat.while_ is not None and self.chance.random() < 0.3:
            return None
        for turn in range(one.repeat.max):
            begun = self.at
            left = self.steps(one.steps)
            last = left if left is not None else last
            if turn + 1 < one.repeat.max:
                every = one.repeat.every[min(turn, len(one.repeat.every) - 1)]
                self.rest()
                self.at = max(self.at, (left if left is not None else begun) + every.shortest_ms)
            if one.repeat.while_ is not None and self.chance.random() < 0.3:
                break
        return last


@given(steps=STEPS, reentry=REENTRY, goal=st.booleans(), seed=st.integers(0, 10_000))
@settings(max_examples=300, deadline=None)
def test_no_run_sends_more_than_the_bound(steps, reentry, goal, seed):
    lines = [
        "workflow: w",
        "triggers: [{event: seen}]",
        f"reentry: {reentry}",
        *(["goal: {event: bought}"] if goal else []),
        "steps:",
        *listed(steps),
    ]
    text = "\n".join(lines)
    project = load_texts({"flowctl.yaml": SETTINGS, "m.yaml": MESSAGES, "w.yaml": text}, Path())
    assert not project.problems, (text, project.problems)
    workflow = project.workflows["w"]
    pressure = Pressure(build_graph(compile_program(workflow), project.messages))
    bounds = {channels: pressure.bound(channels) for channels in (CHANNELS, ("email",), ("push",), ("sms",))}
    assume(not all(bound.is_unbounded for bound in bounds.values()))
    for attempt in range(5):
        sent = Run(project, workflow, random.Random(seed * 10 + attempt)).lived()
        for channels, bound in bounds.items():
            if bound.is_unbounded:
                continue
            times = [at for at, channel in sent if channel in channels]
            for window in (HOUR, 24 * HOUR, 72 * HOUR, 240 * HOUR):
                found = max((sum(begin <= at < begin + window for at in times) for begin in times), default=0)
                assert found <= bound.most(window, 1000), (text, channels, window // HOUR, found)
