"""What other programs run of ours: the hooks of pre-commit, the example of a CI workflow."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from flowctl.cli.main import COMMANDS, main

ROOT = Path(__file__).parents[1]
HOOKS = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
WORKFLOW = yaml.safe_load((ROOT / "docs" / "ci" / "github.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook["id"])
def test_a_hook_runs_a_command_that_passes_on_a_shipped_project(hook, tmp_path, capsys):
    assert hook["language"] == "python"
    assert hook["pass_filenames"] is False, "the whole project is always checked: pressure crosses files"
    project = shutil.copytree(ROOT / "workflows" / "cdnow", tmp_path / "cdnow")
    program, *args = shlex.split(hook["entry"])
    assert program == "flowctl"
    assert main(["-C", str(project), *args]) == 0
    assert re.search(hook["files"], "cart/cart.yaml")
    capsys.readouterr()


def test_the_workflow_runs_on_a_shipped_project(tmp_path, capsys, monkeypatch):
    """Each `run:` of ours, in the order of the file, in a repository with a project and a state to plan against."""
    project = shutil.copytree(ROOT / "workflows" / "cdnow", tmp_path / "shop")
    git = ["git", "-C", str(project), "-c", "user.name=x", "-c", "user.email=x@example.com"]
    for args in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-q", "-m", "first"]):
        subprocess.run([*git, *args], check=True)
    assert main(["-C", str(project), "apply", "--yes", "--allow-dirty"]) == 0
    assert main(["-C", str(project), "state", "export", str(project / "state.json")]) == 0
    (project / "flowctl.db").unlink()
    monkeypatch.chdir(project)
    capsys.readouterr()
    ours = [step["run"] for step in WORKFLOW["jobs"]["check"]["steps"] if step.get("run", "").startswith("flowctl ")]
    assert [shlex.split(line)[1] for line in ours] == ["lint", "test", "diff", "plan"]
    for line in ours:
        words = shlex.split(line.partition(">")[0].replace("origin/$GITHUB_BASE_REF", "main"))
        assert words[1] in COMMANDS
        assert main(words[1:]) == 0, line
    assert "flowctl" in capsys.readouterr().out
    assert not (project / "flowctl.db").exists(), "CI needs no store"
