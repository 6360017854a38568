"""The pressure bounds of a project as numbers to show: for each workflow, channel and the whole, the most that windows can hold."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from flowctl.language.durations import DAY_MS, MS_PER
from flowctl.lint.bounds import ALL, CHANNELS
from flowctl.lint.context import Context
from flowctl.lint.suppressions import Suppressions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from flowctl.lint.budgets import Measure
    from flowctl.lint.combined import Combined
    from flowctl.lint.context import Journey
    from flowctl.project.project import Project

TOLD_MAX = 60  # sends; more is told as so many or more
DAYS_SHOWN = (1, 7, 30)
WINDOWS_SHOWN = {days: days * DAY_MS for days in DAYS_SHOWN}
STEP_MS = MS_PER["h"] * 12
POINTS = 60  # of a curve: 30 days


@dataclass(frozen=True, kw_only=True, slots=True)
class Limit:
    """A window, how many it may hold, and how many it can."""

    count: int
    window_ms: int
    is_cap: bool
    most: int


@dataclass(frozen=True, kw_only=True, slots=True)
class PressureCurve:
    """One curve. `workflow` is empty for all together; `channel` may be `all`; `most` is at 12 h, 24 h, … 30 days.

    `key`: the bound is for each value of it. `unbounded`: nothing bounds it, and the rest is empty.
    """

    workflow: str
    channel: str
    most: tuple[int, ...]
    limits: tuple[Limit, ...]
    key: str = ""
    unbounded: bool = False

    def within(self, window_ms: int) -> int | None:
        """The most in a window that is a multiple of 12 h, up to 30 days; None where nothing bounds it."""
        return self.most[window_ms // STEP_MS - 1] if self.most else None

    @property
    def exceeded(self) -> tuple[Limit, ...]:
        """The limits that it can exceed."""
        return tuple(limit for limit in self.limits if limit.most > limit.count)


def pressure_curves(project: Project, *, workflow: str = "") -> list[PressureCurve]:
    """Each workflow on each channel it uses and on all, then all workflows together likewise; or one workflow's alone."""
    context = Context(project, Suppressions({}))
    found = [
        one
        for journey in context.journeys
        if not workflow or journey.name == workflow
        for one in _of_workflow(context, journey)
    ]
    return found if workflow else [*found, *_of_all(context, context.combined)]


def _of_workflow(context: Context, journey: Journey) -> Iterator[PressureCurve]:
    pressure = journey.pressure
    if pressure is None or pressure.is_too_large:
        return
    used = pressure.used_channels()
    rates = {measure.name: measure for measure in context.measures(used)}
    for channel, channels in _lines(used):
        bound = pressure.bound(channels)
        if bound.is_unbounded:
            yield PressureCurve(workflow=journey.name, channel=channel, most=(), limits=(), unbounded=True)
            continue
        yield PressureCurve(
            workflow=journey.name,
            channel=channel,
            most=tuple(bound.most(window, TOLD_MAX) for window in _windows()),
            limits=_limits(rates.get(channel), partial(bound.most, sends_max=TOLD_MAX)),
            key=bound.key,
        )


def _of_all(context: Context, combined: Combined) -> Iterator[PressureCurve]:
    """All together; those that nothing bounds are left out, since PRS003 tells them."""
    rates = {measure.name: measure for measure in context.measures(combined.channels)}
    for channel, channels in _lines(combined.channels):

        def most(window_ms: int, channels: Sequence[str] = channels) -> int:
            return combined.total(channels, window_ms, TOLD_MAX).count

        yield PressureCurve(
            workflow="",
            channel=channel,
            most=tuple(most(window) for window in _windows()),
            limits=_limits(rates.get(channel), most),
        )


def _windows() -> Iterator[int]:
    return (STEP_MS * number for number in range(1, POINTS + 1))


def _lines(used: Sequence[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    yield from ((channel, (channel,)) for channel in used)
    if len(used) > 1:
        yield ALL, CHANNELS


def _limits(measure: Measure | None, most: Callable[[int], int]) -> tuple[Limit, ...]:
    if measure is None:
        return ()
    spans = [(rate.count, rate.per.elapsed_ms) for rate in measure.rates]
    return tuple(
        Limit(count=count, window_ms=window_ms, is_cap=measure.is_cap, most=most(window_ms))
        for count, window_ms in spans
    )
