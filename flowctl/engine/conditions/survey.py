"""`survey` leaves: answers to a survey. The engine does not run them yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.engine.conditions.scope import Frame
    from flowctl.engine.segments import Probe
    from flowctl.language.conditions import SurveyLeaf


def sql(leaf: SurveyLeaf, frame: Frame, *, negated: bool) -> str:
    """Nothing: `apply` refuses it before."""
    raise NotImplementedError(leaf.subject)


def probes(leaf: SurveyLeaf, frame: Frame) -> Iterator[Probe]:
    """None."""
    yield from ()


def unsupported(leaf: SurveyLeaf, frame: Frame) -> str | None:
    """Why the engine does not run it."""
    return "the engine does not run `survey` conditions yet"
