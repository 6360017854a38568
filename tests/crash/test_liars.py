"""Servers whose answers mean nothing, or another thing than they say: what each makes of a marketing and of a transactional message."""

from __future__ import annotations

import pytest

from tests.crash.town import TOWN_SETTINGS, Town
from tests.engine.world import World, at, workflow

PEOPLE = 8
LIED_TO = "c003@example.com"
MESSAGE = {"marketing": "hello", "transactional": "receipt"}
# Nobody can tell what became of the letter.
DOUBTFUL = {
    "closes after the dot": ("--drop", "dot"),
    "half a reply": ("--raw", r"250-ok\r\n"),
    "another code inside one reply": ("--raw", r"250-ok\r\n550 no\r\n"),
    "no code": ("--raw", r"fine with me\r\n"),
    "a code that none may send": ("--raw", r"999 ok\r\n"),
    "the first answer again": ("--dot", "354 go ahead"),
    "noise": ("--raw", "\x01\x02\x7f\\r\\n"),
    "no end of line": ("--raw", "250 ok"),
    "nothing": ("--delay", "2"),
}
# Odd, and sent all the same.
ACCEPTED = {
    "299": ("--dot", "299 as you wish"),
    "closes after each answer": ("--close-after",),
    "refuses to part": ("--quit", "554 stay"),
    "a wordy answer": ("--raw", r"250-ok\r\n250-really\r\n250 kept\r\n"),
}


def town_of(folder, monkeypatch, server, policy):
    town = Town(folder, monkeypatch, server.port, workflow("w", steps=f"- send: {MESSAGE[policy]}\n  via: email"))
    settings = TOWN_SETTINGS.replace("timeout: 5s", "timeout: 5s, reply_timeout: 1s")
    World.apply(town.world, workflow("w", steps=f"- send: {MESSAGE[policy]}\n  via: email"), settings=settings)
    for number in range(PEOPLE):
        town.world.contact(f"c{number:03}")
        town.world.event(f"c{number:03}", "signup", at("1m"))
    return town


@pytest.mark.parametrize("policy", MESSAGE)
@pytest.mark.parametrize("lie", DOUBTFUL)
def test_what_may_have_left_is_in_doubt(lie, policy, tmp_path, smtp_server, monkeypatch):
    server = smtp_server(*DOUBTFUL[lie], "--only", LIED_TO)
    town = town_of(tmp_path, monkeypatch, server, policy)
    town.ticks("5m", "10m", "15m", "1h", "1d")
    message = MESSAGE[policy]
    assert town.states() == {(message, "sent"): PEOPLE - 1, (message, "in_doubt"): 1}
    asked = town.connection.execute("SELECT attempts, doubts FROM outbox WHERE state = 5").fetchone()
    assert asked == ((1, 1) if policy == "marketing" else (2, 2))
    twice = town.reckon(server, now=at("1d"))
    assert list(twice.values()) == (
        [2] if policy == "transactional" and server.recipients().count(LIED_TO) == 2 else []
    )
    assert town.world.states(key="c003") == [("completed", None)]


@pytest.mark.parametrize("policy", MESSAGE)
@pytest.mark.parametrize("oddity", ACCEPTED)
def test_what_was_accepted_oddly_is_sent_once(oddity, policy, tmp_path, smtp_server, monkeypatch):
    server = smtp_server(*ACCEPTED[oddity])
    town = town_of(tmp_path, monkeypatch, server, policy)
    town.ticks("5m", "10m", "1h", "1d")
    assert town.states() == {(MESSAGE[policy], "sent"): PEOPLE}
    assert town.reckon(server, now=at("1d")) == {}


@pytest.mark.parametrize("policy", MESSAGE)
@pytest.mark.parametrize("reply", ["421 4.3.2 closing", "451 4.3.0 try later", "452 4.2.2 full"])
def test_a_complete_4xx_after_the_dot_is_tried_again(reply, policy, tmp_path, smtp_server, monkeypatch):
    tired = smtp_server("--dot", reply, "--only", LIED_TO)
    town = town_of(tmp_path, monkeypatch, tired, policy)
    town.ticks("5m")
    assert town.states()[MESSAGE[policy], "ready"] >= 1
    fresh = smtp_server()
    town.move_server(fresh.port)
    town.ticks("10m", "15m", "1h")
    assert town.states() == {(MESSAGE[policy], "sent"): PEOPLE}
    assert town.reckon(tired, fresh, now=at("1h")) == {}
