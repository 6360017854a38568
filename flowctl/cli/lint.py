"""`flowctl lint`: what runs, but should not run like this."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from flowctl.cli.invocation import invocation
from flowctl.failure import UsageFailure

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator

    from flowctl.cli.invocation import Invocation
    from flowctl.lint.baseline import Key
    from flowctl.lint.live import Live
    from flowctl.lint.report import Report
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
flowctl lint --store                            count in who is inside now, and which old versions drain
flowctl rule PRS001                             what a finding means
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """Which rules to ask; what the cache knows a report by."""

    select: list[str]
    ignore: list[str]
    profile: Profile | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Checked:
    """A report, and what drawing it takes."""

    root: Path
    report: Report
    texts: dict[str, str] = field(repr=False)
    baseline: str | None  # the file that flowctl.yaml names


def command(
    ctx: typer.Context,
    paths: Annotated[
        list[str] | None,
        typer.Argument(metavar="PATHS", help="Show only what is found in these files and folders.", show_default=False),
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
    store: Annotated[
        bool,
        typer.Option(
            "--store",
            help="Look into the store too: who is in several workflows, which old versions drain, whose step is gone.",
        ),
    ] = False,
    state: Annotated[
        str,
        typer.Option("--state", metavar="FILE", help="Look into this `state export` instead.", show_default=False),
    ] = "",
    cache: Annotated[
        bool, typer.Option("--cache/--no-cache", help="Show the last report again where no file has changed.")
    ] = True,
) -> int:
    """Judge the workflows: complexity, pressure, consent, content, style.

    The whole project is always checked, since pressure crosses files; PATHS only choose what is shown. Exits 1 on any error
    (see --fail-on), 2 where there is nothing to check. What was found is kept in .flowctl_cache until a file changes.
    """
    from flowctl.cli import lint_shown

    said = invocation(ctx)
    is_fixing = fix or unsafe_fixes or diff
    if write_baseline and is_fixing:
        message = "--write-baseline takes findings as given; --fix, --unsafe-fixes and --diff mend them"
        raise UsageFailure(message, help="fix first, then write the baseline of what is left")
    asked = Asked(select=_split(select), ignore=_split(ignore), profile=profile)
    live = _live(said, state, wanted=store or bool(state))
    fails_at = fail_on or ("warning" if strict else "error")
    with _no_collection():
        if is_fixing:
            from flowctl.cli import lint_fixes

            project = said.project()

            def judge(project: Project) -> Report:
                return _narrowed(said, _checked(project, asked, live), baseline, paths or [])

            done = lint_fixes.mended(said, project, judge, unsafe=unsafe_fixes)
            if diff:
                return lint_fixes.show(said, project, done, unsafe=unsafe_fixes)
            lint_fixes.write(project.root, done)
            checked = _judged(done.project, done.report)
            fixed = lint_fixes.told(done, unsafe=unsafe_fixes)
        else:
            checked = _recalled(said, asked) if cache and live is None else _checked(said.project(), asked, live)
            report = checked.report if write_baseline else _narrowed(said, checked, baseline, paths or [])
            checked, fixed = replace(checked, report=report), ""
    file = _baseline_file(said, checked, baseline)
    if write_baseline:
        return _write_baseline(file, checked.report, said)
    if statistics:
        lint_shown.count(checked.report, style)
    else:
        lint_shown.draw(checked.report, checked.texts, checked.root, style, fails_at)
    said.say(lint_shown.summary(checked.report, file, fixed))
    return 1 if checked.report.fails(fails_at) else 0


def _live(said: Invocation, state: str, *, wanted: bool) -> Live | None:
    """What the store or its export says, where that is asked for: only then anything of SQL is loaded."""
    if not wanted:
        return None
    from flowctl.cli import live

    return live.from_state(said, state) if state else live.from_store(said)


def _recalled(said: Invocation, asked: Asked) -> Checked:
    """The last report where nothing has changed since; else a new one, which is kept."""
    from flowctl.lint.cache import Cache, WatchedFiles
    from flowctl.project.origins import DiskFiles

    root = said.root()
    cache = Cache(root, {**asdict(asked), "environment": said.environment})
    recalled = cache.recall()
    if recalled is not None:
        return Checked(root=root, report=recalled.report, texts=recalled.texts, baseline=recalled.baseline)
    from flowctl.project.load import load_from

    watched = WatchedFiles(disk=DiskFiles(root))
    project = load_from(watched, root, environment=said.environment)
    checked = _checked(project, asked, None)
    if project.settings.lint.cache:
        cache.remember(watched, checked.report, checked.baseline)
    return checked


def _checked(project: Project, asked: Asked, live: Live | None) -> Checked:
    from flowctl.lint.linter import lint

    report = lint(project, select=asked.select, ignore=asked.ignore, profile=asked.profile, live=live)
    return _judged(project, report)


def _judged(project: Project, report: Report) -> Checked:
    texts = {**project.bodies, **project.sources}
    return Checked(root=project.root, report=report, texts=texts, baseline=project.settings.lint.baseline)


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


def _narrowed(said: Invocation, checked: Checked, baseline: str, paths: list[str]) -> Report:
    """What is new against the baseline, in the files and folders wanted.

    Raises:
        UsageFailure: there is nothing to check at all, or not there; the baseline cannot be read.
    """
    from flowctl.project.find import SETTINGS_FILE

    file = _baseline_file(said, checked, baseline)
    known = _read_baseline(file, is_asked_for=bool(baseline or checked.baseline))
    report = checked.report if known is None else checked.report.without(known)
    wanted = [said.inside(path) for path in paths]

    def is_wanted(path: str) -> bool:
        return any(folder in (".", path) or path.startswith(f"{folder}/") for folder in wanted)

    places = {problem.place.path for problem in report.findings}
    if not report.findings and not any(path.endswith(".yaml") for path in checked.texts if path != SETTINGS_FILE):
        message = f"nothing to check: {checked.root} holds no .yaml file beside {SETTINGS_FILE}"
        raise UsageFailure(message, help="add a workflow, or run it in another folder")
    if not wanted:
        return report
    if not any(is_wanted(path) for path in {*checked.texts, *places}):
        message = f"nothing to check in {', '.join(wanted)}: the project reads no file there"
        raise UsageFailure(message, help="flowctl reads .yaml files that `exclude:` does not leave out")
    return replace(report, findings=tuple(problem for problem in report.findings if is_wanted(problem.place.path)))


def _baseline_file(said: Invocation, checked: Checked, given: str) -> Path:
    from flowctl.lint.baseline import FILE_NAME

    return said.directory / given if given else checked.root / (checked.baseline or FILE_NAME)


def _read_baseline(file: Path, *, is_asked_for: bool) -> Counter[Key] | None:
    from flowctl.lint import baseline

    return baseline.read(file) if is_asked_for or file.is_file() else None


def _write_baseline(file: Path, report: Report, said: Invocation) -> int:
    from flowctl.cli.render import plural
    from flowctl.lint import baseline
    from flowctl.lint.rules import READING

    count = baseline.write(file, report.findings)
    said.say(f"wrote {plural(count, 'finding')} to {file}; they are not shown again")
    faults = sum(problem.code in READING and problem.severity == "error" for problem in report.findings)
    if faults:
        said.say(f"{plural(faults, 'fault')} of the files cannot be taken as given: `flowctl validate` shows them")
    return 1 if faults else 0
