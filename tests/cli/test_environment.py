"""`--env` on the command line: what is applied for an environment is run and brought back for it."""

from __future__ import annotations

import pytest

from flowctl.cli.main import main
from flowctl.store.database import open_store

SETTINGS = """\
project: shop
timezone: Europe/Paris
environments: {staging: {only_to: ["*@shop.example"]}}
"""


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    for name in ("FLOWCTL_STORE", "FLOWCTL_ENV"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "flowctl.yaml").write_text(SETTINGS)

    def run(*words: str) -> tuple[int, str, str]:
        return main(["-C", str(tmp_path), *words]), *capsys.readouterr()

    return run


def environments(path) -> list[str]:
    store = open_store(path / "flowctl.db", create=False)
    found = [name for (name,) in store.connection.execute("SELECT environment FROM releases ORDER BY id")]
    store.close()
    return found


def test_a_tick_for_another_environment_than_was_applied_refuses(run):
    assert run("apply", "--yes", "--allow-dirty")[0] == 0
    status, _, err = run("--env", "staging", "tick")
    assert status == 2
    assert "release 1 was applied for no environment, not for `staging`" in err
    assert run("--env", "staging", "apply", "--yes", "--allow-dirty")[0] == 0
    assert run("--env", "staging", "tick")[0] == 0
    assert run("tick")[0] == 0  # runs what was applied, for staging


def test_a_rollback_keeps_the_environment_of_what_it_brings_back(run, tmp_path):
    run("--env", "staging", "apply", "--yes", "--allow-dirty")
    (tmp_path / "flowctl.yaml").write_text(SETTINGS + "description: Another.\n")
    run("--env", "staging", "apply", "--yes", "--allow-dirty")
    assert run("rollback", "--yes")[0] == 0
    assert environments(tmp_path) == ["staging", "staging", "staging"]


def test_an_apply_for_another_environment_is_told(run):
    run("--env", "staging", "apply", "--yes", "--allow-dirty")
    status, _, err = run("apply", "--yes", "--allow-dirty")
    assert status == 0
    assert "warning: release 1 was applied for staging, this one is for no environment" in err
    assert "warning" not in run("apply", "--yes", "--allow-dirty")[2]
