"""`flowctl validate` on cases: a folder of files in, `expected.out` out. `--update` writes what is printed now."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from flowctl.cli.main import main

CASES = Path(__file__).parents[1] / "cases" / "validate"
NAMES = sorted(folder.name for folder in CASES.iterdir() if folder.is_dir() and folder.name != "base")


def project(tmp_path: Path, case: str) -> Path:
    root = tmp_path / "project"
    shutil.copytree(CASES / "base", root)
    shutil.copytree(CASES / case, root, dirs_exist_ok=True, ignore=shutil.ignore_patterns("expected.out"))
    return root


@pytest.mark.parametrize("case", NAMES)
def test_case(case, tmp_path, capsys, request):
    status = main(["-C", str(project(tmp_path, case)), "validate"])
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    printed = f"{out}{err}exit status {status}\n"
    expected = CASES / case / "expected.out"
    if request.config.getoption("--update"):
        expected.write_text(printed, encoding="utf-8")
    assert printed == expected.read_text(encoding="utf-8")


def test_there_are_enough_cases():
    assert len(NAMES) >= 30


@pytest.fixture
def faulty(tmp_path):
    return project(tmp_path, "misspelt-segment")


def test_json_has_versioned_ranges_that_count_from_one(faulty, capsys):
    assert main(["-C", str(faulty), "validate", "--format", "json"]) == 1
    printed = json.loads(capsys.readouterr().out)
    assert printed["schema_version"] == 1
    assert printed["summary"] == {"files": 4, "workflows": 1, "errors": 2, "warnings": 0}
    first = printed["problems"][0]
    assert (first["code"], first["slug"], first["severity"]) == ("REF001", "unknown-reference", "error")
    assert first["path"] == "cart.yaml"
    assert first["range"] == {"start": {"line": 8, "column": 19}, "end": {"line": 8, "column": 30}}
    assert first["fix"] == {
        "title": "write `inactive-30d`",
        "safe": False,
        "edits": [{"path": "cart.yaml", "range": first["range"], "text": "inactive-30d"}],
    }


def test_concise_is_one_line_a_fault(faulty, capsys):
    assert main(["-C", str(faulty), "validate", "--format", "concise"]) == 1
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        "cart.yaml:8:19: error REF001 unknown-reference: there is no segment `inactve-30d`; did you mean `inactive-30d`?",
        "cart.yaml:9:19: error REF001 unknown-reference: there is no message `cart-remindr`; did you mean `cart-reminder`?",
    ]
    assert err == "checked 4 files, 1 workflow: 2 errors\n"


def test_paths_choose_what_is_shown_and_the_status(faulty, capsys, monkeypatch):
    monkeypatch.chdir(faulty)
    assert main(["validate", "segments.yaml"]) == 0
    assert capsys.readouterr().out == ""
    assert main(["validate", "."]) == 1


def test_quiet_leaves_results(faulty, capsys):
    assert main(["-q", "-C", str(faulty), "validate", "--format", "concise"]) == 1
    out, err = capsys.readouterr()
    assert out
    assert not err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-C", "nowhere", "validate"], "nowhere is no folder"),
        (["validate"], "no flowctl.yaml in"),
        (["validate", "--frmat", "x"], "--frmat"),
        (["validate", "--format", "xml"], "text"),
        (["--env", "prod", "validate"], "no flowctl.yaml"),
        (["valdate"], "did you mean `flowctl validate`?"),
    ],
)
def test_what_makes_no_sense_exits_2(arguments, said, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert not out
    assert said in err
    assert err.startswith("error: ")


def test_a_missing_path_exits_2(faulty, capsys):
    assert main(["-C", str(faulty), "validate", "nope.yaml"]) == 2
    assert "nope.yaml: no such file or folder" in capsys.readouterr().err


def test_yml_files_are_mentioned(faulty, capsys):
    (faulty / "more.yml").write_text("segment: x\n")
    main(["-C", str(faulty), "validate"])
    assert "not read: more.yml: flowctl reads .yaml, not .yml" in capsys.readouterr().err


def test_environments_lay_over_the_settings(tmp_path, capsys):
    root = project(tmp_path, "all-is-well")
    with (root / "flowctl.yaml").open("a") as settings:
        settings.write("environments: {staging: {store: 'sqlite:///staging.db'}}\n")
    assert main(["-C", str(root), "--env", "staging", "validate"]) == 0
    assert main(["-C", str(root), "--env", "stagin", "validate"]) == 2
    assert "there is: staging" in capsys.readouterr().err


def flowctl(*arguments, cwd, **environment):
    return subprocess.run(
        [sys.executable, "-m", "flowctl", *arguments],
        cwd=cwd, capture_output=True, text=True, check=False, env={**os.environ, **environment}, timeout=60,
    )  # fmt: skip


def test_a_closed_pipe_is_no_fault(tmp_path):
    root = project(tmp_path, "field-of-the-wrong-type")
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "flowctl", "validate"],
        cwd=root,
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(write)
    assert done.returncode == 141
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


def test_help_loads_no_command_and_validate_no_sql():
    program = (
        "import sys\nfrom flowctl.cli.main import main\n{call}\n"
        "print(sorted(n for n in sys.modules if n.split('.')[0] in ('sqlite3', 'jinja2', 'rich', 'http', 'smtplib', 'croniter', 'sqlalchemy')"
        " or n.startswith(('flowctl.cli.', 'flowctl.engine', 'flowctl.store'))), file=sys.stderr)"
    )
    loaded = {}
    for name, call in (("help", "main(['--help'])"), ("validate", "main(['-C', sys.argv[1], 'validate'])")):
        done = subprocess.run(
            [sys.executable, "-c", program.format(call=call), str(CASES / "base")],
            capture_output=True,
            text=True,
            check=True,
        )
        loaded[name] = done.stderr.splitlines()[-1]
    assert loaded["help"] == "['flowctl.cli.failure', 'flowctl.cli.invocation', 'flowctl.cli.main']"
    assert (
        loaded["validate"]
        == "['flowctl.cli.failure', 'flowctl.cli.invocation', 'flowctl.cli.main', 'flowctl.cli.render', 'flowctl.cli.validate']"
    )


def test_file_names_need_not_be_utf_8(tmp_path):
    root = project(tmp_path, "all-is-well")
    Path(os.fsdecode(os.fsencode(root) + b"/caf\xe9.yaml")).write_text("segment: x\nmatch: 3\n")
    for style in ("text", "concise", "json"):
        done = flowctl("validate", "--format", style, cwd=root, LC_ALL="C")
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        assert "flowctl itself" not in done.stderr


def test_thousands_of_faults_in_one_file(tmp_path, capsys):
    root = project(tmp_path, "all-is-well")
    (root / "many.yaml").write_text("workflow: many\ntriggers: [{manual: true}]\nsteps:\n" + "  - sned: x\n" * 2_000)
    assert main(["-C", str(root), "validate", "--format", "concise"]) == 1
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 2_000
    assert "2 000 errors" in err
