"""The house: layers, registries and folders that agree, the clock and the database behind one door each, docs in step."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "flowctl").rglob("*.py"))


def modules(folder):
    return {path.stem for path in (ROOT / "flowctl" / folder).glob("*.py")} - {"__init__"}


def calls(path):
    """Dotted names that a module calls, such as `time.time`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func)


def test_only_one_module_reads_the_clock():
    forbidden = ("time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "datetime.today", "date.today")
    found = {str(path.relative_to(ROOT)) for path in SOURCES for name in calls(path) if name.endswith(forbidden)}
    assert found == {"flowctl/clock.py"}


def test_only_the_store_opens_a_database():
    found = {path.parent.name for path in SOURCES for name in calls(path) if name == "sqlite3.connect"}
    assert found == {"store"}


def test_only_the_command_line_prints():
    found = {path for path in SOURCES for name in calls(path) if name == "print"}
    assert {path.parent.name for path in found} == {"cli"}


@pytest.mark.slow
def test_imports_keep_to_the_layers():
    done = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.parametrize("command", ["--help", "lint --help", "validate --help"])
def test_help_needs_no_database_and_no_network(command):
    heavy = "{'sqlite3', 'sqlite_utils', 'jinja2', 'smtplib', 'http.client', 'rich'}"
    program = (
        "import sys; from flowctl.cli.main import main\n"
        f"try: main({command.split()!r})\n"
        f"finally: print(sorted({heavy} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_every_command_has_a_module_help_and_an_example():
    from flowctl.cli.main import COMMANDS, load

    missing = [
        name
        for name, (_, module, line) in COMMANDS.items()
        if not line.endswith(".") or not (load(name).epilog or "").strip() or module != f"flowctl.cli.{name}"
    ]
    assert missing == []


def test_every_command_module_is_registered():
    from flowctl.cli.main import COMMANDS

    shared = {
        "failure",
        "files",
        "importing",
        "invocation",
        "lint_fixes",
        "lint_shown",
        "live",
        "main",
        "plan_shown",
        "render",
        "reviewed",
        "sheets",
        "times",
    }
    assert modules("cli") - shared == set(COMMANDS)


def test_every_condition_of_the_language_is_one_of_the_engine():
    from flowctl.engine.conditions import KINDS

    shared = {"logic"}
    assert set(KINDS) == modules("language/conditions") - shared
    assert {kind.__name__.rpartition(".")[2] for kind in KINDS.values()} == set(KINDS)


def test_every_step_and_trigger_of_the_engine_is_registered():
    from flowctl.engine.steps import MODULES as STEPS
    from flowctl.engine.triggers import MODULES as TRIGGERS

    assert modules("engine/steps") - {"change"} == set(STEPS.values())
    assert modules("engine/triggers") == set(TRIGGERS.values())


def test_every_rule_has_a_module_a_page_and_cases():
    from flowctl.lint.rules import SLUGS

    assert modules("lint/rules") == {slug.replace("-", "_") for slug in SLUGS.values()}
    assert {path.stem for path in (ROOT / "docs" / "rules").glob("[A-Z][A-Z][A-Z]0*.md")} == set(SLUGS)
    assert {path.name for path in (ROOT / "tests" / "cases" / "lint").iterdir()} >= set(SLUGS)


def test_every_adapter_is_a_channel_module():
    from flowctl.channels.registry import ADAPTERS

    shared = {"address", "channel", "devserver", "pace", "pool", "registry", "replies", "recording", "wire"} | {
        "dialogue",
        "lines",
        "smtp_wire",
    }
    assert modules("channels") - shared == set(ADAPTERS)


def test_the_readme_and_the_command_pages_are_in_step():
    done = subprocess.run(
        [sys.executable, ROOT / "docs" / "generate.py", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_the_readme_names_two_commands_and_make_knows_them():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in ("demo", "test", "check", "bench", "crash", "install", "help"):
        assert f"make {target}" in text
        assert f"\n{target}:" in makefile


def test_the_example_project_has_no_fault():
    from flowctl.project.load import load

    assert load(ROOT / "workflows" / "cdnow").problems == ()
