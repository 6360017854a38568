"""JUnit XML, which continuous integration shows as tests: a suite a file, a test a finding.

Elements and attributes as in Jenkins' junit-10.xsd, which most readers follow.
"""

from __future__ import annotations

import re
from posixpath import normpath
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from flowctl.lint.report import RANK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowctl.language.problem import Problem, Severity
    from flowctl.lint.report import Report

_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # what XML 1.0 cannot say


def render(report: Report, folder: str, fails_at: Severity) -> str:
    """One document. Findings below `fails_at` are tests that pass and say what was found; without findings one test passes."""
    by_path: dict[str, list[Problem]] = {}
    for problem in report.findings:
        by_path.setdefault(problem.place.path, []).append(problem)
    failing = sum(RANK[problem.severity] >= RANK[fails_at] for problem in report.findings)
    counts = {"tests": str(len(report.findings) or 1), "failures": str(failing), "errors": "0"}
    root = ET.Element("testsuites", {"name": "flowctl lint", **counts})
    for path, problems in by_path.items():
        _suite(root, normpath(f"{folder}/{path}" if folder else path), problems, fails_at)
    if not by_path:
        suite = ET.SubElement(root, "testsuite", {"name": "flowctl lint", **counts, "skipped": "0", "time": "0"})
        ET.SubElement(suite, "testcase", {"name": "nothing found", "classname": "flowctl.lint", "time": "0"})
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}'


def _suite(root: ET.Element, name: str, problems: Sequence[Problem], fails_at: Severity) -> None:
    failing = sum(RANK[problem.severity] >= RANK[fails_at] for problem in problems)
    counts = {"tests": str(len(problems)), "failures": str(failing), "errors": "0", "skipped": "0", "time": "0"}
    suite = ET.SubElement(root, "testsuite", {"name": _clean(name), **counts})
    for problem in problems:
        place = f"{problem.place.line}:{problem.place.column}"
        case = ET.SubElement(
            suite,
            "testcase",
            {"name": _clean(f"{problem.code} {problem.slug} {place}"), "classname": _clean(name), "time": "0"},
        )
        text = _clean(f"{name}:{place}: {problem.message}" + (f"\nhelp: {problem.help}" if problem.help else ""))
        if RANK[problem.severity] >= RANK[fails_at]:
            told = {"message": _clean(problem.message), "type": problem.severity}
            ET.SubElement(case, "failure", told).text = text
        else:
            ET.SubElement(case, "system-out").text = f"{problem.severity}: {text}"


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("\ufffd", text)
