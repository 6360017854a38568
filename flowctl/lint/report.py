"""What lint came to: the findings, and how much was looked at."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from flowctl.lint import baseline as baselines

if TYPE_CHECKING:
    from collections import Counter

    from flowctl.language.problem import Problem, Severity

RANK: dict[Severity, int] = {"info": 0, "warning": 1, "error": 2}


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What was found, and how much was looked at."""

    findings: tuple[Problem, ...]
    files: int
    workflows: int
    rules: int
    silenced: int = 0  # by comments
    known: int = 0  # held by the baseline
    gone: int = 0  # held by the baseline, and no longer there

    def count(self, severity: Severity) -> int:
        """How many findings have a severity."""
        return sum(problem.severity == severity for problem in self.findings)

    def fails(self, at: Severity) -> bool:
        """Whether any finding is at or above a severity."""
        return any(RANK[problem.severity] >= RANK[at] for problem in self.findings)

    def fixable(self, *, safe: bool) -> int:
        """How many findings have a fix of that kind."""
        return sum(problem.fix is not None and problem.fix.safe == safe for problem in self.findings)

    def without(self, baseline: Counter[baselines.Key]) -> Report:
        """What is new against a baseline, which holds no faults of reading."""
        new, known, gone = baselines.leave_out(self.findings, baseline)
        return replace(self, findings=tuple(new), known=known, gone=gone)
