"""plan, apply, releases, tick, enroll, outbox and messages on the command line, in a git repository with real files."""

import json
import subprocess

import pytest

from flowctl.cli.main import main
from flowctl.store.database import open_store, transaction

SETTINGS = """\
project: shop
timezone: Europe/Paris
languages: [en]
contacts: {fields: {first_name: text}}
events: {signup: {}, bought: {}}
senders: {shop: {name: Shop, email: shop@example.com}}
channels: {email: {adapter: maildir, path: mail}}
pressure: {email: [5 per 1d]}
public_url: https://news.example.com
"""
WELCOME = """\
workflow: welcome
triggers: [{event: signup}]
steps:
  - send: hello
  - {id: pause, wait: 2d}
  - send: bye
"""
MESSAGES = """\
messages:
  hello: {email: {subject: Hello, text: "Hello {{ contact.first_name|default('you') }}"}}
  bye: {email: {subject: Bye, text: Bye}}
"""
NOW = "2026-03-02T10:00:00Z"


def git(root, *words):
    name = ("-c", "user.name=t", "-c", "user.email=t@example.com")
    subprocess.run(["git", *name, "-C", str(root), *words], check=True, capture_output=True)


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """A committed project with a .gitignore for its store."""
    root = tmp_path / "shop"
    root.mkdir()
    monkeypatch.delenv("FLOWCTL_STORE", raising=False)
    monkeypatch.setenv("FLOWCTL_NOW", NOW)
    monkeypatch.chdir(root)
    (root / "flowctl.yaml").write_text(SETTINGS)
    (root / "welcome.yaml").write_text(WELCOME)
    (root / "messages.yaml").write_text(MESSAGES)
    (root / "people.csv").write_text(
        "key,email,first_name,consent.email\nana,ana@example.com,Ana,true\nbob,bob@example.com,,true\n"
    )
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "commit", "-qm", "first")
    return root


@pytest.fixture
def run(shop, capsys):
    def run(*words):
        status = main(["-C", str(shop), *words])
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def applied(run):
    assert run("apply", "--yes")[0] == 0
    assert run("contacts", "import", "people.csv", "--source", "shop")[0] == 0
    return run


def test_a_plan_before_the_first_apply_makes_no_store(shop, run):
    status, out, _ = run("plan")
    assert (status, (shop / "flowctl.db").exists()) == (0, False)
    assert "+ workflow welcome" in out
    assert "Plan: 1 new." in out


def test_a_plan_changes_nothing_and_tells_who_finishes_what_they_entered(shop, applied):
    applied("enroll", "welcome", "--contact", "ana")
    applied("tick")
    (shop / "welcome.yaml").write_text(WELCOME.replace("{id: pause, wait: 2d}", "wait: 1d"))
    before = (shop / "flowctl.db").read_bytes()
    status, out, _ = applied("plan", "--format", "json")
    (workflow,) = json.loads(out)["workflows"]
    assert status == 0
    assert workflow["change"] == "changed"
    assert (workflow["version"], workflow["in_flight"], workflow["lost"]) == (2, 1, {"pause": 1})
    store = open_store(shop / "flowctl.db", create=False)
    assert store.connection.execute("SELECT count(*) FROM releases").fetchone() == (1,)
    assert store.connection.execute("SELECT count(*) FROM workflow_versions").fetchone() == (1,)
    store.close()
    assert before[:100] == (shop / "flowctl.db").read_bytes()[:100]


def test_apply_names_the_commit_and_refuses_files_that_differ_from_it(shop, run):
    head = subprocess.run(
        ["git", "-C", str(shop), "rev-parse", "--short", "HEAD"], check=True, capture_output=True, text=True
    ).stdout.strip()
    status, out, _ = run("apply", "--yes")
    assert (status, f"applied from {head}:" in out) == (0, True)
    (shop / "welcome.yaml").write_text(WELCOME.replace("2d", "3d"))
    status, _, err = run("apply", "--yes")
    assert status == 2
    assert "differ from the last commit: welcome.yaml" in err
    status, out, _ = run("apply", "--yes", "--allow-dirty")
    assert (status, f"{head}+dirty" in out) == (0, True)
    assert [line.split("\t")[2] for line in run("releases")[1].splitlines()[1:]] == [f"{head}+dirty", head]


def test_files_that_are_committed_after_they_were_applied_get_their_commit(shop, run, tmp_path):
    git = ["git", "-C", str(shop), "-c", "user.name=Ana", "-c", "user.email=ana@example.com"]
    run("apply", "--yes")
    (shop / "welcome.yaml").write_text(WELCOME.replace("2d", "3d"))
    run("apply", "--yes", "--allow-dirty")
    state = tmp_path / "state.json"
    state.write_text(run("state", "export")[1])
    assert "No changes" in run("plan")[1]
    subprocess.run([*git, "commit", "-q", "-a", "-m", "Wait longer"], check=True)
    head = subprocess.run([*git, "rev-parse", "--short", "HEAD"], check=True, capture_output=True, text=True)
    commit = head.stdout.strip()
    for words in ((), ("--format", "markdown"), ("--state", str(state))):
        assert (
            f"Only the commit changes: the files of the newest release are committed now, as {commit}."
            in run("plan", *words)[1]
        )
    assert json.loads(run("plan", "--format", "json")[1])["commit"] == commit
    status, out, _ = run("apply", "--yes")
    assert (status, out) == (
        0, f"release 3 applied from {commit}: the files of the last release, which are committed now\n",
    )  # fmt: skip
    assert run("releases")[1].splitlines()[1].split("\t")[2] == commit
    assert "nothing to apply" in run("apply", "--yes")[1]
    assert "No changes" in run("plan")[1]
    store = open_store(shop / "flowctl.db", create=False)
    assert store.connection.execute("SELECT count(*), max(number) FROM workflow_versions").fetchone() == (2, 2)
    store.close()


def test_apply_asks_and_where_nobody_can_answer_refuses(run):
    status, _, err = run("apply")
    assert status == 2
    assert "--yes" in err


def test_what_the_engine_cannot_run_is_refused_with_its_place_and_nothing_is_applied(shop, run):
    (shop / "flowctl.yaml").write_text(SETTINGS + "quiet_hours: {email: {XX: {holidays: false}}}\n")
    status, out, err = run("apply", "--yes", "--allow-dirty")
    assert status == 2
    assert "flowctl.yaml:10:38" in out + err
    assert "the public holidays of `XX` are not known" in out + err
    assert "nothing was applied" in run("tick")[2]


def test_applying_the_same_files_again_makes_no_release(applied):
    status, out, _ = applied("apply", "--yes")
    assert (status, "nothing to apply" in out) == (0, True)
    assert len(applied("releases")[1].splitlines()) == 2


def test_a_tick_sends_and_a_dry_one_only_tells(shop, applied):
    applied("enroll", "welcome", "--contact", "ana", "--contact", "bob")
    status, out, err = applied("tick", "--dry-run", "--json")
    assert (status, json.loads(out)["sent"]) == (0, 2)
    assert not (shop / "mail").exists()
    status, _, err = applied("tick")
    assert (status, "2 sent" in err) == (0, True)
    assert len(list((shop / "mail" / "new").iterdir())) == 2
    assert "nothing to do" in applied("tick")[2]


def test_a_maildir_lies_in_the_project_wherever_cron_starts_the_tick(shop, applied, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    applied("enroll", "welcome", "--contact", "ana")
    applied("tick")
    assert len(list((shop / "mail" / "new").iterdir())) == 1


def test_enroll_refuses_unknown_names_with_the_nearest(applied):
    assert "did you mean 'welcome'?" in applied("enroll", "welcom", "--contact", "ana")[2]
    assert "did you mean 'pause'?" in applied("enroll", "welcome", "--contact", "ana", "--at", "pauze")[2]
    assert applied("enroll", "welcome", "--contact", "nobody")[0] == 2
    assert applied("enroll", "welcome")[0] == 2


def test_enroll_at_a_step_runs_that_step_and_later_ones_only(applied, monkeypatch):
    applied("enroll", "welcome", "--contact", "ana", "--at", "pause")
    applied("tick")
    monkeypatch.setenv("FLOWCTL_NOW", "2026-03-04T10:00:00Z")
    applied("tick")
    rows = json.loads(applied("outbox", "list", "--state", "sent", "--json")[1])["messages"]
    assert [row["message"] for row in rows] == ["bye"]


def test_enroll_from_a_file_keeps_the_good_rows(shop, applied):
    (shop / "guests.csv").write_text("email\nana@example.com\nnobody@example.com\n")
    status, out, err = applied("enroll", "welcome", "--csv", "guests.csv")
    assert (status, "1 contact will enter" in out, "nobody@example.com" in err) == (1, True, True)


def test_a_message_in_doubt_is_settled_by_hand(shop, applied):
    applied("enroll", "welcome", "--contact", "ana")
    applied("tick")
    store = open_store(shop / "flowctl.db", create=False)
    with transaction(store.connection):
        store.connection.execute("UPDATE outbox SET state = 5")
        store.connection.execute("DELETE FROM message_events")
    (key,) = store.connection.execute("SELECT key FROM outbox").fetchone()
    assert [row["state"] for row in json.loads(applied("outbox", "list", "--json")[1])["messages"]] == ["in_doubt"]
    assert applied("outbox", "resolve", key[:8])[0] == 2
    assert applied("outbox", "resolve", "ffff", "--sent")[0] == 2
    assert applied("outbox", "resolve", key[:8], "--resend")[0] == 0
    assert "1 sent" in applied("tick")[2]
    assert store.connection.execute("SELECT key, state FROM outbox").fetchall() == [(key, 3)]
    store.close()


def test_a_message_is_rendered_from_the_files_as_they_are(shop, applied):
    (shop / "messages.yaml").write_text(MESSAGES.replace("Hello {{", "Dear {{"))
    status, out, _ = applied("messages", "render", "hello", "--contact", "ana")
    assert (status, "Dear Ana" in out, "List-Unsubscribe-Post: List-Unsubscribe=One-Click" in out) == (0, True, True)
    assert "did you mean 'hello'?" in applied("messages", "render", "helo", "--contact", "ana")[2]
