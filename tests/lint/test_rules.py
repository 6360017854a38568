"""Every rule: its page, its registry line, what it finds in `bad.yaml` and where, and that it is silent on `ok.yaml`."""

from __future__ import annotations

import functools
import re
from dataclasses import replace
from pathlib import Path

import cases
import pytest

from flowctl.cli.main import main
from flowctl.lint.fixing import mend
from flowctl.lint.linter import lint
from flowctl.lint.pages import pages
from flowctl.lint.rules import READING, SLUGS, page
from flowctl.lint.rules import load as load_rule
from flowctl.project.load import load, load_edited, load_texts

RULES = Path(__file__).parents[2] / "flowctl" / "lint" / "rules"
PAGES = Path(__file__).parents[2] / "docs" / "rules"
SECTIONS = ["What it does", "Why is this bad", "Example", "Use instead", "Options", "Source"]


def selected(code, root):
    """Options that ask one rule; a suppression is judged by what all the others find."""
    if code in ("PRS009", "VER001"):  # they need to know who is inside
        return ["--select", code, "--state", str(root / "state.json")]
    return [] if code == "YML008" or code in READING else ["--select", code]


@pytest.mark.parametrize("code", SLUGS)
def test_bad_is_found_where_it_is(code, tmp_path, capsys, request):
    root = cases.write(cases.CASES / code / "bad.yaml", tmp_path)
    if code == "VER003":
        cases.commit(root, "2024-03-01T12:00:00Z")
    status = main(["-C", str(root), "lint", *selected(code, root)])
    out, err = capsys.readouterr()
    printed = re.sub(r"\d+ rules:", "N rules:", f"{out}{err}exit status {status}\n")
    expected = cases.CASES / code / "bad.out"
    if request.config.getoption("--update"):
        expected.write_text(printed, encoding="utf-8")
    assert re.search(rf"^{code} {SLUGS[code]}: ", printed, re.MULTILINE), printed
    assert printed == expected.read_text(encoding="utf-8")


@pytest.mark.parametrize("code", SLUGS)
def test_ok_is_clean_altogether(code):
    project = load_texts(cases.texts(cases.CASES / code / "ok.yaml"), Path())
    report = lint(project, ignore=[] if code == "REF003" else ["REF003"])
    assert [f"{problem.code} {problem.place} {problem.message}" for problem in report.findings] == []


def test_registry_and_folder_agree():
    modules = {path.stem for path in RULES.glob("*.py")} - {"__init__"}
    assert modules == {slug.replace("-", "_") for slug in SLUGS.values()}


@pytest.mark.parametrize("code", SLUGS)
def test_a_rule_is_what_the_registry_says(code):
    rule = load_rule(code)
    assert (code, SLUGS[code]) == (rule.CODE, rule.SLUG)
    assert rule.SEVERITY in ("error", "warning", "info")
    assert (rule.__doc__ or "").startswith(f"{code} {SLUGS[code]}: ")


@pytest.mark.parametrize("code", SLUGS)
def test_a_page_has_its_sections_in_order(code):
    text = page(code)
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == SECTIONS
    assert all(body.strip() for body in re.split(r"^## .+$", text, flags=re.MULTILINE)[1:])
    assert text.count("```") % 2 == 0


def test_pages_are_in_step(request):
    if request.config.getoption("--update"):
        PAGES.mkdir(parents=True, exist_ok=True)
        for old in PAGES.glob("*.md"):
            old.unlink()
        for name, text in pages().items():
            (PAGES / name).write_text(text, encoding="utf-8")
    assert {path.name: path.read_text(encoding="utf-8") for path in PAGES.glob("*.md")} == pages()


def test_no_case_lacks_its_rule():
    assert {folder.name for folder in cases.CASES.iterdir()} == {"base", *SLUGS}


def fixed(case, root):
    """A case's project with every fix of one rule made; and how many fixes there were."""
    cases.write(case, root)
    project = load(root)
    judge = functools.partial(narrow, case.parent.name)
    return mend(project, judge=judge, reread=lambda texts: load_edited(texts, root), unsafe=True)


def narrow(code, project):
    """The findings of one rule, whatever else there is."""
    report = lint(project, select=[] if code == "YML008" else [code])
    return replace(report, findings=tuple(problem for problem in report.findings if problem.code == code))


@pytest.mark.parametrize("code", SLUGS)
def test_fixed_files_are_as_said_and_clean(code, tmp_path, request):
    bad = cases.CASES / code / "bad.yaml"
    done = fixed(bad, tmp_path)
    expected = cases.CASES / code / "bad.fixed.yaml"
    assert expected.exists() == bool(done.fixed) or request.config.getoption("--update"), (
        "a rule that fixes has bad.fixed.yaml"
    )
    if not done.fixed:
        return
    written = cases.joined(bad, done.texts)
    if request.config.getoption("--update"):
        expected.write_text(written, encoding="utf-8")
    assert written == expected.read_text(encoding="utf-8")
    assert [problem.message for problem in done.report.findings if problem.fix] == []
    (tmp_path / "again").mkdir()
    again = fixed(expected, tmp_path / "again")
    assert again.texts == {}


@pytest.mark.parametrize("code", SLUGS)
def test_a_fix_brings_no_new_fault(code, tmp_path):
    before = load(cases.write(cases.CASES / code / "bad.yaml", tmp_path))
    after = fixed(cases.CASES / code / "bad.yaml", tmp_path).project
    faults = {(problem.code, problem.message) for problem in before.problems}
    assert {(problem.code, problem.message) for problem in after.problems} <= faults
