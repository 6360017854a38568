"""SARIF 2.1.0, which code scanning of GitHub, GitLab and Azure reads.

https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html
"""

from __future__ import annotations

import hashlib
import json
from posixpath import normpath
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from flowctl import __version__
from flowctl.lint import baseline
from flowctl.lint.rules import SLUGS, load, page, title

if TYPE_CHECKING:
    from flowctl.language.problem import Edit, Place, Problem, Severity
    from flowctl.lint.report import Report

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_LEVELS: dict[Severity, str] = {"error": "error", "warning": "warning", "info": "note"}


def render(report: Report, folder: str) -> str:
    """One run as JSON. `folder` is the project's, relative to the repository's root, against which paths are given."""
    codes = list(SLUGS)
    run = {
        "tool": {"driver": {"name": "flowctl", "version": __version__, "rules": [_rule(code) for code in codes]}},
        "columnKind": "unicodeCodePoints",
        "results": [_result(problem, folder, codes) for problem in report.findings],
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, ensure_ascii=False, indent=2)


def _rule(code: str) -> dict[str, Any]:
    first = title(code)
    return {
        "id": code,
        "name": "".join(part.capitalize() for part in SLUGS[code].split("-")),
        "shortDescription": {"text": f"{first[:1].upper()}{first[1:]}."},
        "help": {"text": f"`flowctl rule {code}` explains it.", "markdown": page(code)},
        "defaultConfiguration": {"level": _LEVELS[load(code).SEVERITY]},
    }


def _result(problem: Problem, folder: str, codes: list[str]) -> dict[str, Any]:
    said = "\n".join(part for part in (problem.message, problem.help and f"help: {problem.help}") if part)
    found: dict[str, Any] = {
        "ruleId": problem.code,
        "ruleIndex": codes.index(problem.code),
        "level": _LEVELS[problem.severity],
        "message": {"text": said},
        "locations": [_location(problem.place, folder)],
        "partialFingerprints": {"finding/v1": _fingerprint(problem)},
    }
    if problem.related:
        found["relatedLocations"] = [
            {"id": number, **_location(related.place, folder), "message": {"text": related.label}}
            for number, related in enumerate(problem.related, start=1)
        ]
    if problem.fix:
        found["fixes"] = [{"description": {"text": problem.fix.title}, "artifactChanges": _changes(problem, folder)}]
    return found


def _changes(problem: Problem, folder: str) -> list[dict[str, Any]]:
    by_path: dict[str, list[Edit]] = {}
    for edit in problem.fix.edits if problem.fix else ():
        by_path.setdefault(edit.place.path, []).append(edit)
    return [
        {
            "artifactLocation": _artifact(path, folder),
            "replacements": [
                {"deletedRegion": _region(edit.place), "insertedContent": {"text": edit.text}} for edit in edits
            ],
        }
        for path, edits in by_path.items()
    ]


def _location(place: Place, folder: str) -> dict[str, Any]:
    return {"physicalLocation": {"artifactLocation": _artifact(place.path, folder), "region": _region(place)}}


def _artifact(path: str, folder: str) -> dict[str, str]:
    return {"uri": quote(normpath(f"{folder}/{path}" if folder else path)), "uriBaseId": "%SRCROOT%"}


def _region(place: Place) -> dict[str, int]:
    """Lines and columns count from 1 and the end column is exclusive, as ours."""
    return {
        "startLine": place.line,
        "startColumn": place.column,
        "endLine": place.end_line,
        "endColumn": place.end_column,
    }


def _fingerprint(problem: Problem) -> str:
    """What stays when lines move: that of the baseline."""
    return hashlib.sha256("\0".join(baseline.key(problem)).encode()).hexdigest()[:32]
