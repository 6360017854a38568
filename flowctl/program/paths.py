"""Ways through a flat program: what each way out of a step takes at least and at most, and the longest way of all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowctl.language.durations import DAY_MS, MS_PER
from flowctl.language.settings import EXPIRE_AFTER
from flowctl.language.steps import RepeatStep, SendStep, TaskStep, WaitForStep, WaitStep, WaitUntilStep
from flowctl.language.steps.wait import Spread
from flowctl.language.steps.wait_until import UntilBestTime, UntilSlot
from flowctl.program.instructions import NEXT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flowctl.language.durations import Duration
    from flowctl.language.message import Message
    from flowctl.program.instructions import Instruction, Program

CLOCK_CHANGE_MS = MS_PER["h"]
WEEK_MS = 7 * DAY_MS


def least_ms(instruction: Instruction, label: str) -> int | None:
    """The least milliseconds a way out of a step takes; None where nobody can go that way.

    Events can come at once, and a date in a field may change to now; only spans of time are certain.
    """
    step = instruction.step
    if label != "timeout" and instruction.op != "wait":
        return 0
    match step:
        case WaitStep() if instruction.op == "wait":
            return (step.wait.between[0] if isinstance(step.wait, Spread) else step.wait).shortest_ms
        case WaitForStep() if instruction.op == "wait_for" and label == "timeout":
            return step.timeout.shortest_ms if step.timeout is not None else None
        case TaskStep() if instruction.op == "task" and label == "timeout":
            return step.task.timeout.shortest_ms if step.task.timeout is not None else None
        case _:
            return 0


def longest_way(program: Program, messages: Mapping[str, Message]) -> int | None:
    """The most milliseconds a run can last, holds by caps and quiet hours included; None where nothing bounds it.

    Of a repeat each turn lasts at most as long as its steps and `every`, which counts from a send within them.
    """
    longest: list[int] = [0] * len(program.instructions)
    for instruction in reversed(program.instructions):  # targets stand behind, but for a repeat's
        if instruction.op == "again":
            continue  # a turn's steps are measured up to here
        if isinstance(instruction.step, RepeatStep) and instruction.op == "repeat":
            repeat = instruction.step.repeat
            every_ms = max(_longest_ms(span) for span in repeat.every)
            turns_ms = repeat.max * (longest[instruction.targets["turn"]] + every_ms)
            longest[instruction.pc] = turns_ms + longest[instruction.next]
            continue
        here = 0
        for label, target in instruction.targets.items():
            apart_ms = _most_ms(instruction, label, messages)
            if apart_ms is None:
                return None
            here = max(here, apart_ms + longest[target])
        longest[instruction.pc] = here
    on_goal_ms = longest[program.on_goal] if program.on_goal is not None else 0
    return longest[0] + on_goal_ms


def _most_ms(instruction: Instruction, label: str, messages: Mapping[str, Message]) -> int | None:
    step = instruction.step
    if instruction.op == "branch":
        return 0
    match step:
        case WaitStep():
            until_time_ms = DAY_MS + CLOCK_CHANGE_MS if step.time is not None else 0
            return _longest_ms(step.wait.between[1] if isinstance(step.wait, Spread) else step.wait) + until_time_ms
        case WaitForStep():
            return _longest_ms(step.timeout) if step.timeout is not None else None
        case TaskStep():
            return _longest_ms(step.task.timeout) if step.task.timeout is not None else None
        case WaitUntilStep():
            until = step.wait_until
            if isinstance(until, UntilSlot):
                return WEEK_MS + CLOCK_CHANGE_MS
            return _longest_ms(until.best_time.within) if isinstance(until, UntilBestTime) else None
        case SendStep() if label == NEXT or step.on_skip != "exit":
            message = messages.get(step.send)
            return (step.expire_after or (message.expire_after if message else None) or EXPIRE_AFTER).elapsed_ms
        case _:
            return 0


def _longest_ms(span: Duration) -> int:
    """A month has at most 31 days, and a day of a clock change 25 hours."""
    calendar = span.months * 31 * DAY_MS + span.days * DAY_MS
    return calendar + (CLOCK_CHANGE_MS if calendar else 0) + span.ms
