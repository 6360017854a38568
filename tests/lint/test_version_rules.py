"""VER001 and VER003: what a store and git add, where one good and one bad file do not tell enough."""

from __future__ import annotations

import json

import cases
import pytest

from flowctl.cli.main import main
from flowctl.lint.linter import lint
from flowctl.project.load import load

NOW = "2026-03-02T10:00:00Z"


@pytest.fixture
def project(tmp_path):
    return cases.write(cases.CASES / "VER001" / "bad.yaml", tmp_path)


def found(root, capsys, *options):
    main(["-C", str(root), "lint", "--format", "json", "--no-cache", *options])
    return [one["message"] for one in json.loads(capsys.readouterr().out)["findings"]]


def test_what_a_move_carries_over_is_not_lost(tmp_path, capsys):
    root = cases.write(cases.CASES / "VER001" / "ok.yaml", tmp_path)
    assert found(root, capsys, "--select", "VER001", "--state", str(root / "state.json")) == []


def test_nothing_is_lost_where_the_files_are_what_was_applied(project, capsys):
    state = json.loads((project / "state.json").read_text())
    (project / "tips.yaml").write_text(state["files"]["tips.yaml"])
    assert found(project, capsys, "--select", "VER001", "--state", str(project / "state.json")) == []


def test_the_store_says_the_same(project, capsys, monkeypatch):
    """What `plan` counts as lost after a real apply, with one contact on the step."""
    monkeypatch.setenv("FLOWCTL_NOW", NOW)
    new = (project / "tips.yaml").read_text()
    cut = new.index("  - send: offer")
    (project / "tips.yaml").write_text(
        new[:cut].replace("move: {third: offer}\n", "") + "  - {id: second_mail, wait: 10d}\n"
    )
    assert main(["-C", str(project), "apply", "--yes", "--allow-dirty"]) == 0
    (project / "people.csv").write_text("key,email\nC-1,ana@example.com\n")
    assert main(["-C", str(project), "contacts", "import", str(project / "people.csv")]) == 0
    assert main(["-C", str(project), "enroll", "tips", "--contact", "C-1", "--force"]) == 0
    monkeypatch.setenv("FLOWCTL_NOW", "2026-03-02T10:05:00Z")
    assert main(["-C", str(project), "tick"]) == 0
    (project / "tips.yaml").write_text(new)
    capsys.readouterr()
    asked = ("--select", "VER001", "--store")
    assert found(project, capsys, *asked) == ["`tips` loses its step `second_mail`, on which contacts stand"]
    (project / "tips.yaml").write_text(new.replace("move: {third: offer}", "move: {second_mail: offer}"))
    assert found(project, capsys, *asked) == []


@pytest.mark.parametrize(("committed", "stale"), [("2025-12-01T09:00:00Z", True), ("2025-12-03T09:00:00Z", False)])
def test_a_file_is_stale_after_ninety_days(project, committed, stale, monkeypatch, capsys):
    monkeypatch.setenv("FLOWCTL_NOW", NOW)
    cases.commit(project, committed)
    assert bool(found(project, capsys, "--select", "VER003")) is stale


def test_a_file_that_nobody_applied_is_stale_after_thirty(project, monkeypatch, capsys):
    monkeypatch.setenv("FLOWCTL_NOW", NOW)
    (project / "new.yaml").write_text((project / "tips.yaml").read_text().replace("tips", "more-tips"))
    cases.commit(project, "2026-01-20T09:00:00Z")
    asked = ("--select", "VER003")
    assert found(project, capsys, *asked) == []
    told = ["`more-tips` was written more than 30 days ago and never applied"]
    assert found(project, capsys, *asked, "--state", str(project / "state.json")) == told


def test_what_git_does_not_know_is_not_stale(project, monkeypatch, capsys):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(project.parent))
    assert found(project, capsys, "--select", "VER003") == []
    cases.commit(project, "2024-01-01T00:00:00Z")
    (project / "new.yaml").write_text((project / "tips.yaml").read_text().replace("tips", "more-tips"))
    assert [message.split("`")[1] for message in found(project, capsys, "--select", "VER003")] == ["tips"]


def test_git_is_asked_only_where_infos_are(project, monkeypatch):
    """Starting git takes longer than the whole of a lint."""
    monkeypatch.setattr("flowctl.project.commit.last_commits", lambda _: pytest.fail("git was asked"))
    lint(load(project))


def test_files_in_folders_and_with_odd_names_are_found(project, monkeypatch, capsys):
    monkeypatch.setenv("FLOWCTL_NOW", NOW)
    folder = project / "élan d'été"
    folder.mkdir()
    (project / "tips.yaml").rename(folder / "12.yaml")
    cases.commit(project, "2025-01-01T00:00:00Z")
    assert len(found(project, capsys, "--select", "VER003")) == 1
