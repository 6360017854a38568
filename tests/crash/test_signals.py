"""SIGTERM and Ctrl-C finish the batch in hand, with the exit status that the help names; a second one ends the process at once."""

from __future__ import annotations

import signal
import time

import pytest

from tests.crash.town import WAIT_S, Town
from tests.engine.world import at, workflow

HELLO = workflow("w", steps="- send: hello\n  via: email")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_the_letters_in_hand_are_finished_and_the_rest_waits(number, status, tmp_path, smtp_server, monkeypatch):
    server = smtp_server("--delay", "0.1")
    town = Town(tmp_path, monkeypatch, server.port, HELLO, people=30)
    process = town.begun(server)
    process.send_signal(number)
    _, err = process.communicate(timeout=WAIT_S)
    assert process.returncode == status
    assert "stopped after the batch in hand" in err
    assert "Traceback" not in err
    sent = town.states()["hello", "sent"]
    assert 0 < sent < 30
    assert town.states() == {("hello", "sent"): sent, ("hello", "ready"): 30 - sent}
    town.ticks("5m")  # at once: what was not begun waits for nothing
    assert town.reckon(server, now=at("5m")) == {}
    assert len(server.envelopes()) == 30


def test_a_second_signal_ends_it_at_once_and_what_was_leaving_is_in_doubt(tmp_path, smtp_server, monkeypatch):
    server = smtp_server("--delay", "3")
    town = Town(tmp_path, monkeypatch, server.port, HELLO, people=5)
    process = town.command("tick", now=at("5m"))
    until = time.monotonic() + WAIT_S
    while not town.states()["hello", "transmitting"]:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until, "nothing left"
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    assert process.poll() is None  # it waits for the letters in hand
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=WAIT_S)
    assert process.returncode == -signal.SIGTERM
    time.sleep(3)
    town.ticks("10m")
    assert town.states()["hello", "in_doubt"] in (1, 2)
    town.reckon(server, now=at("10m"))


def test_a_loop_ends_between_ticks(tmp_path, smtp_server, monkeypatch):
    server = smtp_server()
    town = Town(tmp_path, monkeypatch, server.port, HELLO, people=3)
    process = town.begun(server, "--loop", "60")
    until = time.monotonic() + WAIT_S
    while town.states()["hello", "sent"] < 3:
        assert time.monotonic() < until
        time.sleep(0.01)
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=WAIT_S)
    assert process.returncode == 0
    assert town.reckon(server, now=at("5m")) == {}


def test_it_stops_between_batches_before_anything_leaves(tmp_path, smtp_server, monkeypatch):
    """Also while contacts are advanced: the next tick goes on where it stopped."""
    from flowctl.engine import advance
    from flowctl.engine.tick import tick

    server = smtp_server()
    town = Town(tmp_path, monkeypatch, server.port, HELLO, people=10)

    def stopped() -> bool:
        return sum(town.states().values()) >= 4

    monkeypatch.setattr(advance.advance, "__kwdefaults__", {**advance.advance.__kwdefaults__, "batch_rows": 2})
    report = tick(town.store, now=at("5m"), stopped=stopped)
    assert report.stopped
    assert report.sent == 0
    assert town.states() == {("hello", "ready"): 4}
    town.ticks("5m")
    assert town.reckon(server, now=at("5m")) == {}
    assert town.states() == {("hello", "sent"): 10}
