"""Programs outlive the flowctl that compiled them: a release of another compiler is compiled anew by the next tick."""

from __future__ import annotations

from flowctl.engine.runtime import COMPILER
from tests.engine.world import World, at, workflow

OLD = workflow("w", steps="- send: hello\n- wait: 2d\n- send: bye")
NEW = workflow("w", steps="- send: hello\n- wait: 2d\n- send: again")


def test_a_release_of_another_compiler_is_compiled_anew_and_nobody_in_flight_notices():
    world = World(OLD)
    world.contact("ana")
    world.event("ana", "signup", at("1m"))
    world.ticks("5m")
    world.apply(NEW)
    world.contact("bob")
    world.event("bob", "signup", at("10m"))
    world.ticks("15m")
    connection = world.connection
    connection.execute("UPDATE releases SET compiler = 0, runtime = '{}'")
    # What an older compiler wrote may lack what this one needs.
    connection.execute("UPDATE workflow_versions SET program = json_remove(program, '$.sleepers', '$.marked')")
    world.ticks("3d")
    assert connection.execute("SELECT compiler FROM releases ORDER BY id DESC LIMIT 1").fetchone() == (COMPILER,)
    assert world.messages("ana") == ["hello", "bye"]
    assert world.messages("bob") == ["hello", "again"]


def test_an_unchanged_workflow_keeps_its_version_when_only_its_messages_change():
    world = World(OLD)
    world.contact("ana")
    world.event("ana", "signup", at("1m"))
    world.ticks("5m")
    louder = "messages:\n  hello:\n    email: {from: shop, subject: HELLO, text: Hello}\n  bye:\n    purpose: transactional\n    email: {from: shop, subject: Bye, text: Bye}\n"
    release = world.apply(OLD, messages=louder)
    assert release.unchanged == ("w",)
    world.ticks("3d")
    assert world.connection.execute("SELECT count(*) FROM outbox WHERE marketing = 0").fetchone() == (1,)
