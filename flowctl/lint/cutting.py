"""Where a long workflow can be cut: the stretch of steps that would be a module of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flowctl.language.steps import FetchStep, branches, walk
from flowctl.language.steps.send import SameChannel
from flowctl.lint.steps import TAKING_TIME, size

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from flowctl.language.steps import Step

SMALLEST = 3  # steps; less is no module
DEPENDS_COST = 1000  # a cut that something behind it refers across is taken only where there is no other
NO_WAIT_COST = 3  # a cut in front of a wait may be so many steps off the middle


@dataclass(frozen=True, kw_only=True, slots=True)
class Module:
    """Steps that stand together at the end of a list of steps."""

    steps: tuple[Step, ...]
    is_end: bool  # whether the journey ends behind them

    @property
    def size(self) -> int:
        """How many, those inside steps too."""
        return size(self.steps)

    @property
    def described(self) -> str:
        """The stretch in words: the first and the last step with their lines."""
        first, last = self.steps[0], self.steps[-1]
        return f"{_named(first)} to {_named(last)} (lines {first.place.line}-{_last_line(last)})"


def module_of(steps: Sequence[Step]) -> Module | None:
    """The best module of a workflow's steps; None where no cut leaves two parts worth having.

    A list with one large step is cut inside it: in its largest branch.
    """
    lists = [(list(steps), True)]
    best: tuple[int, Module] | None = None
    whole = size(steps)
    while lists:
        here, is_end = lists.pop()
        for index in range(1, len(here)):
            module = Module(steps=tuple(here[index:]), is_end=is_end)
            if SMALLEST <= module.size <= whole - SMALLEST:
                cost = _cost(here, index, module, whole)
                if best is None or cost < best[0]:
                    best = (cost, module)
        for position, step in enumerate(here):
            inner_is_end = is_end and position == len(here) - 1 and step.verb != "repeat"
            for _, branch in branches(step):
                if size(branch) > whole // 2:
                    lists.append((list(branch), inner_is_end))
    return best[1] if best else None


def _cost(steps: Sequence[Step], index: int, module: Module, whole: int) -> int:
    cost = abs(whole - 2 * module.size)
    if steps[index].verb not in TAKING_TIME:
        cost += NO_WAIT_COST
    inside = {step.name for step in walk(module.steps) if step.name}
    before = {step.name for step in walk(steps[:index]) if step.name} - inside
    saved = {step.fetch.save_as for step in walk(steps[:index]) if isinstance(step, FetchStep)}
    if any(name in before or name in saved for name in _mentioned(module.steps)):
        cost += DEPENDS_COST
    return cost


def _mentioned(steps: Sequence[Step]) -> Iterator[str]:
    """Names of steps and of fetched data that the steps refer to."""
    for step in walk(steps):
        via = getattr(step, "via", None)
        if isinstance(via, SameChannel):
            yield via.same_as
        for key in ("when", "if_", "wait_for", "choose", "repeat"):
            yield from _in_condition(getattr(step, key, None))


def _in_condition(value: Any) -> Iterator[str]:
    pending = [value]
    while pending:
        here = pending.pop()
        if isinstance(here, list):
            pending += here
        elif here is not None and hasattr(here, "model_fields_set"):
            if isinstance(since := getattr(here, "since", None), str):
                yield since
            data = getattr(here, "data", None)
            if isinstance(data, dict):
                yield from (path.partition(".")[0] for path in data)
            pending += [getattr(here, key, None) for key in ("all_", "any_", "not_", "when", "while_")]


def _named(step: Step) -> str:
    return f"`{step.name}`" if step.name else f"`{step.verb}`"


def _last_line(step: Step) -> int:
    place = step.place
    return place.end_line - 1 if place.end_column == 1 and place.end_line > place.line else place.end_line
