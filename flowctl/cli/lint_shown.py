"""Draws what lint found: for people, for other programs, as counts, in a line."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowctl.cli import render

if TYPE_CHECKING:
    from flowctl.cli.lint import Format, Severity
    from flowctl.lint.report import Report


def draw(report: Report, texts: dict[str, str], root: Path, style: Format, fails_at: Severity) -> None:
    """Print the findings; `texts` are the project's, for the lines they are about."""
    match style:
        case "json":
            findings = [render.as_data(problem) for problem in report.findings]
            render.document("lint", {"findings": findings, "summary": _counts(report)})
        case "github":
            from flowctl.lint.formats import github

            if report.findings:
                print(github.render(report, _folder(root)))
        case "sarif":
            from flowctl.lint.formats import sarif

            print(sarif.render(report, _folder(root)))
        case "junit":
            from flowctl.lint.formats import junit

            print(junit.render(report, _folder(root), fails_at))
        case "full" | "concise":
            render.problems(report.findings, texts, "text" if style == "full" else style)


def count(report: Report, style: Format) -> None:
    """How often each rule found something, the most frequent first."""
    from collections import Counter

    counted = Counter((problem.code, problem.slug) for problem in report.findings)
    fixable = Counter(problem.code for problem in report.findings if problem.fix)
    if style == "json":
        rules = [
            {"code": code, "slug": slug, "count": count, "fixable": fixable[code]}
            for (code, slug), count in counted.most_common()
        ]
        render.document("lint-statistics", {"rules": rules, "summary": _counts(report)})
    elif counted:
        rows = [(count, code, slug, fixable[code] or None) for (code, slug), count in counted.most_common()]
        render.table(("count", "code", "rule", "fixable"), rows, right=("count", "fixable"))


def summary(report: Report, baseline: Path, fixed: str) -> str:
    """How much was looked at, what was found; `fixed` says what was mended, and else is told what could be."""
    found = [render.plural(count, word) for word in ("error", "warning", "info") if (count := report.count(word))]
    verdict = ", ".join(found) or "nothing found"
    if report.silenced:
        verdict += f"; {report.silenced} silenced by comments"
    if report.known:
        verdict += f"; {report.known} known from {baseline.name}"
    if report.gone:
        verdict += f"; {render.plural(report.gone, 'finding')} of {baseline.name} gone: write it anew"
    verdict += fixed or _fixable(report)
    looked = [
        render.plural(report.files, "file"),
        render.plural(report.workflows, "workflow"),
        render.plural(report.rules, "rule"),
    ]
    return f"checked {looked[0]}, {looked[1]}, {looked[2]}: {verdict}"


def _counts(report: Report) -> dict[str, Any]:
    return {
        "files": report.files,
        "workflows": report.workflows,
        "rules": report.rules,
        "errors": report.count("error"),
        "warnings": report.count("warning"),
        "infos": report.count("info"),
        "silenced": report.silenced,
        "known": report.known,
    }


def _fixable(report: Report) -> str:
    safe, unsafe = report.fixable(safe=True), report.fixable(safe=False)
    told = [f"{safe} fixable with --fix"] if safe else []
    told += [f"{unsafe} {'more ' if safe else 'fixable '}with --unsafe-fixes"] if unsafe else []
    return f"; {', '.join(told)}" if told else ""


def _folder(root: Path) -> str:
    """The project's folder as GitHub counts it: from the repository's, else from the current one."""
    base = Path(os.environ.get("GITHUB_WORKSPACE") or Path.cwd()).resolve()
    return root.relative_to(base).as_posix() if root.is_relative_to(base) and root != base else ""
