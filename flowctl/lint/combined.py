"""The pressure bound of a whole project: curves of workflows that can have the same contact add up."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from flowctl.lint import merging
from flowctl.lint.bounds import Pressure, clock, sent_on
from flowctl.lint.budgets import in_order
from flowctl.lint.exclusion import Kept, either, fits, worst_case

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowctl.lint.bounds import Sent
    from flowctl.lint.context import Context, Journey
    from flowctl.program.graph import Node

MEMBERS_MAX = 30  # of a group that is merged; each can follow each, and of a larger one the sum is told
NAMED = 3  # workflows that add most, told by name


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """What one unit adds to a window."""

    unit: Unit
    count: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Total:
    """The most that a window can hold, and who adds to it, the most first. `is_more`: some were counted only so far."""

    count: int
    parts: tuple[Part, ...]
    is_more: bool

    @property
    def shown(self) -> str:
        """The number, or so many or more."""
        return f"{self.count} or more" if self.is_more else str(self.count)

    @property
    def named(self) -> str:
        """Who adds most: `a` 3, `b` 2 and `c` 1, and how many more there are."""
        told = [f"`{part.unit.name}` {part.count}" for part in self.parts[:NAMED]]
        if len(self.parts) > NAMED:
            more = len(self.parts) - NAMED
            return f"{', '.join(told)} and {more} more workflow{'s' if more > 1 else ''}"
        return f"{', '.join(told[:-1])} and {told[-1]}" if len(told) > 1 else told[0]


@dataclass(frozen=True, kw_only=True, slots=True)
class Sighting:
    """One message of a worst case over several workflows."""

    at_ms: int
    node: Node
    journey: Journey


class Unit:
    """Workflows of which a contact is in one at a time; mostly a single one."""

    def __init__(self, journeys: Sequence[Journey], merged: Pressure | None = None) -> None:
        self.journeys = tuple(journeys)
        self.merged = merged
        self._most: dict[tuple[tuple[str, ...], int, int], int] = {}

    @property
    def name(self) -> str:
        """The workflows', joined."""
        return "` or `".join(journey.name for journey in self.journeys)

    @cached_property
    def kept(self) -> Kept:
        """What every contact inside has."""
        return either([journey.kept for journey in self.journeys])

    def most(self, channels: Sequence[str], window_ms: int, sends_max: int) -> int:
        """The most it can send within a window; counted no further than `sends_max`. What has no bound is left to PRS003."""
        key = (tuple(channels), window_ms, sends_max)
        if key not in self._most:
            self._most[key] = self._count(channels, window_ms, sends_max)
        return self._most[key]

    def witness(self, channels: Sequence[str], count: int) -> list[Sighting]:
        """The fastest way to so many messages; to as many as can be told."""
        if self.merged is not None and not self._is_unbounded(self.merged, channels):
            owners = {id(node): journey for journey in self.journeys for node in journey.graph.nodes}
            way = self.merged.bound(channels).witness(count)
            return _spaced([Sighting(at_ms=sent.at_ms, node=sent.node, journey=owners[id(sent.node)]) for sent in way])
        found = [
            Sighting(at_ms=sent.at_ms, node=sent.node, journey=journey)
            for journey in self.journeys
            for sent in _way(journey, channels, count)
        ]
        return _spaced(sorted(found, key=lambda one: (one.at_ms, one.node.place)))[:count]

    def _count(self, channels: Sequence[str], window_ms: int, sends_max: int) -> int:
        apart = min(sends_max, sum(_most(journey, channels, window_ms, sends_max) for journey in self.journeys))
        if apart > 1 and self.merged is not None and not self._is_unbounded(self.merged, channels):
            return min(apart, self.merged.bound(channels).most(window_ms, sends_max))
        return apart

    def _is_unbounded(self, merged: Pressure, channels: Sequence[str]) -> bool:
        """Whether the one graph tells nothing: its members can follow each other round and round in no time."""
        return merged.is_too_large or merged.bound(channels).is_unbounded


class Combined:
    """All workflows that run and send marketing, as units whose curves add up where a contact can be in both."""

    def __init__(self, context: Context) -> None:
        self.units = list(_units(context))

    @cached_property
    def channels(self) -> tuple[str, ...]:
        """The channels used, in the language's order."""
        journeys = [journey for unit in self.units for journey in unit.journeys]
        return in_order({one for journey in journeys if journey.pressure for one in journey.pressure.used_channels()})

    def total(self, channels: Sequence[str], window_ms: int, sends_max: int) -> Total:
        """The most that one contact can be sent within a window, over the worst kind of contact."""
        parts = [
            Part(unit=unit, count=count) for unit in self.units if (count := unit.most(channels, window_ms, sends_max))
        ]
        case = worst_case([(part.unit.kept, part.count) for part in parts])
        best = [part for part in parts if fits(part.unit.kept, case)]
        best.sort(key=lambda part: (-part.count, part.unit.name))
        return Total(
            count=sum(part.count for part in best),
            parts=tuple(best),
            is_more=any(part.count >= sends_max for part in best),
        )

    def witness(self, total: Total, channels: Sequence[str], count: int) -> list[Sighting]:
        """The first so many messages of the worst case, in order of time."""
        found = [
            sighting for part in total.parts[:count] for sighting in part.unit.witness(channels, min(part.count, count))
        ]
        return sorted(found, key=lambda one: (one.at_ms, one.node.place))[:count]


def told(way: Sequence[Sighting], *, more: int = 0) -> list[str]:
    """A worst case over several workflows as lines."""
    rows = [
        (clock(one.at_ms), f"{one.journey.name}/{one.node.name}", sent_on(one.node), str(one.node.place)) for one in way
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [
        f"   {time:>{widths[0]}}  {where:<{widths[1]}}  {channel:<{widths[2]}}  {place}"
        for time, where, channel, place in rows
    ]
    rest = [f"   {'...':>{widths[0]}}  {more} more"] if more > 0 else []
    return ["worst case (every wait at its shortest):", *lines, *rest]


def _units(context: Context) -> list[Unit]:
    """Groups and chains merged, all others alone."""
    running = [journey for journey in context.journeys if _counts(journey)]
    groups: dict[str, list[Journey]] = {}
    for journey in running:
        if journey.workflow.exclusive_group is not None and merging.is_a_path(journey):
            groups.setdefault(journey.workflow.exclusive_group, []).append(journey)
    units = [
        Unit(members, Pressure(merging.one_of_a_group(members)) if len(members) <= MEMBERS_MAX else None)
        for members in groups.values()
        if len(members) > 1
    ]
    if context.starters:
        units += [
            Unit(chain, Pressure(merging.handed_over(chain, context)))
            for chain in merging.chains(context).values()
            if any(journey in running for journey in chain)
        ]
    taken = {journey.name for unit in units for journey in unit.journeys}
    return units + [Unit([journey]) for journey in running if journey.name not in taken]


def _counts(journey: Journey) -> bool:
    return journey.workflow.state != "draft" and journey.pressure is not None and not journey.pressure.is_too_large


def _spaced(way: Sequence[Sighting]) -> list[Sighting]:
    """A way without the messages that go `once` within a time, where they come again before it is over."""
    last: dict[str, int] = {}
    found: list[Sighting] = []
    for one in way:
        sending = one.node.sending
        if sending is not None and sending.once_ms is not None:
            if one.at_ms - last.get(sending.message, -sending.once_ms) < sending.once_ms:
                continue
            last[sending.message] = one.at_ms
        found.append(one)
    return found


def _most(journey: Journey, channels: Sequence[str], window_ms: int, sends_max: int) -> int:
    pressure = journey.pressure
    if pressure is None or pressure.is_too_large:
        return 0
    bound = pressure.bound(channels)
    return 0 if not bound.sends or bound.is_unbounded else bound.most(window_ms, sends_max)


def _way(journey: Journey, channels: Sequence[str], count: int) -> list[Sent]:
    pressure = journey.pressure
    bound = pressure.bound(channels) if pressure is not None and not pressure.is_too_large else None
    return bound.witness(count) if bound is not None and bound.sends and not bound.is_unbounded else []
