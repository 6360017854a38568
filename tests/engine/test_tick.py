"""Ticks: once, late, repeated, with a clock that jumps, with too much at once."""

from __future__ import annotations

from tests.engine.world import World, at, workflow


def test_hello():
    world = World(workflow("w", steps="- send: hello"))
    world.contact("ana")
    world.event("ana", "signup", at("1m"))
    world.ticks("5m")
    assert world.sent("ana") == [("hello", "email", 5)]
    assert world.states() == [("completed", None)]
