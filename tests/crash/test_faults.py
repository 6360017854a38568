"""Servers, other programs and other ticks that get in the way: the outcome of each is known, and the next tick mends it."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import threading

import pytest

from flowctl.channels.recording import ACCEPTED, RecordingChannel
from flowctl.engine.compiled import CHANNELS
from flowctl.engine.tick import tick
from flowctl.failure import Busy
from flowctl.store.locking import exclusive
from tests.crash.town import WAIT_S, Town
from tests.engine.world import World, at, workflow

HELLO = workflow("w", steps="- send: hello\n  via: email\n  on_skip: [{tag: {interests: [toys]}}]")
RECEIPT = workflow("w", steps="- send: receipt\n  via: email")


def test_overlapping_ticks(tmp_path, smtp_server, monkeypatch):
    server = smtp_server("--delay", "0.02")
    town = Town(tmp_path, monkeypatch, server.port, people=20)
    with exclusive(town.store):
        status, out, err = town.run("tick", now=at("5m"))
    assert (status, out) == (75, "")
    assert f"another flowctl is running (pid {os.getpid()})" in err
    assert town.states() == {}
    ticks = [town.command("tick", now=at("5m")) for _ in range(3)]
    statuses = [process.wait(30) for process in ticks]
    for process in ticks:
        process.communicate()
    assert set(statuses) <= {0, 75}
    assert 0 in statuses
    assert town.states() == {("hello", "sent"): 20}
    assert len(server.envelopes()) == 20


def test_sigterm_finishes_the_letters_in_hand(tmp_path, smtp_server, monkeypatch):
    server = smtp_server("--delay", "0.1")
    town = Town(tmp_path, monkeypatch, server.port, people=30)
    process = town.begun(server)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=WAIT_S)
    assert process.returncode in (0, 1)
    sent = town.states()["hello", "sent"]
    assert 0 < sent < 30
    assert town.states() == {("hello", "sent"): sent, ("hello", "ready"): 30 - sent}
    town.ticks("10m")
    assert len(server.envelopes()) == 30


def test_the_store_locked_by_another_program(tmp_path, smtp_server, monkeypatch):
    server = smtp_server()
    town = Town(tmp_path, monkeypatch, server.port, people=3)
    before = town.world.books()
    other = sqlite3.connect(tmp_path / "flowctl.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    status, out, err = town.run("tick", now=at("5m"), FLOWCTL_BUSY_S="0.2")
    assert (status, out) == (75, "")
    assert "locked by another program" in err
    assert "Traceback" not in err
    other.execute("ROLLBACK")
    assert town.world.books() == before
    assert server.envelopes() == []
    assert town.run("tick", now=at("5m"))[0] == 0
    assert len(server.envelopes()) == 3


@pytest.mark.parametrize("when", ["before the gate", "while letters leave"])
def test_the_store_locked_in_the_middle_of_a_tick(tmp_path, monkeypatch, when):
    """What was under way is in doubt at worst; nothing is sent a second time."""
    monkeypatch.setenv("FLOWCTL_BUSY_S", "0.2")
    channel = _Locking(tmp_path / "flowctl.db")
    world = World(HELLO, path=tmp_path / "flowctl.db", channel=channel)
    for number in range(20):
        world.contact(f"c{number}")
        world.event(f"c{number}", "signup", at("1m"))
    channel.armed = when == "while letters leave"
    with pytest.raises(Busy, match="locked by another program"):
        tick(
            world.store, now=at("5m"), channels=dict.fromkeys(CHANNELS, channel),
            on_delivery=lambda _: None if channel.armed else channel.lock(),
        )  # fmt: skip
    channel.armed = False
    channel.unlock()
    first = len(channel.transmitted)
    assert first == (0 if when == "before the gate" else first)
    world.ticks("10m", "20m")
    states = [row[2] for row in world.outbox()]
    assert set(states) <= {"sent", "in_doubt"}
    assert states.count("in_doubt") <= 4
    keys = [letter.key for letter in channel.transmitted]
    assert len(keys) == len(set(keys))
    assert len(keys) >= 20 - states.count("in_doubt")


class _Locking(RecordingChannel):
    """Locks the store from another connection at the third letter."""

    inline = False

    def __init__(self, path) -> None:
        super().__init__(self._answer_and_lock, connections=2)
        self._other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._guard = threading.Lock()
        self.armed = False

    def lock(self) -> None:
        self._other.execute("BEGIN IMMEDIATE")

    def unlock(self) -> None:
        self._other.execute("ROLLBACK")

    def _answer_and_lock(self, _letter):
        if self.armed and len(self.transmitted) >= 3 and self._guard.acquire(blocking=False):
            self._other.execute("PRAGMA busy_timeout = 5000")
            self.lock()
        return ACCEPTED


def test_the_server_is_down(tmp_path, smtp_server, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = free.getsockname()[1]
    town = Town(tmp_path, monkeypatch, nobody, people=10)
    status, _, err = town.run("tick", now=at("5m"))
    assert status == 1
    assert "refuse" in err
    assert "Traceback" not in err
    assert town.states() == {("hello", "ready"): 10}
    server = smtp_server()
    town.move_server(server.port)
    town.ticks("10m", "1h20m", "3h", "3h5m")
    assert town.reckon(server, now=at("3h5m")) == {}
    town.everybody_is_through()
    assert town.connection.execute("SELECT max(attempts) FROM outbox").fetchone() == (1,)


def test_421_in_the_middle(tmp_path, smtp_server, monkeypatch):
    tired = smtp_server("--total", "20")
    town = Town(tmp_path, monkeypatch, tired.port, HELLO, people=50)
    report = town.tick(at("5m"))
    # Each of two lines may have begun a letter before the server had enough.
    assert report.sent in (20, 21)
    assert list(report.refusals) == ["email"]
    assert town.states() == {("hello", "sent"): report.sent, ("hello", "ready"): 50 - report.sent}
    fresh = smtp_server()
    town.move_server(fresh.port)
    town.ticks("10m")
    assert town.reckon(tired, fresh, now=at("10m")) == {}
    assert town.states() == {("hello", "sent"): 50}


def test_421_after_a_few_on_each_line_only_costs_a_new_line(tmp_path, smtp_server, monkeypatch):
    server = smtp_server("--per-connection", "7")
    town = Town(tmp_path, monkeypatch, server.port, HELLO, people=50)
    town.ticks("5m", "10m", "15m", "20m", "30m", "1h")
    assert town.reckon(server, now=at("1h")) == {}
    assert town.states() == {("hello", "sent"): 50}


@pytest.mark.parametrize("fault", ["login", "sender", "closing"])
def test_a_provider_that_refuses_rests_until_somebody_mends_it(fault, tmp_path, smtp_server, monkeypatch):
    """From tick to tick, each a process of its own: told by tick, status and doctor, tried with one message, and no attempt is counted."""
    bad = smtp_server(
        *{
            "login": ("--auth", "me:right", "--starttls"),
            "sender": ("--mail", "550 5.7.1 c000@example.com blocked"),
            "closing": ("--mail", "421 4.7.0 not now"),
        }[fault]
    )
    town = Town(tmp_path, monkeypatch, bad.port, HELLO, people=12)
    status, _, err = town.run("-q", "tick", now=at("5m"))
    assert status == 1
    assert "warning: email: the provider refuses everything for now" in err
    assert town.states() == {("hello", "ready"): 12}
    assert town.run("tick", now=at("6m"))[0] == 0  # it rests
    assert "provider of email refuses" in town.run("status", now=at("6m"))[1]
    status, out, _ = town.run("doctor", "--offline", now=at("6m"))
    assert status == 1
    assert "outbox retry --channel email" in out
    assert "c000@example.com" not in out
    assert town.run("tick", now=at("10m"))[0] == 1  # tried again
    good = smtp_server()
    town.move_server(good.port)
    assert town.run("tick", now=at("12m"))[0] == 0
    assert good.envelopes() == []
    status, out, _ = town.run("outbox", "retry", "--channel", "email", now=at("12m"))
    assert (status, "12 wait for it" in out) == (0, True)
    assert town.run("tick", now=at("12m"))[0] == 0
    assert town.reckon(bad, good, now=at("12m")) == {}
    assert town.states() == {("hello", "sent"): 12}
    assert town.connection.execute("SELECT max(attempts) FROM outbox").fetchone() == (1,)
    assert "refuses" not in town.run("status", now=at("13m"))[1]


def test_one_550_among_fifty(tmp_path, smtp_server, monkeypatch):
    server = smtp_server("--rcpt", "c017@example.com", "550 5.1.1 no such user")
    town = Town(tmp_path, monkeypatch, server.port, HELLO, people=50)
    town.ticks("5m")
    assert town.states() == {("hello", "sent"): 49, ("hello", "failed"): 1}
    assert town.reckon(server, now=at("5m")) == {}
    assert town.world.value("c017", "interests") == '["toys"]'
    suppressed = town.connection.execute(
        "SELECT c.key, s.reason FROM suppressions s JOIN contacts c ON c.id = s.contact_id"
    ).fetchall()
    assert suppressed == [("c017", "refused")]


def test_a_line_dropped_after_the_dot_leaves_marketing_in_doubt_for_good(tmp_path, smtp_server, monkeypatch):
    server = smtp_server("--drop", "dot", "--only", "c003@example.com")
    town = Town(tmp_path, monkeypatch, server.port, HELLO, people=20)
    town.ticks("5m", "10m", "1h", "1d")
    assert town.states() == {("hello", "sent"): 19, ("hello", "in_doubt"): 1}
    assert town.reckon(server, now=at("1d")) == {}
    assert server.recipients().count("c003@example.com") == 1
    assert town.world.states(key="c003") == [("completed", None)]


def test_a_line_dropped_after_the_dot_sends_transactional_once_more(tmp_path, smtp_server, monkeypatch):
    server = smtp_server("--drop", "dot", "--only", "c003@example.com")
    town = Town(tmp_path, monkeypatch, server.port, RECEIPT, people=20)
    town.ticks("5m")
    assert town.world.states(key="c003") == [("active", None)]
    town.world.set("c003", at("6m"), first_name="Changed")
    town.ticks("10m", "15m", "1h", "1d")
    assert town.states() == {("receipt", "sent"): 19, ("receipt", "in_doubt"): 1}
    assert list(town.reckon(server, now=at("1d")).values()) == [2]
    assert town.world.states(key="c003") == [("completed", None)]


def test_a_server_that_keeps_hanging_up_after_the_dot_makes_few_doubts(tmp_path, smtp_server, monkeypatch):
    bad = smtp_server("--drop", "dot")
    town = Town(tmp_path, monkeypatch, bad.port, HELLO, people=60)
    town.ticks("5m")
    doubtful = town.states()["hello", "in_doubt"]
    assert 5 <= doubtful <= 9
    good = smtp_server()
    town.move_server(good.port)
    town.ticks("10m")
    assert town.states() == {("hello", "in_doubt"): doubtful, ("hello", "sent"): 60 - doubtful}
    assert town.reckon(bad, good, now=at("10m")) == {}
