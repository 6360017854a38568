"""GitHub's workflow commands: annotations beside the lines of a pull request.

https://docs.github.com/actions/reference/workflow-commands-for-github-actions#setting-an-error-message
"""

from __future__ import annotations

from posixpath import normpath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flowctl.language.problem import Problem, Severity
    from flowctl.lint.report import Report

_COMMANDS: dict[Severity, str] = {"error": "error", "warning": "warning", "info": "notice"}


def render(report: Report, folder: str) -> str:
    """One line a finding. `folder` is the project's, relative to the repository's."""
    return "\n".join(_command(problem, folder) for problem in report.findings)


def _command(problem: Problem, folder: str) -> str:
    place = problem.place
    where = {
        "file": normpath(f"{folder}/{place.path}" if folder else place.path),
        "line": place.line,
        "endLine": place.end_line,
    }
    if place.line == place.end_line:  # columns of several lines mean nothing there; the end is inclusive
        where |= {"col": place.column, "endColumn": max(place.column, place.end_column - 1)}
    where["title"] = f"{problem.code} {problem.slug}"
    properties = ",".join(f"{name}={_property(str(value))}" for name, value in where.items())
    said = problem.message if not problem.help else f"{problem.message}\nhelp: {problem.help}"
    return f"::{_COMMANDS[problem.severity]} {properties}::{_data(said)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
