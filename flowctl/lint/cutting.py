"""Where a long workflow can be cut: the stretch of steps that would be a module of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowctl.language.conditions import DataLeaf, EventLeaf, MessageLeaf, SurveyLeaf, leaves
from flowctl.language.steps import FetchStep, SendStep, branches, walk
from flowctl.language.steps.send import SameChannel
from flowctl.lint.steps import TAKING_TIME, questions, size

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

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
        sizes = [size([step]) for step in here]
        crossed = _crossed(here)
        behind = sum(sizes)
        for index in range(1, len(here)):
            behind -= sizes[index - 1]
            if SMALLEST <= behind <= whole - SMALLEST:
                waits = here[index].verb in TAKING_TIME
                cost = (
                    abs(whole - 2 * behind) + (0 if waits else NO_WAIT_COST) + (DEPENDS_COST if index in crossed else 0)
                )
                if best is None or cost < best[0]:
                    best = (cost, Module(steps=tuple(here[index:]), is_end=is_end))
        for position, step in enumerate(here):
            inner_is_end = is_end and position == len(here) - 1 and step.verb != "repeat"
            lists += [(list(branch), inner_is_end) for _, branch in branches(step) if size(branch) > whole // 2]
    return best[1] if best else None


def free_name(name: str, declared: Collection[str]) -> str:
    """`cart-2`, or the next number that is free."""
    number = 2
    while f"{name}-{number}" in declared:
        number += 1
    return f"{name}-{number}"


def _crossed(steps: Sequence[Step]) -> set[int]:
    """The cuts of a list across which a later step refers to an earlier one, or to data that it fetched."""
    last_named: dict[str, int] = {}
    crossed: set[int] = set()
    for index, step in enumerate(steps):
        for name in mentioned(step):
            if name in last_named:
                crossed.update(range(last_named[name] + 1, index + 1))
        for one in walk([step]):
            if one.name:
                last_named[one.name] = index
            if isinstance(one, FetchStep):
                last_named[one.fetch.save_as] = index
    return crossed


def mentioned(step: Step) -> Iterator[str]:
    """Names of steps and of fetched data that a step, and those inside it, refer to."""
    for one in walk([step]):
        if isinstance(one, SendStep) and isinstance(one.via, SameChannel):
            yield one.via.same_as
        for condition in questions(one):
            for leaf in leaves(condition):
                if isinstance(leaf, EventLeaf | MessageLeaf | SurveyLeaf) and isinstance(leaf.since, str):
                    yield leaf.since
                elif isinstance(leaf, DataLeaf):
                    yield from (path.partition(".")[0] for path in leaf.data)


def _named(step: Step) -> str:
    return f"`{step.name}`" if step.name else f"`{step.verb}`"


def _last_line(step: Step) -> int:
    place = step.place
    return place.end_line - 1 if place.end_column == 1 and place.end_line > place.line else place.end_line
