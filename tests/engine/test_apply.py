"""Apply: what a release stores, what it leaves alone, what it refuses with nothing half done."""

from __future__ import annotations

import pytest

from flowctl.engine import apply as applying
from flowctl.failure import ProblemsFound
from tests.engine.world import MESSAGES, SETTINGS, World, at, project, workflow

W = workflow("w", steps="- wait: 1h\n- send: hello")


def rows(world: World, table: str) -> list:
    return world.connection.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall()


def test_the_same_files_make_no_second_release():
    world = World(W)
    before = [
        rows(world, table) for table in ("releases", "workflow_versions", "workflow_states", "cursors", "transitions")
    ]
    assert world.apply(W, now=at("1h")).same
    assert [
        rows(world, table) for table in ("releases", "workflow_versions", "workflow_states", "cursors", "transitions")
    ] == before


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("# a comment\n\n" + W, 1),  # other lines, the same workflow
        (
            W.replace("triggers:", "description: other words\npriority: 70\ntriggers:"),
            1,
        ),  # what follows the newest release
        (W.replace("[{event: signup}]", "[{event: purchase}]"), 1),
        (W.replace("1h", "2h"), 2),
        (W.replace("triggers:", "goal: {event: purchase}\ntriggers:"), 2),
        (W.replace("triggers:", "timezone: America/New_York\ntriggers:"), 2),
    ],
)
def test_a_workflow_gets_a_new_version_only_where_what_is_pinned_changed(text, version):
    world = World(W)
    release = world.apply(text, now=at("1h"))
    assert not release.same
    assert len(rows(world, "workflow_versions")) == version
    assert release.changed == (("w",) if version == 2 else ())


def test_who_is_in_flight_takes_the_trigger_audience_and_state_of_the_newest_release_but_its_own_steps():
    world = World(W)
    world.contact("ana")
    world.event("ana", "signup", at("1m"))
    world.ticks("5m")
    release = world.apply(workflow("w", triggers="[{event: purchase}]", steps="- send: bye"), now=at("10m"))
    assert (release.new, release.changed) == ((), ("w",))
    world.contact("bob")
    for name in ("signup", "purchase"):
        world.event("bob", name, at("11m"))
    world.ticks("15m", "2h")
    assert (world.messages("ana"), world.messages("bob")) == (["hello"], ["bye"])


def test_a_pause_by_hand_outlives_an_apply():
    world = World(W)
    world.connection.execute("UPDATE workflow_states SET by_hand = 'paused'")
    world.apply(W.replace("1h", "2h"), now=at("1h"))
    world.contact("ana")
    world.event("ana", "signup", at("1h1m"))
    world.ticks("1h5m", "5h")
    assert world.states() == []


def test_a_workflow_that_is_gone_comes_back():
    world = World(W, workflow("x", steps="- exit: x", triggers="[{manual: true}]"))
    other = workflow("x", steps="- exit: x", triggers="[{manual: true}]")
    assert world.apply(other, now=at("1h")).gone == ("w",)
    assert world.apply(other, now=at("2h")).same
    world.apply(W, other, now=at("3h"))
    world.contact("ana")
    world.event("ana", "signup", at("3h1m"))
    world.ticks("3h5m", "5h")
    assert world.messages("ana") == ["hello"]


def test_messages_follow_the_newest_release():
    world = World(W)
    world.contact("ana")
    world.event("ana", "signup", at("1m"))
    world.ticks("5m")
    world.apply(
        W, messages=MESSAGES.replace("subject: Hello, text: Hello", "subject: Bonjour, text: Bonjour"), now=at("10m")
    )
    world.ticks("2h")
    assert b"Subject: Bonjour" in world.channel.transmitted[0].payload


def test_new_fields_become_columns_and_those_gone_keep_their_values():
    world = World(W)
    world.contact("ana", visits=3)
    world.apply(W, settings=SETTINGS.replace("    visits: integer\n", "    points: number\n"), now=at("1h"))
    assert world.value("ana", "visits") == 3
    assert world.value("ana", "points") is None


def test_a_refused_apply_changes_nothing():
    world = World(W)
    before = [
        rows(world, table)
        for (table,) in world.connection.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        )
    ]
    columns = world.connection.execute("SELECT name FROM pragma_table_info('contacts')").fetchall()
    refused = project(
        W, workflow("y", steps="- send: offer"), messages=MESSAGES + "  offer:\n    email: {from: shop, subject: X, text: X}\n",
        settings=SETTINGS.replace("public_url: https://news.example.com\n", "").replace("    visits: integer\n", "    points: number\n"),
    )  # fmt: skip
    with pytest.raises(ProblemsFound) as found:
        applying.apply(world.store, refused, commit="x", now=at("1h"))
    assert {problem.code for problem in found.value.problems} == {"RUN002"}
    assert all(problem.place.path == "messages.yaml" for problem in found.value.problems)
    after = [
        rows(world, table)
        for (table,) in world.connection.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        )
    ]
    assert after == before
    assert world.connection.execute("SELECT name FROM pragma_table_info('contacts')").fetchall() == columns


def test_files_with_errors_are_refused():
    world = World(W)
    broken = project(workflow("w", steps="- send: nobody"))
    with pytest.raises(ProblemsFound):
        applying.apply(world.store, broken, commit="x", now=at("1h"))
    assert len(rows(world, "releases")) == 1


def test_a_changed_segment_is_judged_in_full_and_what_it_finds_enters_nobody():
    segment = "segment: rich\nmatch: {field: engagement, gte: %d}\n"
    text = workflow("w", triggers="[{enters: rich}]", steps="- send: hello")
    world = World(segment % 50, text)
    world.contact("ana", engagement=20)
    world.ticks("5m")
    world.apply(segment % 10, text, now=at("10m"))
    assert world.connection.execute("SELECT count(*) FROM segment_members").fetchone() == (1,)
    world.ticks("15m", "1d")
    assert world.sent() == []
    world.set("ana", at("1d1m"), engagement=5)
    world.ticks("1d5m")
    world.set("ana", at("1d6m"), engagement=15)
    world.ticks("1d10m")
    assert world.messages("ana") == ["hello"]


def test_a_segment_of_a_segment_is_judged_after_it_whatever_their_order():
    outer = "segments:\n  a-outer: {match: {all: [{segment: z-inner}, {field: visits, gte: 1}]}}\n  z-inner: {match: {event: purchase, since: 30d}}\n"
    world = World(outer, workflow("w", triggers="[{enters: a-outer}]", steps="- send: hello"))
    world.contact("ana", visits=1)
    world.ticks("5m")
    world.event("ana", "purchase", at("6m"))
    world.ticks("10m")
    assert world.messages("ana") == ["hello"]


def test_lines_of_a_version_follow_its_file():
    world = World(W)
    world.apply("# one line more\n" + W, now=at("1h"))
    (line,) = world.connection.execute(
        "SELECT json_extract(program, '$.instructions[0].line') FROM workflow_versions"
    ).fetchone()
    assert line == 5


def test_a_schedule_that_moves_to_another_zone_misses_no_time():
    text = workflow(
        "w",
        triggers='[{schedule: "0 9 * * *"}]',
        audience="{field: engagement, gte: 0}",
        reentry="{after: 1h}",
        steps="- exit: seen",
    )
    world = World(text)
    world.contact("ana")
    world.ticks("5m")
    world.apply(text.replace("triggers:", "timezone: America/New_York\ntriggers:"), now=at("10m"))
    world.ticks("15m", "12h")
    assert world.entered() == [("ana", 240)]
