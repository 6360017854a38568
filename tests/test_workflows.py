"""Every project that ships in workflows/ validates, lints clean, passes its scenarios and simulates."""

import json
import shutil
from pathlib import Path

import pytest

from flowctl.cli.main import main

ROOT = Path(__file__).parent.parent / "workflows"
PROJECTS = sorted(path.parent.name for path in ROOT.glob("*/flowctl.yaml"))


# When its people lived: the clock of each project's tests.
NOW = {"cdnow": "1997-03-17T18:00:00-05:00", "maison-lune": "2026-11-20T09:00:00+01:00"}


def copied(name, tmp_path, monkeypatch):
    """A copy, with a clock that suits its data."""
    shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("*.db*", "out"))
    monkeypatch.setenv("FLOWCTL_NOW", NOW[name])
    monkeypatch.delenv("FLOWCTL_STORE", raising=False)
    return tmp_path / name


@pytest.fixture(params=PROJECTS)
def project(request, tmp_path, monkeypatch):
    return copied(request.param, tmp_path, monkeypatch)


@pytest.mark.parametrize("command", ["validate", "lint --strict"])
def test_it_is_green(project, command):
    assert main(["-C", str(project), *command.split()]) == 0


def test_cdnow_can_be_applied_fed_and_simulated(tmp_path, monkeypatch, capsys):
    project = copied("cdnow", tmp_path, monkeypatch)
    for line in (
        "apply --yes --allow-dirty",
        "contacts import contacts.csv",
        "events import purchases.csv --dry-run",
        "simulate --days 2 --seed 3",
        "audit",
    ):
        main(["-C", str(project), *line.split()])
    captured = capsys.readouterr()
    assert "472 contacts created" in captured.err + captured.out
    assert "would leave; nothing left" in captured.err
    assert "balanced" in captured.err
    assert "error" not in captured.err.replace("errors", "")


def test_its_scenarios_pass_and_go_through_every_step_and_way(project, capsys):
    assert main(["-C", str(project), "test", "--coverage", "--json"]) == 0
    gaps = {each["workflow"]: each["gaps"] for each in json.loads(capsys.readouterr().out)["coverage"]}
    assert gaps
    assert {name: found for name, found in gaps.items() if found} == {}


def test_prospects_of_a_list_are_made_enrolled_and_written_to_where_they_consented(tmp_path, monkeypatch, capsys):
    project = copied("maison-lune", tmp_path, monkeypatch)
    monkeypatch.chdir(project)
    people = "imported-prospects/prospects.csv"
    for line in (
        "apply --yes --allow-dirty",
        f"contacts import {people}",
        f"enroll imported-prospects --csv {people}",
        "tick",
    ):
        assert main(line.split()) == 0, line
    letters = sorted((project / "out" / "email" / "new").iterdir())
    read = [letter.read_text(encoding="utf-8") for letter in letters]
    assert sorted(
        name for name in ("lea", "tom", "eva", "max") if any(f"{name}@example.com" in text for text in read)
    ) == ["eva", "lea", "tom"]
    assert len(read) == 3
    for line in ("simulate --days 10 --seed 3", "audit"):
        assert main(line.split()) == 0, line
    captured = capsys.readouterr()
    assert "4 contacts created" in captured.err + captured.out
    assert "balanced" in captured.err


def test_there_is_something_to_check():
    assert set(PROJECTS) == set(NOW)
