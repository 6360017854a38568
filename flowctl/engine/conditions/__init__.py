"""Conditions as SQL: one leaf a module, of the same name as its model; this registry knows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from flowctl.engine.conditions import (
    data,
    event,
    field,
    inside,
    message,
    reachable,
    segment,
    survey,
    time,
    trigger,
    workflow,
)
from flowctl.engine.conditions import input as input_
from flowctl.engine.conditions.comparison import joined
from flowctl.engine.conditions.scope import Frame, Scope
from flowctl.engine.segments import Probe, merged
from flowctl.language.conditions import AllOf, AnyOf, Not, leaves

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.language.conditions import Condition
    from flowctl.language.model import Model


class LeafKind(Protocol):
    """What the module of a leaf offers."""

    def sql(self, leaf: Any, frame: Frame, *, negated: bool) -> str:
        """Boolean SQL, true where the leaf holds, or with `negated` where it does not; NULL only without `negated`."""

    def probes(self, leaf: Any, frame: Frame) -> Iterator[Probe]:
        """How its answer can change."""

    def unsupported(self, leaf: Any, frame: Frame) -> str | None:
        """Why the engine does not run it; None where it does."""


KINDS: dict[str, LeafKind] = {
    "field": field, "event": event, "segment": segment, "workflow": workflow, "reachable": reachable, "message": message, "survey": survey,
    "inside": inside, "time": time, "trigger": trigger, "data": data, "input": input_,
}  # fmt: skip


def sql(condition: Condition, scope: Scope) -> str:
    """Boolean SQL about one contact `c` (and one enrollment `w`): true where the condition holds, else false or NULL.

    It takes `:now`, UTC milliseconds; only facts up to then exist. Negate the condition, not the text: under NOT a NULL stays
    NULL, so where the text must be negated write `(…) IS NOT TRUE`.
    """
    return _render(condition, Frame(scope=scope), negated=False)


def full_sql(condition: Condition, scope: Scope) -> str:
    """`SELECT c.id …` of every contact for whom it holds at `:now`, as set algebra: for judging all of them at once."""
    return f"SELECT c.id FROM contacts c WHERE {_render(condition, Frame(scope=scope, full=True), negated=False)}"


def probes(condition: Condition, scope: Scope) -> list[Probe]:
    """Every way in which its answer for a contact can change; a new contact is always one."""
    frame = Frame(scope=scope)
    found = [Probe(kind="created")]
    for leaf in leaves(condition):
        found += KINDS[leaf.subject].probes(leaf, frame)
    return merged(found)


def unsupported(condition: Condition, scope: Scope) -> list[tuple[Model, str]]:
    """The leaves that the engine does not run, each with the reason."""
    frame = Frame(scope=scope)
    judged = [(leaf, KINDS[leaf.subject].unsupported(leaf, frame)) for leaf in leaves(condition)]
    return [(leaf, reason) for leaf, reason in judged if reason is not None]


def _render(condition: Condition, frame: Frame, *, negated: bool) -> str:
    """Negation goes down to the leaves, so that what stands beside them keeps its index."""
    match condition:
        case AllOf():
            parts = [_render(part, frame, negated=negated) for part in condition.all_]
            return joined(parts, " OR " if negated else " AND ")
        case AnyOf():
            parts = [_render(part, frame, negated=negated) for part in condition.any_]
            return joined(parts, " AND " if negated else " OR ")
        case Not():
            return _render(condition.not_, frame, negated=not negated)
        case _:
            return KINDS[condition.subject].sql(condition, frame, negated=negated)


__all__ = ["KINDS", "LeafKind", "Probe", "Scope", "full_sql", "probes", "sql", "unsupported"]
