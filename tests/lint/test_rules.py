"""Every rule: its page, its registry line, what it finds in `bad.yaml` and where, and that it is silent on `ok.yaml`."""

from __future__ import annotations

import re
from pathlib import Path

import cases
import pytest

from flowctl.cli.main import main
from flowctl.lint.linter import lint
from flowctl.lint.pages import pages
from flowctl.lint.rules import READING, SLUGS, load, page
from flowctl.project.load import load_texts

RULES = Path(__file__).parents[2] / "flowctl" / "lint" / "rules"
PAGES = Path(__file__).parents[2] / "docs" / "rules"
SECTIONS = ["What it does", "Why is this bad", "Example", "Use instead", "Options", "Source"]


def selected(code):
    """Options that ask one rule; a suppression is judged by what all the others find."""
    return [] if code == "YML008" or code in READING else ["--select", code]


@pytest.mark.parametrize("code", SLUGS)
def test_bad_is_found_where_it_is(code, tmp_path, capsys, request):
    root = cases.write(cases.CASES / code / "bad.yaml", tmp_path)
    status = main(["-C", str(root), "lint", *selected(code)])
    out, err = capsys.readouterr()
    printed = f"{out}{err}exit status {status}\n"
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
    rule = load(code)
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
