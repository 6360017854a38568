"""Runs the rules over a project and gathers what they find, after suppressions, severities, profile and baseline."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from flowctl.failure import UsageFailure
from flowctl.lint.context import Context
from flowctl.lint.report import RANK, Report
from flowctl.lint.rules import READING, SLUGS, Rule, codes, load, worst
from flowctl.lint.suppressions import Suppressions

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from flowctl.language.problem import Problem, Severity
    from flowctl.language.settings import Lint
    from flowctl.lint.live import Live
    from flowctl.project.project import Project

Profile = Literal["minimal", "standard", "strict"]
_LEAST: dict[Profile, Severity] = {"minimal": "error", "standard": "warning", "strict": "info"}
_LAST = "YML008"  # judges the suppressions, once all others have run


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """Which rules are asked beside those of reading, and how their findings rank."""

    rules: tuple[Rule, ...]
    least: Severity  # what ranks lower is not shown
    severities: Mapping[str, Severity]
    infos_warn: bool

    def rank(self, problems: Iterable[Problem]) -> Iterator[Problem]:
        """The findings with the severities that the project gives them."""
        for problem in problems:
            severity = (
                problem.severity if problem.code in READING else self.severities.get(problem.code, problem.severity)
            )
            if RANK[severity] < RANK[self.least]:
                continue
            severity = "warning" if self.infos_warn and severity == "info" else severity
            yield problem if severity == problem.severity else replace(problem, severity=severity)


def lint(
    project: Project,
    *,
    select: Sequence[str] = (),
    ignore: Sequence[str] = (),
    profile: Profile | None = None,
    live: Live | None = None,
) -> Report:
    """Judge a project. `select`, `ignore` and `profile` stand above what flowctl.yaml says; `live` is what a store says.

    Raises:
        UsageFailure: a rule, threshold or profile is named that does not exist.
    """
    selection = choose(project.settings.lint, select=select, ignore=ignore, profile=profile)
    suppressions = Suppressions(project.sources)
    context = Context(project, suppressions, live)
    context.maxima  # noqa: B018 - an unknown threshold is told before anything runs
    asked = [rule for rule in selection.rules if rule.CODE != _LAST]
    found = [problem for rule in asked for problem in selection.rank(rule.check(context))]
    heard = list(suppressions.silence(found))
    silenced = len(found) - len(heard)
    context.ran = frozenset(rule.CODE for rule in asked)
    heard += [
        problem for rule in selection.rules if rule.CODE == _LAST for problem in selection.rank(rule.check(context))
    ]
    findings = sorted(
        [*project.problems, *_once(heard)], key=lambda problem: (problem.place, problem.code, problem.message)
    )
    return Report(
        findings=tuple(findings),
        files=len({*project.sources, *(problem.place.path for problem in project.problems)}),
        workflows=len(project.declared.get("workflow", {})),
        rules=len(selection.rules) + len(READING),
        silenced=silenced,
    )


def choose(
    settings: Lint, *, select: Sequence[str] = (), ignore: Sequence[str] = (), profile: Profile | None = None
) -> Selection:
    """Which rules to ask: `select` alone where given, else those of the profile; less what is ignored or off."""
    said = profile or settings.profile
    if said not in _LEAST:
        message = f"there is no profile `{said}`"
        raise UsageFailure(message, help=f"there is: {', '.join(_LEAST)}")
    severities = {
        code: severity
        for name, severity in settings.severity.items()
        for code in codes([name], "flowctl.yaml, lint.severity")
    }
    picked = list(select) or settings.select
    where = "--select" if select else "flowctl.yaml, lint.select"
    wanted = (codes(picked, where) if picked else set(SLUGS)) - READING - codes(ignore, "--ignore")
    if not select:
        wanted -= codes(settings.ignore, "flowctl.yaml, lint.ignore")
    wanted -= {code for code, severity in severities.items() if severity == "off"}
    ranks = {code: severity for code, severity in severities.items() if severity != "off"}
    least: Severity = "info" if picked else _LEAST[said]
    rules = [load(code) for code in SLUGS if code in wanted]
    rules = [rule for rule in rules if RANK[ranks.get(rule.CODE, worst(rule))] >= RANK[least]]
    return Selection(rules=tuple(rules), least=least, severities=ranks, infos_warn=said == "strict")


def _once(problems: Iterable[Problem]) -> list[Problem]:
    return list({(problem.code, problem.place, problem.message): problem for problem in problems}.values())
