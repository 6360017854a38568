"""The frame of the command line: lazy commands, help, and every failure as text and an exit status."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from importlib.util import find_spec

import pytest

from flowctl.cli import failure
from flowctl.cli.main import COMMANDS, main
from flowctl.failure import Busy, Failure, ProblemsFound
from flowctl.language.problem import Place, Problem


def raising(fault):
    def run():
        raise fault

    return run


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_help_with_an_example(name, capsys):
    if find_spec(COMMANDS[name][1]) is None:
        pytest.fail(f"{COMMANDS[name][1]} does not exist; take `{name}` out of the table")
    assert main([name, "--help"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"Usage: flowctl {name}")
    assert "Examples:" in out


def test_help_lists_all_commands(capsys):
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    for name, (_, _, line) in COMMANDS.items():
        assert f"{name} " in out
        assert line in out


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("flowctl ")


@pytest.mark.parametrize(
    ("fault", "status", "said"),
    [
        (Failure("no store", help="apply first"), 2, "error: no store\nhelp: apply first\n"),
        (Busy("another tick runs"), 75, "error: another tick runs\n"),
        (
            sqlite3.OperationalError("database is locked"),
            75,
            "error: the store is locked by another program\nhelp: try again when it has finished\n",
        ),
        (
            sqlite3.DatabaseError("file is not a database"),
            2,
            "error: the store cannot be used: file is not a database\n",
        ),
        (FileNotFoundError(2, "No such file or directory", "x.csv"), 2, "error: x.csv: no such file or directory\n"),
        (KeyboardInterrupt(), 130, ""),
        (
            ZeroDivisionError("division by zero"),
            70,
            "error: flowctl itself is at fault: ZeroDivisionError: division by zero",
        ),
    ],
)
def test_failures_become_text_and_a_status(fault, status, said, capsys):
    assert failure.status(raising(fault)) == status
    err = capsys.readouterr().err
    assert err.startswith(said)
    assert "Traceback" not in err


def test_a_traceback_only_on_request(monkeypatch):
    monkeypatch.setenv("FLOWCTL_TRACEBACK", "1")
    with pytest.raises(ZeroDivisionError):
        failure.status(raising(ZeroDivisionError()))


def test_problems_are_listed(capsys):
    problem = Problem(code="YML001", slug="syntax-error", message="oops", place=Place(path="a.yaml", line=3, column=2))
    assert failure.status(raising(ProblemsFound([problem]))) == 2
    assert capsys.readouterr().err.startswith("a.yaml:3:2: error YML001 syntax-error: oops\nerror: 1 problem")


def test_the_shell_completes_commands_and_options():
    for words, said in (
        ("flowctl vali", "validate"),
        ("flowctl validate --for", "--format"),
        ("flowctl contacts imp", "import"),
    ):
        environment = {
            **os.environ,
            "_FLOWCTL_COMPLETE": "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": str(words.count(" ")),
        }
        done = subprocess.run(
            [sys.executable, "-m", "flowctl"], env=environment, capture_output=True, text=True, check=False
        )
        assert done.stdout.split() == [said]
