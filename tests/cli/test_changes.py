"""plan in its formats and as a file, state, apply with orders, rollback and diff, in a git repository with real files."""

# ruff: noqa: F401, F811 - fixtures are imported by their names

import json

import pytest

from flowctl.store.database import open_store
from tests.cli.test_release import WELCOME, applied, git, run, shop

pytestmark = pytest.mark.usefixtures("applied")
SHORTER = WELCOME.replace("{id: pause, wait: 2d}", "wait: 1d")


@pytest.fixture
def inside(run):
    """Ana stands on `pause`."""
    run("enroll", "welcome", "--contact", "ana")
    assert run("tick")[0] == 0
    return run


def commit(shop, text, words="next"):
    (shop / "welcome.yaml").write_text(text)
    git(shop, "commit", "-qam", words)


def test_a_rollback_is_a_new_release_of_the_earlier_files(shop, inside):
    commit(shop, SHORTER)
    inside("apply", "--yes")
    first = json.loads(inside("releases", "--json")[1])["releases"][-1]
    assert inside("rollback")[0] == 2  # nobody is there to answer
    status, out, _ = inside("rollback", "--yes")
    assert (status, f"release 3 applied from {first['commit']}" in out) == (0, True)
    newest = json.loads(inside("releases", "--json")[1])["releases"][0]
    assert (newest["digest"], newest["orders"]) == (first["digest"], {"rollback": 1})
    assert "back to release 1" in inside("releases")[1]
    assert (shop / "welcome.yaml").read_text() == SHORTER
    assert "audit" in inside("audit")[1].lower() or inside("audit")[0] == 0


def test_releases_name_the_versions_that_each_brought(shop, inside):
    (shop / "other.yaml").write_text(WELCOME.replace("welcome", "other"))
    git(shop, "add", ".")
    git(shop, "commit", "-qm", "another")
    inside("apply", "--yes")
    commit(shop, SHORTER)
    inside("apply", "--yes")
    said = json.loads(inside("releases", "--json")[1])["releases"]
    assert [each["workflows"] for each in said] == [["welcome"], ["other"], ["welcome"]]


def test_a_rollback_by_number_or_commit_names_what_there_is(shop, inside):
    commit(shop, SHORTER)
    assert "no release before the newest" in inside("rollback", "--yes")[2]
    inside("apply", "--yes")
    first = json.loads(inside("releases", "--json")[1])["releases"][-1]
    assert inside("rollback", "9", "--yes")[0] == 2
    assert "release 3 applied" in inside("rollback", first["commit"], "--yes")[1]
    assert "nothing to apply" in inside("rollback", "1", "--yes")[1]


def test_orders_on_the_command_line_are_planned_applied_and_listed(shop, inside):
    commit(shop, SHORTER)
    assert "1 contact in flight leaves at once" in inside("plan", "--in-flight", "welcome=exit")[1]
    status, out, _ = inside("apply", "--yes", "--in-flight", "welcome=exit")
    assert (status, "welcome: 1 contact in older versions left" in out) == (0, True)
    assert "welcome: exit (1 left)" in inside("releases")[1]
    assert "in-flight: exit" in inside("explain", "ana")[1]
    assert "did you mean 'welcome'?" in inside("apply", "--yes", "--in-flight", "welcom=exit")[2]


def test_a_plan_in_markdown_tells_people_and_pressure(shop, inside):
    (shop / "welcome.yaml").write_text(SHORTER + "  - {id: third, send: hello}\n")
    status, out, _ = inside("plan", "--format", "markdown")
    assert status == 0
    assert (
        "| changed | workflow welcome | version 2, live; 1 contact in flight finishes the version they entered; step pause disappears"
        in out
    )
    assert "- welcome: 2 → 3 marketing messages within 7 days" in out
    (worst,) = json.loads(inside("plan", "--format", "json")[1])["worst_case"]
    assert (worst["before"], worst["after"]) == (2, 3)
    assert "~ worst case of welcome: 2 → 3" in inside("plan")[1]


def test_a_reviewed_plan_applies_what_was_reviewed_and_not_what_the_folder_says_now(shop, inside):
    commit(shop, SHORTER)
    assert inside("plan", "--out", "plan.json")[0] == 0
    (shop / "welcome.yaml").write_text("broken: [")
    status, out, _ = inside("apply", "plan.json")
    assert (status, "1 changed" in out) == (0, True)
    store = open_store(shop / "flowctl.db", create=False)
    (files,) = store.connection.execute("SELECT files FROM releases ORDER BY id DESC LIMIT 1").fetchone()
    store.close()
    assert json.loads(files)["welcome.yaml"] == SHORTER


def test_a_reviewed_plan_is_refused_once_the_store_moved_on(shop, inside):
    commit(shop, SHORTER)
    inside("plan", "--out", "plan.json")
    commit(shop, WELCOME.replace("2d", "5d"))
    inside("apply", "--yes")
    status, _, err = inside("apply", "plan.json")
    assert (status, "made against release 1, and release 2" in err) == (2, True)
    assert len(inside("releases")[1].splitlines()) == 3


def test_a_plan_that_was_changed_or_is_none_is_refused(shop, inside):
    (shop / "welcome.yaml").write_text(SHORTER)
    inside("plan", "--out", "plan.json")
    assert "differ from the last commit" in inside("apply", "plan.json")[2]
    (shop / "plan.json").write_text((shop / "plan.json").read_text().replace("wait: 1d", "wait: 9d"))
    assert "was changed since it was planned" in inside("apply", "plan.json")[2]
    assert inside("apply", "people.csv")[0] == 2
    assert inside("apply", "nowhere.json")[0] == 2


def test_a_state_holds_counts_and_lets_plan_do_without_the_store(shop, inside, monkeypatch):
    assert inside("state", "export", "state.json")[0] == 0
    text = (shop / "state.json").read_text()
    assert "ana@example.com" not in text
    assert json.loads(text)["workflows"]["welcome"] == {
        "version": 1,
        "in_flight": [{"version": 1, "step": "pause", "contacts": 1}],
    }
    (shop / "welcome.yaml").write_text(SHORTER)
    with_store = json.loads(inside("plan", "--format", "json")[1])
    (shop / "flowctl.db").rename(shop / "elsewhere.db")
    without = json.loads(inside("plan", "--format", "json", "--state", "state.json")[1])
    assert without == with_store
    assert not (shop / "flowctl.db").exists()
    moved = SHORTER.replace("wait: 1d", "{id: rest, wait: 1d}") + "move: {pause: rest}\n"
    (shop / "welcome.yaml").write_text(moved)
    assert "1 contact on pause moves to the new version" in inside("plan", "--state", "state.json")[1]
    assert (
        "1 contact in flight leaves at once"
        in inside("plan", "--state", "state.json", "--in-flight", "welcome=exit")[1]
    )
    assert inside("plan", "--state", "people.csv")[0] == 2


def test_two_versions_stand_side_by_side_in_the_report(shop, inside):
    commit(shop, SHORTER)
    inside("apply", "--yes")
    inside("enroll", "welcome", "--contact", "bob")
    inside("tick")
    status, out, _ = inside("report", "welcome", "--compare", "1", "2")
    assert status == 0
    assert "what\tversion 1\tversion 2\nentered\t1\t1\ninside\t1\t1\n" in out
    assert "\npause\t1\t\n" in out
    assert "\nhello\temail\t1\t1\t0\t0\t0\t0\t0\t0\n" in out
    both = json.loads(inside("report", "welcome", "--compare", "1", "2", "--json")[1])["workflows"]
    assert [each["versions"] for each in both] == [[1], [2]]
    assert "has no version 7" in inside("report", "welcome", "--compare", "1", "7")[2]
    assert inside("report", "--compare", "1", "2")[0] == 2
