"""What bounds the facts a leaf looks at: `since`, `between`, and that only what has happened exists."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowctl.engine.conditions.literal import literal
from flowctl.engine.conditions.scope import ARRIVAL, ENTRY
from flowctl.language.durations import Duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowctl.engine.conditions.scope import Frame, Scope

# The event that caused the entry and others of the same instant: who came later, by order of arrival.
_AFTER_CAUSE = "{alias}.id > (SELECT CAST(substr(n.cause, 7) AS INTEGER) FROM enrollments n WHERE n.id = w.eid AND n.cause LIKE 'event:%')"


def since_bounds(since: Duration | str | None, scope: Scope, alias: str, *, events: bool = True) -> list[str]:
    """SQL of what facts of `alias` must satisfy to be recent enough.

    A step's id gives a comparison with NULL, so nothing, where the contact never left it.
    """
    bounds: list[str] = []
    if events and scope.since is not None and (since is None or scope.since == ENTRY):
        bounds += _after(scope.since, alias, events=events)
    match since:
        case Duration():
            bounds.append(f"{alias}.at > :now - {since.elapsed_ms:d}")
        case None | "ever":
            pass
        case "entry":
            bounds += [] if events and scope.since == ENTRY else _after(ENTRY, alias, events=events)
        case _:
            bounds.append(f"{alias}.at > {left_at(since)}")
    return bounds


def left_at(step: str) -> str:
    """SQL of when `w` last left a step; NULL where never."""
    return f"(SELECT k.at FROM marks k WHERE k.enrollment_id = w.eid AND k.step = {literal(step)})"


def never_there(since: Duration | str | None) -> str:
    """SQL that is true where `since` names a step that `w` has left; '' where it names none."""
    if since is None or isinstance(since, Duration) or since in ("ever", "entry"):
        return ""
    return f"{left_at(since)} IS NOT NULL"


def edges(since: Duration | str | None, between: Sequence[Duration] | None) -> list[int]:
    """The ages, in ms, at which a fact enters or leaves the window."""
    if between is not None:
        return [end.elapsed_ms for end in between]
    return [since.elapsed_ms] if isinstance(since, Duration) else []


def needs_enrollment(since: Duration | str | None) -> bool:
    """Whether `since` only means something inside a workflow."""
    return isinstance(since, str) and since != "ever"


def counted(found: str, bounds: dict[str, float], frame: Frame) -> str:
    """SQL that compares how many rows `found` (`FROM … WHERE …`) has; counts no further than it must."""
    if set(bounds) <= {"gte", "gt"}:
        least = max(bounds.get("gte", 0), bounds.get("gt", -1) + 1)
        if least <= 1 and least == int(least):
            return f"EXISTS (SELECT 1 {found})" if least == 1 else "1"
        if least == int(least):
            return f"(SELECT count(*) FROM (SELECT 1 {found} LIMIT {int(least)})) >= {int(least)}"
    if holds(0, bounds) and set(bounds) == {"is"}:
        return f"NOT EXISTS (SELECT 1 {found})"
    return bounded(f"(SELECT count(*) {found})", bounds)


def bounded(value: str, bounds: dict[str, float]) -> str:
    """SQL that compares a number with bounds."""
    signs = {"is": "=", "gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
    tests = [f"{value} {signs[name]} {literal(bound)}" for name, bound in bounds.items()]
    return tests[0] if len(tests) == 1 else f"({' AND '.join(tests)})"


def holds(value: float, bounds: dict[str, float]) -> bool:
    """Whether a number is within bounds."""
    tests = {
        "is": value == bounds.get("is", value), "gt": value > bounds.get("gt", value - 1), "gte": value >= bounds.get("gte", value),
        "lt": value < bounds.get("lt", value + 1), "lte": value <= bounds.get("lte", value),
    }  # fmt: skip
    return all(tests.values())


def _after(bound: str, alias: str, *, events: bool) -> list[str]:
    if bound == ENTRY and events:
        tie = _AFTER_CAUSE.format(alias=alias)
        return [f"{alias}.at >= {bound}", f"({alias}.at > {bound} OR {tie})"]
    if bound == ARRIVAL and events:  # a step reached without time passing was reached at the entry
        tie = f"{ARRIVAL} = {ENTRY} AND {_AFTER_CAUSE.format(alias=alias)}"
        return [f"{alias}.at >= {bound}", f"({alias}.at > {bound} OR {tie})"]
    return [f"{alias}.at > {bound}"]
