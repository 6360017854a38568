"""Rules: one a module, its docstring its page; this registry names them all."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

from flowctl.failure import UsageFailure
from flowctl.language.faults import nearest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from flowctl.language.problem import Problem, Severity
    from flowctl.lint.context import Context

SLUGS = {
    "YML001": "syntax-error",
    "YML002": "duplicate-key",
    "YML003": "ambiguous-scalar",
    "YML004": "alias-or-tag",
    "YML005": "over-limit",
    "YML006": "unknown-key",
    "YML007": "invalid-value",
    "YML008": "invalid-suppression",
    "YML009": "swallowed-text",
    "REF001": "unknown-reference",
    "REF002": "duplicate-name",
    "REF003": "unused-definition",
    "FLO001": "unreachable-step",
    "FLO002": "dangling-branch",
    "FLO003": "wait-without-timeout",
    "FLO004": "zero-time-loop",
    "FLO005": "no-goal-exit",
    "FLO006": "no-reachability-check",
    "FLO007": "missing-else",
    "FLO008": "open-only-decision",
    "FLO009": "silent-reentry",
    "FLO010": "goal-shadows-step",
    "FLO011": "past-date",
    "CPX001": "multiple-goals",
    "CPX002": "too-many-decisions",
    "CPX003": "nested-decisions",
    "CPX004": "too-many-steps",
    "CPX005": "long-running",
    "CPX006": "mixed-purposes",
    "PRS001": "workflow-pressure",
    "PRS002": "combined-pressure",
    "PRS003": "unbounded-pressure",
    "PRS004": "cap-will-drop",
    "PRS005": "no-frequency-cap",
    "PRS006": "cap-bypass",
    "PRS007": "short-gap",
    "PRS008": "duplicate-trigger",
    "PRS009": "version-overlap",
    "PRS010": "no-fatigue-guard",
    "PRS011": "duplicate-objective",
    "AUD001": "everyone",
    "AUD002": "unsatisfiable",
    "AUD003": "feedback-loop",
    "AUD004": "endless-activation",
    "AUD005": "overlapping-tiers",
    "AUD006": "ignores-preferences",
    "CNS001": "no-consent-basis",
    "CNS002": "quiet-hours",
    "CNS003": "sms-without-stop",
    "CNS004": "no-unsubscribe",
    "CNS005": "no-sender-identity",
    "CNS006": "whatsapp-without-template",
    "CNS007": "whatsapp-promotion",
    "CNS008": "no-timezone-fallback",
    "CNT001": "repeated-message",
    "CNT002": "sms-segments",
    "CNT003": "missing-variable",
    "CNT004": "missing-language",
    "CNT005": "silence-counts-as-no",
    "CNT006": "unauthenticated-sender",
    "VER001": "lost-step",
    "VER002": "untested",
    "VER003": "stale",
    "STY001": "missing-metadata",
    "STY002": "no-human-touchpoint",
    "STY003": "nothing-learned",
    "STY004": "unnamed-step",
}
"""Every rule: its code and its slug, which is its module's name with hyphens."""
READING = frozenset({"YML001", "YML002", "YML004", "YML005", "YML006", "YML007", "REF001", "REF002"})
"""Faults found while files are read, by `validate` too: no judgement, so nothing switches them off."""


class Rule(Protocol):
    """What the module of a rule offers. A rule that also finds worse than its severity says so as WORST."""

    CODE: str
    SLUG: str
    SEVERITY: Severity

    def check(self, context: Context) -> Iterator[Problem]:
        """Every finding, over all files."""


def load(code: str) -> Rule:
    """The module of a rule."""
    return cast("Rule", import_module(f"{__name__}.{SLUGS[code].replace('-', '_')}"))


def worst(rule: Rule) -> Severity:
    """The highest severity that a rule can find."""
    severity: Severity = getattr(rule, "WORST", rule.SEVERITY)
    return severity


def title(code: str) -> str:
    """What a rule finds, in a line."""
    return (load(code).__doc__ or "").strip().partition("\n")[0].partition(": ")[2].rstrip(".")


def page(code: str) -> str:
    """What `flowctl rule` and docs/rules say about a rule: Markdown."""
    rule = load(code)
    body = (rule.__doc__ or "").strip().partition("\n")[2].strip()
    said = rule.SEVERITY if worst(rule) == rule.SEVERITY else f"{rule.SEVERITY}, or {worst(rule)} as said below"
    first = title(code)
    return f"# {code} {SLUGS[code]}\n\n{first[:1].upper()}{first[1:]}.\n\nSeverity: {said}.\n\n{body}\n"


def codes(names: Sequence[str], where: str) -> set[str]:
    """The codes that names stand for: a code, a slug, a family (`PRS`) or `all`, in any case.

    Raises:
        UsageFailure: nothing is named so; `where` says who said it.
    """
    by_name = {
        **{code: {code} for code in SLUGS},
        **{slug.upper(): {code} for code, slug in SLUGS.items()},
        "ALL": set(SLUGS),
    }
    for code in SLUGS:
        by_name.setdefault(code[:3], set()).add(code)
    found: set[str] = set()
    for name in names:
        if name.strip().upper() not in by_name:
            near = nearest(name.upper(), by_name) or nearest(name, SLUGS.values())
            message = f"{where}: there is no rule `{name}`" + (f"; did you mean `{_cased(near)}`?" if near else "")
            raise UsageFailure(message, help="`flowctl rule` lists them")
        found |= by_name[name.strip().upper()]
    return found


def _cased(name: str) -> str:
    return name if name in SLUGS or len(name) == len("PRS") else name.lower()
