"""Variants on the command line: the report tells arms apart, a preview shows one."""

import json

import pytest

from flowctl.cli.main import main
from tests.engine.test_variants import FLOW, MESSAGE, world
from tests.engine.world import SETTINGS


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FLOWCTL_STORE", raising=False)
    for name, text in {"flowctl.yaml": SETTINGS, "messages.yaml": MESSAGE, "offers.yaml": FLOW}.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    made, _ = world(people=20)
    made.connection.execute("VACUUM INTO ?", (str(tmp_path / "flowctl.db"),))
    return tmp_path


def test_a_report_has_a_line_for_each_arm(folder, capsys):
    assert main(["report", "offers"]) == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    start = lines.index(["message", "channel", "variant", "sent", "delivered", "opened", "clicked", "unsubscribed"])
    arms = lines[start + 1 :]
    assert [row[:3] for row in arms] == [["offer", "email", arm] for arm in ("default", "short", "shorter")]
    assert sum(int(row[3]) for row in arms) == 20
    assert main(["report", "offers", "--json"]) == 0
    (message,) = json.loads(capsys.readouterr().out)["workflows"][0]["messages"]
    assert [arm["variant"] for arm in message["variants"]] == ["default", "short", "shorter"]
    assert set(message["variants"][0]["opened"]) == {"hits", "total", "share", "interval"}


@pytest.mark.parametrize(("variant", "subject"), [("short", "Offer"), ("default", "An offer")])
def test_a_preview_shows_the_arm_that_is_asked_for(folder, capsys, variant, subject):
    assert main(["messages", "render", "offer", "--contact", "p1", "--variant", variant]) == 0
    assert f"Subject: {subject}\n" in capsys.readouterr().out


def test_an_arm_that_is_none_is_refused_with_those_that_are(folder, capsys):
    assert main(["messages", "render", "offer", "--contact", "p1", "--variant", "shrt"]) == 2
    assert "there is default, short, shorter" in capsys.readouterr().err
