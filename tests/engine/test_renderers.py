"""Rendering in processes: the same letters whoever makes them, and a death that costs one letter."""

import os
import signal
import subprocess
import sys
import time
from itertools import chain, islice
from pathlib import Path
from threading import Timer

import pytest

from flowctl.channels.channel import Letter
from flowctl.engine import backlog, renderers
from flowctl.engine.contact import Fields
from flowctl.engine.letters import Letters, Refused, read
from flowctl.engine.links import Links
from flowctl.engine.processes import MANY, processes_wanted
from flowctl.engine.renderer import frame
from flowctl.engine.renderers import AHEAD, BATCH, Renderers
from flowctl.engine.templates import prepare
from flowctl.language.message import Message
from flowctl.language.settings import Sender
from tests.engine.world import DAY, MINUTE, T0, World

FIELDS = {"id": "number", "first_name": "text"}
LINKS = Links(secret="a" * 64, public_url="https://x.example")


def snapshot(text="Bonjour {{ contact.first_name }}"):
    message = Message.model_validate({"message": "m", "email": {"subject": "s", "text": text}}, strict=False)
    return prepare(message, senders={"s": Sender(name="S", email="s@s.example")}, languages=["fr"], read={}.get)


def case(number, **contact):
    who = tuple({"id": number, "first_name": f"N{number}", **contact}.values())
    return {
        "channel": "email",
        "recipient": f"p{number}@example.com",
        "key": f"k{number}",
        "now": T0,
        "contact": who,
        "trigger": None,
        "data": None,
    }


class Deadly:
    """Pickles to a call that kills whoever loads it: a letter that ends its process."""

    def __init__(self, number):
        self.number = number

    def __reduce__(self):
        return signal.raise_signal, (self.number,)


class Hungry:
    """Pickles to two GiB."""

    def __reduce__(self):
        return bytearray, (2 << 30,)


@pytest.fixture
def make():
    made = []

    def start(count=1, text="Bonjour {{ contact.first_name }}"):
        messages = {"m": snapshot(text), "n": snapshot(text)}
        said = {
            "messages": messages,
            "fields": FIELDS,
            "secret": "a" * 64,
            "public_url": "https://x.example",
            "keys": {},
        }
        made.append(Renderers(said, count))
        return made[-1]

    yield start
    for one in made:
        one.close()


def jobs(numbers, name="m"):
    return ((number, name, case(number)) for number in numbers)


def here(jobs):
    read([case for _, _, case in jobs], Fields(FIELDS))
    return [Letters(LINKS).build(snapshot(), **case) for _, _, case in jobs]


def never_here(jobs):
    raise AssertionError(jobs)


@pytest.mark.parametrize("count", [1, 2])
def test_letters_are_those_of_this_process(make, count):
    numbers = range(BATCH * AHEAD * 2 + 3)
    made = list(make(count).letters(jobs(numbers), here))
    assert sorted(made) == [(number, *here([(number, "m", case(number))])) for number in numbers]


def test_who_would_wait_for_a_process_makes_letters_meanwhile(make):
    process = make()
    some = BATCH * AHEAD * 2
    letters = process.letters(jobs(range(some * 2)), here)
    first = [next(letters) for _ in range(BATCH)]
    assert [number for number, _ in first] == list(range(BATCH))
    child = process._processes[0]._child
    child.send_signal(signal.SIGSTOP)
    # Whatever the process had made by then comes first; it cannot have made more than it was given.
    more = [next(letters) for _ in range(some)]
    assert max(number for number, _ in more) > BATCH * (AHEAD + 2)
    child.send_signal(signal.SIGCONT)
    assert sorted(number for number, _ in [*first, *more, *letters]) == list(range(some * 2))


def test_what_no_process_has_survived_is_not_made_here(make):
    process = make()
    made_here = []

    def noted(jobs):
        made_here.extend(name for _, name, _ in jobs)
        return here(jobs)

    many = BATCH * AHEAD
    letters = process.letters(chain(jobs(range(many)), jobs(range(many, many * 2), "n")), noted)
    assert next(letters)[0] == 0
    assert made_here == []
    child = process._processes[0]._child
    child.send_signal(signal.SIGSTOP)
    Timer(0.3, child.send_signal, (signal.SIGCONT,)).start()
    first_other = next(nth for nth, (number, _) in enumerate(letters, 1) if number >= many)
    assert "n" not in made_here
    assert first_other + len(list(letters)) == many * 2 - 1


def test_a_letter_that_cannot_be_made_is_refused_alone(make):
    cases = [("a", "m", case(1)), ("b", "m", case(2, first_name=None)), ("c", "m", case(3))]
    (_, one), (_, two), (_, three) = make().letters(iter(cases), never_here)
    assert isinstance(one, Letter)
    assert two == Refused(reason="missing variable contact.first_name (unknown for this contact)")
    assert isinstance(three, Letter)


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (signal.SIGKILL, "the process that rendered it ended (SIGKILL)"),
        (signal.SIGPROF, "the template runs away: it takes more than 5 s of processor time"),
    ],
)
def test_a_process_that_dies_costs_one_letter(make, number, reason):
    deadly = BATCH + 7
    numbers = range(BATCH * AHEAD + 5)
    cases = ((each, "m", case(each) | ({"zone": Deadly(number)} if each == deadly else {})) for each in numbers)
    made = dict(make().letters(cases, here))
    assert sorted(made) == list(numbers)
    assert made.pop(deadly) == Refused(reason=reason)
    assert all(isinstance(letter, Letter) for letter in made.values())


def test_memory_has_a_limit(make):
    cases = [(1, "m", case(1) | {"zone": Hungry()}), (2, "m", case(2))]
    (_, made), (_, after) = make().letters(iter(cases), never_here)
    assert made == Refused(reason="the process that rendered it ended (status 1)")
    assert isinstance(after, Letter)


def test_processor_time_has_a_limit():
    """The timer ends a process in the middle of C code, where no Python handler would run."""
    program = (
        "from flowctl.engine import renderer\nrenderer.LETTER_CPU_S = 0.2\n"
        "class Slow:\n    def build_all(self, cases):\n        return [sum(range(10**12))]\n"
        "renderer._letters = lambda said: Slow()\nrenderer.main()\n"
    )
    work = frame({"messages": {"m": {}}, "fields": {}}) + frame([("m", {"contact": (), "trigger": None, "data": None})])
    done = subprocess.run([sys.executable, "-c", program], input=work, timeout=30, check=False)
    assert done.returncode == -signal.SIGPROF


def test_who_stops_in_the_middle_leaves_no_process(make):
    process = make()
    letters = process.letters(jobs(range(500)), here)
    assert len(list(islice(letters, 3))) == 3
    child = process._processes[0]._child
    letters.close()
    assert child.poll() is not None
    (again,) = process.letters(jobs([1]), here)
    assert isinstance(again[1], Letter)


ORPHAN = """\
import os, signal
from flowctl.engine.renderers import Renderers
one = Renderers({"messages": {}, "fields": {}, "secret": "s", "public_url": None, "keys": {}}, 1)
print(one._processes[0]._start().pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_process_whose_tick_was_killed_ends_by_itself():
    done = subprocess.run([sys.executable, "-c", ORPHAN], capture_output=True, text=True, timeout=30, check=False)
    child = Path(f"/proc/{int(done.stdout)}")
    for _ in range(200):
        if not child.exists() or "\nState:\tZ" in (child / "status").read_text():
            return
        time.sleep(0.05)
    raise AssertionError(child)


def test_no_secret_of_the_environment_gets_there(make, monkeypatch):
    monkeypatch.setenv("SMTP_PASSWORD", "hunter2")
    process = make()
    list(process.letters(jobs([1]), here))
    child = process._processes[0]._child.pid
    assert b"hunter2" not in Path(f"/proc/{child}/environ").read_bytes()


@pytest.mark.parametrize(("said", "wanted"), [("1", 1), ("3", 3), ("0", None), ("many", None), ("", None)])
def test_how_many_is_said_or_follows_the_machine(monkeypatch, said, wanted):
    monkeypatch.setenv("FLOWCTL_PROCESSES", said)
    processors = os.cpu_count() or 1
    assert processes_wanted() == (wanted or min(processors, 4))


FLOW = "workflow: w\ntriggers: [{event: signup}]\nsteps: [{send: hello, via: email}]\n"


@pytest.fixture
def starts(monkeypatch):
    """The processes that were started."""
    monkeypatch.setenv("FLOWCTL_PROCESSES", "2")
    starts = []
    real = renderers._Process._start

    def counted(self):
        starts.append(self)
        return real(self)

    monkeypatch.setattr(renderers._Process, "_start", counted)
    return starts


def sign_up(world, name, people, at):
    for number in range(people):
        world.contact(f"{name}{number}")
        world.event(f"{name}{number}", "signup", at)


@pytest.mark.parametrize(("people", "started"), [(MANY, 0), (MANY + 1, 1)])
def test_a_tick_starts_processes_only_for_many(tmp_path, starts, people, started):
    from flowctl.engine.tick import tick

    world = World(FLOW)
    sign_up(world, "p", people, T0 + MINUTE)
    assert tick(world.store, now=T0 + MINUTE, base=tmp_path).sent == people
    assert len(starts) == started
    assert len(list((tmp_path / "mail" / "new").iterdir())) == people


def test_a_backlog_that_waits_to_be_confirmed_starts_none(tmp_path, starts, monkeypatch):
    from flowctl.engine.tick import tick

    monkeypatch.setattr(backlog, "FLOOR", 5)
    monkeypatch.setattr(backlog, "DAYS_MIN", 1)
    world = World(FLOW)
    sign_up(world, "early", 1, T0 + MINUTE)
    assert tick(world.store, now=T0 + MINUTE, base=tmp_path).sent == 1
    sign_up(world, "p", MANY + 1, T0 + DAY)
    assert tick(world.store, now=T0 + DAY + MINUTE, base=tmp_path).backlog.due == MANY + 1
    assert starts == []
    assert tick(world.store, now=T0 + DAY + 2 * MINUTE, base=tmp_path, unasked=True).sent == MANY + 1
    assert len(starts) == 1
