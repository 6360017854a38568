"""What an operator says: tick's options, store adopt, outbox, doctor, schedule, with a real store and real files."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import socket
import subprocess
import sys

import pytest

from flowctl.cli.main import main
from flowctl.engine import backlog
from flowctl.store.database import open_store, transaction

SETTINGS = """\
project: shop
timezone: Europe/Paris
languages: [en]
contacts: {fields: {first_name: text}}
events: {signup: {}, bought: {}}
senders: {shop: {name: Shop, email: shop@example.com}}
channels: {email: {adapter: maildir, path: mail}}
public_url: https://news.example.com
"""
FILES = {
    "flowctl.yaml": SETTINGS,
    "welcome.yaml": "workflow: welcome\ntriggers: [{event: signup}]\nsteps:\n  - send: hello\n  - {id: pause, wait: 2d}\n  - send: bye\n",
    "receipts.yaml": "workflow: receipts\ntriggers: [{event: bought}]\nsteps:\n  - send: receipt\n",
    "messages.yaml": """\
messages:
  hello: {email: {subject: Hello, text: Hello}}
  bye: {email: {subject: Bye, text: Bye}}
  receipt: {purpose: transactional, email: {subject: Receipt, text: Receipt}}
""",
    "people.csv": "key,email,consent.email\n" + "".join(f"c{n},c{n}@example.com,true\n" for n in range(6)),
}


@pytest.fixture
def shop(tmp_path, monkeypatch):
    root = tmp_path / "my shop"
    root.mkdir()
    for name in ("FLOWCTL_STORE", "FLOWCTL_ENV"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FLOWCTL_NOW", "2026-03-02T10:00:00Z")
    monkeypatch.chdir(root)
    for name, text in FILES.items():
        (root / name).write_text(text)
    return root


@pytest.fixture
def run(shop, capsys):
    def run(*words):
        capsys.readouterr()
        status = main(["-C", str(shop), *words])
        return status, *capsys.readouterr()

    assert run("apply", "--yes", "--allow-dirty")[0] == 0
    assert run("contacts", "import", "people.csv", "--source", "shop")[0] == 0
    return run


def enter(run, *numbers):
    for number in numbers:
        assert run("enroll", "welcome", "--contact", f"c{number}")[0] == 0


def mails(shop):
    return len(list((shop / "mail" / "new").glob("*"))) if (shop / "mail").exists() else 0


# ----------------------------------------------------------------------------------------------------------------------- tick


def test_a_limit_lets_so_many_leave(shop, run):
    enter(run, 0, 1, 2)
    assert "2 sent" in run("tick", "--limit", "2")[2]
    assert mails(shop) == 2
    assert "1 sent" in run("tick", "--limit", "2")[2]
    assert run("tick", "--limit", "0")[0] == 2


def test_a_dry_run_tells_and_does_nothing(shop, run):
    enter(run, 0)
    assert "would have: 1 entered, 2 advanced, 1 sent" in run("tick", "--dry-run")[2]
    assert mails(shop) == 0
    assert "1 sent" in run("tick")[2]


def test_a_backlog_stops_says_so_and_is_confirmed(shop, run, monkeypatch):
    monkeypatch.setattr(backlog, "FLOOR", 2)
    store = open_store(shop / "flowctl.db", create=False)
    with transaction(store.connection):
        store.connection.executemany(
            "INSERT INTO sending_days VALUES (?, 1)", [(day,) for day in range(20_000, 20_010)]
        )
    store.close()
    enter(run, 0, 1, 2, 3)
    status, _, err = run("-q", "tick")
    assert status == 1
    assert "warning: 4 marketing messages are due, and up to 3 at once are usual: none of them left" in err
    assert "--confirm-backlog" in err
    assert mails(shop) == 0
    assert json.loads(run("status", "--json")[1])["backlog"] == 4
    assert "more due than usual" in run("status")[1]
    assert "backlog" in [row["check"] for row in json.loads(run("doctor", "--json")[1])["findings"]]
    assert json.loads(run("tick", "--json")[1])["backlog"] == {"due": 4, "usual_max": 3}
    assert run("tick", "--confirm-backlog")[0] == 0
    assert mails(shop) == 4
    assert run("tick")[0] == 0


# ------------------------------------------------------------------------------------------------------------------ store adopt


def test_a_restored_backup_refuses_until_it_is_adopted(shop, run, monkeypatch):
    enter(run, 0)
    assert run("backup", "copy.db")[0] == 0
    assert "1 sent" in run("tick")[2]
    for file in shop.glob("flowctl.db-*"):
        file.unlink()
    shutil.copy("copy.db", "flowctl.db")
    status, out, err = run("tick")
    assert (status, out, mails(shop)) == (2, "", 1)
    assert "older than its own sending record" in err
    assert "flowctl store adopt" in err
    assert "Traceback" not in err
    assert "does not send" in run("status")[1]
    assert run("doctor")[0] == 1
    assert run("store", "adopt", "--resend", "some")[0] == 2
    assert run("store", "adopt", "--until", "yesterday")[0] == 2
    status, _, err = run("store", "adopt")
    assert status == 0
    assert "import again what was stored meanwhile" in err
    monkeypatch.setenv("FLOWCTL_NOW", "2026-03-02T10:10:00Z")
    assert "sent" not in run("tick")[2]
    (row,) = json.loads(run("outbox", "list", "--state", "in_doubt", "--json")[1])["messages"]
    assert (row["contact"], row["message"], row["reason"]) == ("c0", "hello", "restored")
    assert run("outbox", "resolve", row["key"], "--drop")[0] == 0
    assert run("store", "adopt")[0] == 2
    assert run("audit")[0] == 0


# ---------------------------------------------------------------------------------------------------------------------- outbox


@pytest.mark.parametrize(("how", "state"), [("--sent", "sent"), ("--drop", "failed"), ("--resend", "ready")])
def test_a_message_in_doubt_is_settled_as_a_person_says(shop, run, how, state):
    enter(run, 0)
    run("tick")
    store = open_store(shop / "flowctl.db", create=False)
    with transaction(store.connection):
        store.connection.execute("UPDATE outbox SET state = 5, doubts = 1")
        store.connection.execute("DELETE FROM message_events")
    store.close()
    (row,) = json.loads(run("outbox", "list", "--state", "in_doubt", "--json")[1])["messages"]
    assert run("outbox", "resolve", row["key"][:10], how)[0] == 0
    (row,) = json.loads(run("outbox", "list", "--state", state, "--json")[1])["messages"]
    assert row["state"] == state
    assert run("audit")[0] == 0
    if state == "failed":
        assert run("outbox", "retry", row["key"])[0] == 0
        assert "1 sent" in run("tick")[2]


def test_retry_wants_a_key_or_a_channel(run):
    assert run("outbox", "retry")[0] == 2
    assert run("outbox", "retry", "abc", "--channel", "email")[0] == 2
    assert "refuses nothing" in run("outbox", "retry", "--channel", "email")[2]


# ---------------------------------------------------------------------------------------------------------------------- doctor


def levels(run, *options):
    status, out, _ = run("doctor", "--json", *options)
    return status, {row["check"]: row["level"] for row in json.loads(out)["findings"]}


def test_a_healthy_store_has_nothing_to_mend(shop, run):
    run("tick")
    status, found = levels(run)
    assert status == 0
    assert set(found.values()) == {"ok"}
    assert {"store", "disk", "clock", "release", "ticks", "channel email"} <= set(found)
    assert mails(shop) == 0


def test_doctor_sees_what_is_wrong(shop, run, monkeypatch):
    run("tick")
    (shop / "flowctl.db").chmod(0o644)
    (shop / "welcome.yaml").write_text(FILES["welcome.yaml"].replace("2d", "3d"))
    monkeypatch.setenv("FLOWCTL_NOW", "2026-03-02T12:00:00Z")
    status, found = levels(run)
    assert status == 1
    assert (found["permissions"], found["release"], found["ticks"]) == ("problem", "warning", "problem")
    monkeypatch.setenv("FLOWCTL_NOW", "2026-03-02T08:00:00Z")
    assert levels(run)[1]["clock"] == "problem"
    (shop / "welcome.yaml").write_text("workflow: [")
    assert levels(run)[1]["release"] == "warning"


@pytest.mark.parametrize("fault", ["refused", "no secret", "a file in the way"])
def test_doctor_connects_to_channels(shop, run, fault, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {
        "refused": f"{{adapter: smtp, host: 127.0.0.1, port: {port}}}",
        "no secret": '{adapter: smtp, host: 127.0.0.1, username: me, password: "${NO_SUCH_SECRET}"}',
        "a file in the way": "{adapter: maildir, path: people.csv}",
    }[fault]
    (shop / "flowctl.yaml").write_text(SETTINGS.replace("{adapter: maildir, path: mail}", settings))
    assert run("apply", "--yes", "--allow-dirty")[0] == 0
    run("tick")
    status, found = levels(run)
    assert (status, found["channel email"]) == (1, "problem")
    assert "channel email" not in levels(run, "--offline")[1]


# -------------------------------------------------------------------------------------------------------------------- schedule


def test_the_cron_line_runs_from_anywhere_with_no_environment(shop, run):
    enter(run, 0)
    status, out, _ = run("schedule", "--backup", "b%1.db")
    assert status == 0
    tick, backup = out.splitlines()
    assert tick.startswith("*/5 * * * * ")
    assert backup.startswith("17 3 * * * ")
    said = tick.removeprefix("*/5 * * * * ").replace(r"\%", "%")
    done = subprocess.run(
        ["/bin/sh", "-c", said],
        cwd="/",
        env={"FLOWCTL_NOW": os.environ["FLOWCTL_NOW"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), "cron would mail this"
    assert mails(shop) == 1
    assert shlex.split(backup.replace(r"\%", "%"))[-1] == str(shop / "b%1.db")


@pytest.mark.parametrize(("every", "said"), [("1", "* * * * *"), ("15", "*/15 * * * *"), ("60", "0 * * * *")])
def test_how_often(run, every, said):
    assert run("schedule", "--every", every)[1].startswith(said)


def test_what_cron_cannot_say_is_refused(run):
    assert run("schedule", "--every", "7")[0] == 2


def test_systemd_takes_the_units(run, tmp_path):
    status, out, _ = run("--env", "prod", "schedule", "--systemd", "--every", "10", "--backup", "b.db")
    assert status == 0
    units = {}
    for block in out.split("# ~/.config/systemd/user/")[1:]:
        name, _, text = block.partition("\n")
        units[name.partition(";")[0]] = text
    assert list(units) == [
        "flowctl-my-shop-tick.service", "flowctl-my-shop-tick.timer", "flowctl-my-shop-backup.service", "flowctl-my-shop-backup.timer",
    ]  # fmt: skip
    assert "SuccessExitStatus=75" in units["flowctl-my-shop-tick.service"]
    if not shutil.which("systemd-analyze"):
        return
    folder = tmp_path / "units"
    folder.mkdir()
    for name, text in units.items():
        (folder / name).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--user", *[str(folder / name) for name in units]],
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "flowctl-my-shop" not in done.stderr, done.stderr
    calendar = units["flowctl-my-shop-tick.timer"].partition("OnCalendar=")[2].partition("\n")[0]
    assert subprocess.run(["systemd-analyze", "calendar", calendar], capture_output=True, check=False).returncode == 0
    assert sys.executable
