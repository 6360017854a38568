"""Every project that ships in workflows/ validates, lints clean, passes its scenarios and simulates."""

import shutil
from pathlib import Path

import pytest

from flowctl.cli.main import main

ROOT = Path(__file__).parent.parent / "workflows"
PROJECTS = sorted(path.parent.name for path in ROOT.glob("*/flowctl.yaml"))


@pytest.fixture(params=PROJECTS)
def project(request, tmp_path, monkeypatch):
    """A copy, with a clock that suits its data."""
    shutil.copytree(ROOT / request.param, tmp_path / request.param, ignore=shutil.ignore_patterns("*.db*"))
    monkeypatch.setenv("FLOWCTL_NOW", "1997-03-17T18:00:00-05:00")
    monkeypatch.delenv("FLOWCTL_STORE", raising=False)
    return tmp_path / request.param


@pytest.mark.parametrize("command", ["validate", "lint --strict", "test"])
def test_it_is_green(project, command):
    assert main(["-C", str(project), *command.split()]) == 0


def test_it_can_be_applied_fed_and_simulated(project, capsys):
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


def test_there_is_something_to_check():
    assert "cdnow" in PROJECTS
