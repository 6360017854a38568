"""explain, report, status, audit, segments, workflows and simulate on the command line: tables, TSV, JSON, exit statuses."""

import json

import pytest

from flowctl.cli.main import main
from tests.shop import DAY, HOUR, NOW, Shop


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    shop = Shop(tmp_path_factory.mktemp("answers") / "shop", people=5)
    shop.happens("bought", shop.people[0], NOW + HOUR, '{"amount": 120}')
    shop.happens("bought", shop.people[1], NOW + HOUR, '{"amount": 20}')
    shop.ticks(NOW + 6 * HOUR)
    shop.ticks(NOW + DAY, step=6 * HOUR)
    yield shop
    shop.store.close()


@pytest.fixture
def run(shop, capsys, monkeypatch):
    def run(*arguments):
        monkeypatch.setenv("FLOWCTL_NOW", str(shop.now))
        code = main(["-C", str(shop.root), *arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


COMMANDS = [
    "explain k0",
    "report",
    "report thanks",
    "status",
    "audit",
    "segments list",
    "workflows list",
    "simulate --days 1",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_json_is_versioned(run, command):
    code, out, _ = run(*command.split(), "--json")
    assert code == 0
    said = json.loads(out)
    assert said["schema_version"] == 1
    assert said["kind"]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_pipe_gets_tsv(run, command):
    code, out, _ = run(*command.split())
    assert code == 0
    blocks = [block.splitlines() for block in out.strip("\n").split("\n\n")]
    assert all(len({row.count("\t") for row in block}) == 1 and "\t" in block[0] for block in blocks)


def test_explain_names_the_line_and_the_commit(run):
    _, out, err = run("explain", "k0", "--workflow", "thanks")
    assert "k0@example.com" in err
    assert "times in UTC" in err, "a pipe gets ISO times"
    assert "\tsent thank-you\t" in out or "\tnote: sent thank-you\t" in out or "held back" in out
    assert "thanks.yaml:" in out
    assert "@abc1234" in out


def test_explain_draws_lines_on_a_terminal(run, monkeypatch):
    monkeypatch.setattr("flowctl.cli.render.is_terminal", lambda stream=None: stream is None)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("NO_COLOR", "1")
    _, out, _ = run("explain", "k1")
    lines = out.splitlines()
    assert all(len(line) <= 100 for line in lines)
    assert any(line.startswith("2027-01-15 10:00  ") and "bought: amount 20" in line for line in lines)
    assert any("→ thanks stands on look" in line for line in lines)


@pytest.mark.parametrize(
    ("command", "hint"),
    [
        ("explain nobody", "key"),
        ("report thank", "thanks"),
        ("segments count lapsd", "segments list"),
        ("report --version 2", "WORKFLOW"),
    ],
)
def test_what_is_not_there_is_said_with_help(run, command, hint):
    code, out, err = run(*command.split())
    assert (code, out) == (2, "")
    assert "help:" in err
    assert hint in err


def test_audit_exits_1_where_it_does_not_balance(tmp_path, capsys, monkeypatch):
    shop = Shop(tmp_path / "shop", people=2)
    shop.happens("bought", shop.people[0], NOW + 1, "{}")
    shop.ticks(NOW + HOUR)
    shop.connection.execute("DELETE FROM journal WHERE kind = 1")
    shop.store.close()
    monkeypatch.setenv("FLOWCTL_NOW", str(shop.now))
    assert main(["-C", str(shop.root), "audit"]) == 1
    captured = capsys.readouterr()
    assert "enrollment-without-entry\t1\t" in captured.out
    assert "not balanced" in captured.err


def test_simulate_is_repeatable_and_takes_assumptions(run, shop):
    first = run("simulate", "--days", "3", "--seed", "4", "--json")
    assert first == run("simulate", "--days", "3", "--seed", "4", "--assume", "lively", "--json")
    assert (
        first[1]
        == run("simulate", "--days", "3", "--seed", "4", "--assume", str(shop.root / "assumptions.yaml"), "--json")[1]
    )
    code, _, err = run("simulate", "--days", "1", "--assume", "gloomy")
    assert code == 2
    assert "lively" in err


def test_simulate_refuses_faulty_files(tmp_path, capsys):
    shop = Shop(tmp_path / "shop", people=1)
    shop.store.close()
    (shop.root / "thanks.yaml").write_text(
        "workflow: thanks\ntriggers: [{event: bougt}]\nsteps: []\n", encoding="utf-8"
    )
    assert main(["-C", str(shop.root), "simulate", "--days", "1"]) == 2
    assert "REF001" in capsys.readouterr().err


def test_simulate_tells_one_persons_story(run):
    _, out, err = run("simulate", "--days", "3", "--contact", "k1")
    assert "nothing left, nothing was written" in err
    assert "reminder" in out


def test_segments_count_is_a_number(tmp_path, capsys):
    shop = Shop(tmp_path / "shop", people=1)
    shop.connection.execute("INSERT INTO segments (name, definition) VALUES ('vip', '')")
    shop.connection.execute("INSERT INTO segment_members VALUES (1, 1, ?)", (NOW,))
    shop.store.close()
    assert main(["-C", str(shop.root), "segments", "count", "vip"]) == 0
    assert capsys.readouterr().out == "1\n"
    assert main(["-C", str(shop.root), "segments", "members", "vip"]) == 0
    assert capsys.readouterr().out.splitlines()[1] == "1\tk0\tk0@example.com\t2027-01-15T08:00:00Z"
