"""Carries out the fixes of findings as text edits, again and again until none is left."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from flowctl.language.offsets import edited, span

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from flowctl.language.problem import Edit, Problem
    from flowctl.lint.report import Report
    from flowctl.project.project import Project

ROUNDS_MAX = 500  # a fix that brings about what it mends would go on for ever
_UNREADABLE = frozenset({"YML001", "YML002", "YML005"})  # what no fix may bring into a file

Spans = dict[str, list[tuple[int, int]]]
"""Stretches of each file that edits of this round take."""


@dataclass(kw_only=True, slots=True)
class Mended:
    """What fixing came to: `texts` are the files that changed, by path; `report` is what is left to say."""

    report: Report
    project: Project
    texts: dict[str, str] = field(default_factory=dict)
    fixed: list[Problem] = field(default_factory=list)


def mend(
    project: Project,
    *,
    judge: Callable[[Project], Report],
    reread: Callable[[Mapping[str, str]], Project],
    unsafe: bool = False,
) -> Mended:
    """Make every fix of the findings of `judge`: the safe ones, with `unsafe` the others too. Nothing is written.

    `reread` reads the project with some texts in place of its files. Fixes that overlap take turns. One that would leave a file
    unreadable is not made.
    """
    mended = Mended(report=judge(project), project=project)
    refused: set[tuple[str, str, str]] = set()
    one_by_one = False
    for _ in range(ROUNDS_MAX):
        wanted = [problem for problem in mended.report.findings if _key(problem) not in refused]
        chosen = _apart(wanted, mended.project, unsafe=unsafe)[: 1 if one_by_one else None]
        if not chosen:
            break
        texts = {**mended.texts, **_made(chosen, mended.project)}
        after = reread(texts)
        if _unreadable(after) - _unreadable(mended.project):
            refused |= {_key(problem) for problem in chosen} if one_by_one else set()
            one_by_one = True
            continue
        mended = Mended(report=judge(after), project=after, texts=texts, fixed=[*mended.fixed, *chosen])
    return mended


def _key(problem: Problem) -> tuple[str, str, str]:
    return problem.code, str(problem.place), problem.message


def _unreadable(project: Project) -> set[str]:
    return {problem.place.path for problem in project.problems if problem.code in _UNREADABLE}


def _text(project: Project, path: str) -> str | None:
    return project.sources.get(path, project.bodies.get(path))


def _apart(problems: Iterable[Problem], project: Project, *, unsafe: bool) -> list[Problem]:
    """The problems whose fixes can be made together, first come, first served."""
    taken: Spans = {}
    chosen = []
    for problem in problems:
        fix = problem.fix
        if fix is None or not (fix.safe or unsafe):
            continue
        spans = _spans(fix.edits, project)
        if spans is not None and not any(_overlaps(span, taken.get(path, [])) for path, span in spans):
            for path, one in spans:
                taken.setdefault(path, []).append(one)
            chosen.append(problem)
    return chosen


def _spans(edits: Iterable[Edit], project: Project) -> list[tuple[str, tuple[int, int]]] | None:
    found = []
    for edit in edits:
        text = _text(project, edit.place.path)
        if text is None:
            return None
        found.append((edit.place.path, span(text, edit.place)))
    return found


def _overlaps(one: tuple[int, int], others: Iterable[tuple[int, int]]) -> bool:
    """Whether stretches share a character, or begin at the same one: two insertions there would depend on their order."""
    return any(one[0] == other[0] or (one[0] < other[1] and other[0] < one[1]) for other in others)


def _made(problems: Iterable[Problem], project: Project) -> dict[str, str]:
    by_path: dict[str, list[Edit]] = {}
    for problem in problems:
        for edit in problem.fix.edits if problem.fix else ():
            by_path.setdefault(edit.place.path, []).append(edit)
    return {path: edited(_text(project, path) or "", edits) for path, edits in by_path.items()}
