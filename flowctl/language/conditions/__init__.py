"""Conditions: one tree wherever a question is asked. One leaf a module; this registry makes the union."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Union

from pydantic import Discriminator, Tag
from typing_extensions import TypeAliasType

SUBJECTS = (
    "all", "any", "not", "field", "event", "segment", "workflow", "reachable", "message", "survey", "inside", "time", "trigger", "data", "input",
)  # fmt: skip


def subject(value: Any) -> str | None:
    """Which kind of condition a mapping is: its subject key."""
    if isinstance(value, dict):
        return next((key for key in SUBJECTS if key in value), None)
    return getattr(value, "subject", None)


Condition = TypeAliasType(
    "Condition",
    Annotated[
        Union[  # noqa: UP007 - forward references by name need Union
            Annotated["AllOf", Tag("all")],
            Annotated["AnyOf", Tag("any")],
            Annotated["Not", Tag("not")],
            Annotated["FieldLeaf", Tag("field")],
            Annotated["EventLeaf", Tag("event")],
            Annotated["SegmentLeaf", Tag("segment")],
            Annotated["WorkflowLeaf", Tag("workflow")],
            Annotated["ReachableLeaf", Tag("reachable")],
            Annotated["MessageLeaf", Tag("message")],
            Annotated["SurveyLeaf", Tag("survey")],
            Annotated["InsideLeaf", Tag("inside")],
            Annotated["TimeLeaf", Tag("time")],
            Annotated["TriggerLeaf", Tag("trigger")],
            Annotated["DataLeaf", Tag("data")],
            Annotated["InputLeaf", Tag("input")],
        ],
        Discriminator(subject),
    ],
)

from flowctl.language.conditions.data import DataLeaf  # noqa: E402 - the leaves need `Condition` first
from flowctl.language.conditions.event import EventLeaf  # noqa: E402
from flowctl.language.conditions.field import FieldLeaf  # noqa: E402
from flowctl.language.conditions.input import InputLeaf  # noqa: E402
from flowctl.language.conditions.inside import InsideLeaf  # noqa: E402
from flowctl.language.conditions.logic import AllOf, AnyOf, Not  # noqa: E402
from flowctl.language.conditions.message import MessageLeaf  # noqa: E402
from flowctl.language.conditions.reachable import ReachableLeaf  # noqa: E402
from flowctl.language.conditions.segment import SegmentLeaf  # noqa: E402
from flowctl.language.conditions.survey import SurveyLeaf  # noqa: E402
from flowctl.language.conditions.time import TimeLeaf  # noqa: E402
from flowctl.language.conditions.trigger import TriggerLeaf  # noqa: E402
from flowctl.language.conditions.workflow import WorkflowLeaf  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

Leaf = (
    FieldLeaf
    | EventLeaf
    | SegmentLeaf
    | WorkflowLeaf
    | ReachableLeaf
    | MessageLeaf
    | SurveyLeaf
    | InsideLeaf
    | TimeLeaf
    | TriggerLeaf
    | DataLeaf
    | InputLeaf
)


def leaves(condition: Condition) -> Iterator[Leaf]:
    """Every leaf of a condition, in the order written."""
    match condition:
        case AllOf():
            for part in condition.all_:
                yield from leaves(part)
        case AnyOf():
            for part in condition.any_:
                yield from leaves(part)
        case Not():
            yield from leaves(condition.not_)
        case _:
            yield condition


__all__ = [
    "SUBJECTS", "AllOf", "AnyOf", "Condition", "DataLeaf", "EventLeaf", "FieldLeaf", "InputLeaf", "InsideLeaf", "Leaf", "MessageLeaf", "Not",
    "ReachableLeaf", "SegmentLeaf", "SurveyLeaf", "TimeLeaf", "TriggerLeaf", "WorkflowLeaf", "leaves", "subject",
]  # fmt: skip
