"""Steps: one verb each. One kind a module; this registry makes the union."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Union

from pydantic import Discriminator, Tag
from typing_extensions import TypeAliasType

VERBS = (
    "send", "wait", "wait_until", "wait_for", "if", "choose", "split", "repeat", "set", "add", "tag", "untag", "consent", "assign", "create",
    "notify", "task", "start", "stop", "fetch", "advertise", "exit",
)  # fmt: skip


def verb(value: Any) -> str | None:
    """Which step a mapping is: its verb."""
    if isinstance(value, dict):
        return next((key for key in VERBS if key in value), None)
    return getattr(value, "verb", None)


Step = TypeAliasType(
    "Step",
    Annotated[
        Union[  # noqa: UP007 - forward references by name need Union
            Annotated["SendStep", Tag("send")],
            Annotated["WaitStep", Tag("wait")],
            Annotated["WaitUntilStep", Tag("wait_until")],
            Annotated["WaitForStep", Tag("wait_for")],
            Annotated["IfStep", Tag("if")],
            Annotated["ChooseStep", Tag("choose")],
            Annotated["SplitStep", Tag("split")],
            Annotated["RepeatStep", Tag("repeat")],
            Annotated["SetStep", Tag("set")],
            Annotated["AddStep", Tag("add")],
            Annotated["TagStep", Tag("tag")],
            Annotated["UntagStep", Tag("untag")],
            Annotated["ConsentStep", Tag("consent")],
            Annotated["AssignStep", Tag("assign")],
            Annotated["CreateStep", Tag("create")],
            Annotated["NotifyStep", Tag("notify")],
            Annotated["TaskStep", Tag("task")],
            Annotated["StartStep", Tag("start")],
            Annotated["StopStep", Tag("stop")],
            Annotated["FetchStep", Tag("fetch")],
            Annotated["AdvertiseStep", Tag("advertise")],
            Annotated["ExitStep", Tag("exit")],
        ],
        Discriminator(verb),
    ],
)

from flowctl.language.steps.advertise import AdvertiseStep  # noqa: E402 - the steps need `Step` first
from flowctl.language.steps.assign import AssignStep  # noqa: E402
from flowctl.language.steps.change import AddStep, SetStep, TagStep, UntagStep  # noqa: E402
from flowctl.language.steps.choose import ChooseStep, IfStep, Option  # noqa: E402
from flowctl.language.steps.consent import ConsentStep  # noqa: E402
from flowctl.language.steps.create import CreateStep  # noqa: E402
from flowctl.language.steps.exit import ExitStep  # noqa: E402
from flowctl.language.steps.fetch import FetchStep  # noqa: E402
from flowctl.language.steps.notify import NotifyStep  # noqa: E402
from flowctl.language.steps.repeat import RepeatStep  # noqa: E402
from flowctl.language.steps.send import SendStep  # noqa: E402
from flowctl.language.steps.split import SplitStep  # noqa: E402
from flowctl.language.steps.start import StartStep, StopStep  # noqa: E402
from flowctl.language.steps.task import TaskStep  # noqa: E402
from flowctl.language.steps.wait import WaitStep  # noqa: E402
from flowctl.language.steps.wait_for import WaitForStep  # noqa: E402
from flowctl.language.steps.wait_until import WaitUntilStep  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


_WITH_BRANCHES = frozenset({IfStep, ChooseStep, SplitStep, RepeatStep, WaitForStep, TaskStep, SendStep, WaitUntilStep})


def branches(step: Step) -> tuple[tuple[str, Sequence[Step]], ...]:
    """The lists of steps inside a step, each with the key it stands under."""
    if type(step) not in _WITH_BRANCHES:  # most have none; asking pydantic's classes one by one takes ten times as long
        return ()
    match step:
        case IfStep():
            return (("then", step.then), ("else", step.else_))
        case ChooseStep():
            return (
                *((f"choose.{index}", option.do) for index, option in enumerate(step.choose)),
                ("otherwise", step.otherwise),
            )
        case SplitStep():
            return tuple((f"paths.{name}", path) for name, path in step.paths.items())
        case RepeatStep():
            return (("steps", step.steps),)
        case WaitForStep() | TaskStep():
            return (("then", step.then), ("on_timeout", step.on_timeout))
        case SendStep():
            return (("on_skip", step.on_skip),) if isinstance(step.on_skip, list) else ()
        case WaitUntilStep():
            ways = (("on_missing", step.on_missing), ("on_past", step.on_past))
            return tuple((key, way) for key, way in ways if isinstance(way, list))
        case _:
            return ()


def walk(steps: Sequence[Step]) -> Iterator[Step]:
    """Every step, those inside steps too, in the order written."""
    for step in steps:
        yield step
        for _, inside in branches(step):
            yield from walk(inside)


__all__ = [
    "VERBS", "AddStep", "AdvertiseStep", "AssignStep", "ChooseStep", "ConsentStep", "CreateStep", "ExitStep", "FetchStep", "IfStep", "NotifyStep",
    "Option", "RepeatStep", "SendStep", "SetStep", "SplitStep", "StartStep", "Step", "StopStep", "TagStep", "TaskStep", "UntagStep", "WaitForStep",
    "WaitStep", "WaitUntilStep", "branches", "verb", "walk",
]  # fmt: skip
