"""Which workflows can never have the same contact: their audiences ask different values of a field that nothing here writes."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

from flowctl.language.conditions import AllOf, AnyOf, FieldLeaf, SegmentLeaf
from flowctl.language.steps import AddStep, AssignStep, SetStep, TagStep, UntagStep

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowctl.language.conditions import Condition
    from flowctl.lint.context import Context
    from flowctl.project.project import Project

Kept = dict[str, frozenset[object]]
"""Fields with the values that a contact must have one of; a field that is not there may have any."""
DEPTH_MAX = 20  # segments of segments
CASES_MAX = 64  # combinations of values looked at


def written_fields(context: Context) -> frozenset[str]:
    """Fields that a workflow or a score writes: what they say now they need not say tomorrow."""
    found = {name for score in context.project.scores.values() for name in (score.score, f"{score.score}_tier")}
    for journey in context.journeys:
        for step in journey.steps:
            match step:
                case SetStep():
                    found.update(step.set)
                case AddStep():
                    found.update(step.add)
                case TagStep():
                    found.update(step.tag)
                case UntagStep():
                    found.update(step.untag)
                case AssignStep():
                    found.add("owner")
                case _:
                    pass
    return frozenset(found)


def kept(condition: Condition | None, project: Project, written: frozenset[str], depth: int = 0) -> Kept:
    """What a condition asks of fixed fields, where it asks for values by name."""
    match condition:
        case FieldLeaf() if condition.field not in written:
            values = [condition.is_] if condition.is_ is not None else condition.in_
            plain = frozenset(value for value in values or () if isinstance(value, str | int | bool))
            return {condition.field: plain} if values and len(plain) == len(set(map(str, values))) else {}
        case AllOf():
            found: Kept = {}
            for part in condition.all_:
                for name, allowed in kept(part, project, written, depth).items():
                    found[name] = found[name] & allowed if name in found else allowed
            return found
        case AnyOf():
            return either([kept(part, project, written, depth) for part in condition.any_])
        case SegmentLeaf() if condition.segment in project.segments and depth < DEPTH_MAX:
            return kept(project.segments[condition.segment].match, project, written, depth + 1)
        case _:
            return {}


def either(parts: Sequence[Kept]) -> Kept:
    """What holds whichever of the parts does."""
    common = set.intersection(*(set(part) for part in parts)) if parts else set()
    return {name: frozenset().union(*(part[name] for part in parts)) for name in common}


def exclude(first: Kept, second: Kept) -> bool:
    """Whether no contact can be in both."""
    return any(name in second and not allowed & second[name] for name, allowed in first.items())


def worst_case(weighed: Sequence[tuple[Kept, int]]) -> dict[str, object]:
    """The kind of contact that has most: a value of each field that sets some apart.

    Where there are too many combinations of values the fields that few ask for are left out, which only adds.
    """
    values: dict[str, set[object]] = {}
    for one, _ in weighed:
        for name, allowed in one.items():
            values.setdefault(name, set()).update(allowed)
    parting = {name: sorted(found, key=str) for name, found in sorted(values.items()) if len(found) > 1}
    while len(parting) > 1 and _count(parting) > CASES_MAX:
        parting.pop(min(parting, key=lambda name: sum(name in one for one, _ in weighed)))
    if len(parting) == 1:
        ((name, _),) = parting.items()
        return {name: _heaviest(name, weighed)}
    combined = [dict(zip(parting, chosen, strict=True)) for chosen in product(*parting.values())]
    return max(combined, key=lambda case: sum(count for one, count in weighed if fits(one, case)))


def _heaviest(name: str, weighed: Sequence[tuple[Kept, int]]) -> object:
    """The value of one field that most is asked of; in one pass, since it may have as many values as there are workflows."""
    sums: dict[object, int] = {}
    for one, count in weighed:
        for value in one.get(name, ()):
            sums[value] = sums.get(value, 0) + count
    return max(sorted(sums, key=str), key=sums.__getitem__)


def fits(one: Kept, case: dict[str, object]) -> bool:
    """Whether such a contact can be in."""
    return all(case[name] in allowed for name, allowed in one.items() if name in case)


def _count(parting: dict[str, list[object]]) -> int:
    count = 1
    for found in parting.values():
        count *= len(found)
    return count
