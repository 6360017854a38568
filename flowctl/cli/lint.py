"""`flowctl lint`: what runs, but should not run like this."""

from __future__ import annotations

import gc
import os
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from flowctl.cli import render
from flowctl.cli.invocation import invocation
from flowctl.failure import UsageFailure

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator

    from flowctl.cli.invocation import Invocation
    from flowctl.lint.baseline import Key
    from flowctl.lint.fixing import Mended
    from flowctl.lint.linter import Report
    from flowctl.project.project import Project

Format = Literal["full", "concise", "json", "sarif", "github", "junit"]
Profile = Literal["minimal", "standard", "strict"]
Severity = Literal["error", "warning", "info"]
EXAMPLES = """\
flowctl lint                                    the whole project
flowctl lint workflows/cart --strict            warnings fail too, there
flowctl lint --select PRS,too-many-steps        these rules alone, by code, family or slug
flowctl lint --fix                              mend what has one safe way to be mended
flowctl lint --unsafe-fixes --diff              show what all fixes would change, write nothing
flowctl lint --statistics                       how often each rule finds something
flowctl lint --write-baseline                   take what is there as given, show what comes
flowctl lint --format github                    annotations in a pull request
flowctl rule PRS001                             what a finding means
"""


def command(
    ctx: typer.Context,
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PATHS]...", help="Show only what is found in these files and folders.", show_default=False
        ),
    ] = None,
    style: Annotated[Format, typer.Option("--format", help="How to show the findings.")] = "full",
    select: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RULES", help="Ask these rules alone: codes, slugs or families, with commas.", show_default=False
        ),
    ] = None,
    ignore: Annotated[
        list[str] | None, typer.Option(metavar="RULES", help="Do not ask these rules.", show_default=False)
    ] = None,
    profile: Annotated[
        Profile | None,
        typer.Option(
            help="minimal: errors; standard: warnings too; strict: all, infos as warnings.", show_default=False
        ),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit 1 on warnings too.")] = False,
    fail_on: Annotated[
        Severity | None,
        typer.Option("--fail-on", help="The severity from which to exit 1: error unless said.", show_default=False),
    ] = None,
    baseline: Annotated[
        str,
        typer.Option(
            metavar="FILE",
            help="Leave out the findings of this file (lint-baseline.json where there is one).",
            show_default=False,
        ),
    ] = "",
    write_baseline: Annotated[
        bool, typer.Option("--write-baseline", help="Write the baseline: what is found now is not shown again.")
    ] = False,
    fix: Annotated[bool, typer.Option("--fix", help="Make the safe fixes: those that change no meaning.")] = False,
    unsafe_fixes: Annotated[
        bool, typer.Option("--unsafe-fixes", help="Make all fixes: look at what they changed.")
    ] = False,
    diff: Annotated[
        bool, typer.Option("--diff", help="Show what the fixes would change, write nothing; exits 1 where they would.")
    ] = False,
    statistics: Annotated[
        bool, typer.Option("--statistics", help="Count the findings of each rule instead of showing them.")
    ] = False,
) -> int:
    """Judge the workflows: complexity, pressure, consent, content, style.

    The whole project is always checked, since pressure crosses files; PATHS only choose what is shown. Exits 1 on any error
    (see --fail-on), 2 where there is nothing to check.
    """
    said = invocation(ctx)
    if write_baseline and (fix or unsafe_fixes or diff):
        message = "--write-baseline takes findings as given; --fix, --unsafe-fixes and --diff mend them"
        raise UsageFailure(message, help="fix first, then write the baseline of what is left")
    with _no_collection():
        from flowctl.lint.linter import lint

        project = said.project()
        file = _baseline_file(project, said, baseline)
        is_asked_for = bool(baseline or project.settings.lint.baseline)
        known = None if write_baseline else _read_baseline(file, is_asked_for=is_asked_for)
        wanted = [said.inside(path) for path in paths or []]

        def judge(project: Project) -> Report:
            found = lint(project, select=_split(select), ignore=_split(ignore), profile=profile, baseline=known)
            return _below(found, project, wanted)

        if fix or unsafe_fixes or diff:
            from flowctl.cli import lint_fixes

            before, done = project, lint_fixes.mended(said, project, judge, unsafe=unsafe_fixes)
            project, report = done.project, done.report
        else:
            done, report = None, judge(project)
    fails_at = fail_on or ("warning" if strict else "error")
    if done and diff:
        lint_fixes.print_diff(before, done)
        said.say(_would_fix(done, unsafe=unsafe_fixes))
        return 1 if done.texts else 0
    if done:
        lint_fixes.write(project.root, done)
    if write_baseline:
        return _write_baseline(file, report, said)
    if statistics:
        _count(report, style)
    else:
        _draw(report, project, style, fails_at)
    said.say(_summary(report, file, done, unsafe=unsafe_fixes))
    return 1 if report.fails(fails_at) else 0


@contextmanager
def _no_collection() -> Iterator[None]:
    """Without Python's collector: models and nodes live until the end, and looking for garbage among them takes a tenth of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _split(names: list[str] | None) -> list[str]:
    return [name.strip() for said in names or [] for name in said.split(",") if name.strip()]


def _draw(report: Report, project: Project, style: Format, fails_at: Severity) -> None:
    match style:
        case "json":
            findings = [render.as_data(problem) for problem in report.findings]
            render.document("lint", {"findings": findings, "summary": _counts(report)})
        case "github":
            from flowctl.lint.formats import github

            if report.findings:
                print(github.render(report, _folder(project.root)))
        case "sarif":
            from flowctl.lint.formats import sarif

            print(sarif.render(report, _folder(project.root)))
        case "junit":
            from flowctl.lint.formats import junit

            print(junit.render(report, _folder(project.root), fails_at))
        case "full":
            render.problems(report.findings, {**project.bodies, **project.sources}, "text")
        case "concise":
            render.problems(report.findings, project.sources, "concise")


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


def _count(report: Report, style: Format) -> None:
    """How often each rule found something, the most frequent first."""
    from collections import Counter

    counted = Counter((problem.code, problem.slug) for problem in report.findings)
    fixable = Counter(problem.code for problem in report.findings if problem.fix)
    if style == "json":
        rows = [
            {"code": code, "slug": slug, "count": count, "fixable": fixable[code]}
            for (code, slug), count in counted.most_common()
        ]
        render.document("lint-statistics", {"rules": rows, "summary": _counts(report)})
    elif counted:
        rows_shown = [(count, code, slug, fixable[code] or None) for (code, slug), count in counted.most_common()]
        render.table(("count", "code", "rule", "fixable"), rows_shown, right=("count", "fixable"))


def _would_fix(done: Mended, *, unsafe: bool) -> str:
    if not done.texts:
        return f"nothing to fix{_left(done.report, unsafe=unsafe)}"
    said = f"would fix {render.plural(len(done.fixed), 'finding')} in {render.plural(len(done.texts), 'file')}"
    return f"{said}{_left(done.report, unsafe=unsafe)}; nothing was written"


def _left(report: Report, *, unsafe: bool) -> str:
    """What could be mended besides, and how."""
    from flowctl.lint.fixing import fixable

    count = fixable(report.findings, safe=False)
    return f"; {count} more with --unsafe-fixes" if count and not unsafe else ""


def _summary(report: Report, file: Path, done: Mended | None, *, unsafe: bool) -> str:
    found = [render.plural(count, word) for word in ("error", "warning", "info") if (count := report.count(word))]
    verdict = ", ".join(found) or "nothing found"
    if report.silenced:
        verdict += f"; {report.silenced} silenced by comments"
    if report.known:
        verdict += f"; {report.known} known from {file.name}"
    if report.gone:
        verdict += f"; {render.plural(report.gone, 'finding')} of {file.name} gone: write it anew"
    if done:
        verdict += f"; fixed {render.plural(len(done.fixed), 'finding')} in {render.plural(len(done.texts), 'file')}"
        verdict += _left(report, unsafe=unsafe)
    elif any(problem.fix for problem in report.findings):
        verdict += _fixable(report)
    looked = [
        render.plural(report.files, "file"),
        render.plural(report.workflows, "workflow"),
        render.plural(report.rules, "rule"),
    ]
    return f"checked {looked[0]}, {looked[1]}, {looked[2]}: {verdict}"


def _fixable(report: Report) -> str:
    from flowctl.lint.fixing import fixable

    safe, unsafe = (fixable(report.findings, safe=is_safe) for is_safe in (True, False))
    told = [f"{safe} fixable with --fix"] if safe else []
    told += [f"{unsafe} {'more ' if safe else 'fixable '}with --unsafe-fixes"] if unsafe else []
    return f"; {', '.join(told)}"


def _below(report: Report, project: Project, wanted: list[str]) -> Report:
    """The findings in the files and folders wanted.

    Raises:
        UsageFailure: there is nothing to check at all, or not there.
    """
    from flowctl.project.find import SETTINGS_FILE

    def is_wanted(path: str) -> bool:
        return any(folder in (".", path) or path.startswith(f"{folder}/") for folder in wanted)

    places = {problem.place.path for problem in report.findings}
    if not report.findings and not set(project.sources) - {SETTINGS_FILE}:
        message = f"nothing to check: {project.root} holds no .yaml file beside {SETTINGS_FILE}"
        raise UsageFailure(message, help="add a workflow, or run it in another folder")
    if not wanted:
        return report
    if not any(is_wanted(path) for path in {*project.sources, *project.bodies, *places}):
        message = f"nothing to check in {', '.join(wanted)}: the project reads no file there"
        raise UsageFailure(message, help="flowctl reads .yaml files that `exclude:` does not leave out")
    return replace(report, findings=tuple(problem for problem in report.findings if is_wanted(problem.place.path)))


def _baseline_file(project: Project, said: Invocation, given: str) -> Path:
    from flowctl.lint.baseline import FILE_NAME

    return said.directory / given if given else project.root / (project.settings.lint.baseline or FILE_NAME)


def _read_baseline(file: Path, *, is_asked_for: bool) -> Counter[Key] | None:
    from flowctl.lint import baseline

    return baseline.read(file) if is_asked_for or file.is_file() else None


def _write_baseline(file: Path, report: Report, said: Invocation) -> int:
    from flowctl.lint import baseline
    from flowctl.lint.rules import READING

    count = baseline.write(file, report.findings)
    said.say(f"wrote {render.plural(count, 'finding')} to {file}; they are not shown again")
    faults = sum(problem.code in READING and problem.severity == "error" for problem in report.findings)
    if faults:
        said.say(
            f"{render.plural(faults, 'fault')} of the files cannot be taken as given: `flowctl validate` shows them"
        )
    return 1 if faults else 0


def _folder(root: Path) -> str:
    """The project's folder as GitHub counts it: from the repository's, else from the current one."""
    base = Path(os.environ.get("GITHUB_WORKSPACE") or Path.cwd()).resolve()
    return root.relative_to(base).as_posix() if root.is_relative_to(base) and root != base else ""
