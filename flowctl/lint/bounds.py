"""The pressure bound of one workflow: its arrival curves by channel, re-entry included."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import ceil
from typing import TYPE_CHECKING

from flowctl.language.settings import EXPIRE_AFTER
from flowctl.language.steps import SendStep
from flowctl.lint.pressure import Curve, Gaps, curve, separations, zero_cycle

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from flowctl.language.message import Message
    from flowctl.program.graph import Node, TimeGraph

ALL = "all"
CHANNELS = ("email", "sms", "whatsapp", "push", "web_push", "in_app", "on_site")
SENDS_MAX = 400  # of one graph, repeats unrolled; the time grows with the square
SENDS_TOLD = 10  # counts are told at least so far; from there on as "or more"


@dataclass(frozen=True, kw_only=True, slots=True)
class Sent:
    """One message of a worst case: where, and when after the first."""

    node: Node
    at_ms: int


class Pressure:
    """The bounds of one workflow; what they share is computed once."""

    def __init__(self, graph: TimeGraph) -> None:
        self.graph = graph
        self.sends = [index for index, sending in graph.sendings() if sending.marketing]
        self.is_too_large = len(self.sends) > SENDS_MAX
        self._bounds: dict[tuple[str, ...], Bound] = {}
        self._by_sends: dict[tuple[int, ...], Bound] = {}

    def bound(self, channels: Sequence[str]) -> Bound:
        """The bound on some channels; one and the same where they are those of the same sends."""
        key = tuple(channels)
        if key not in self._bounds:
            used = frozenset(channels)
            sends = tuple(send for send in self.sends if not used.isdisjoint(self.channels_of(send)))
            if sends not in self._by_sends:
                self._by_sends[sends] = Bound(self, sends)
            self._bounds[key] = self._by_sends[sends]
        return self._bounds[key]

    def used_channels(self) -> list[str]:
        """The channels on which it can send marketing, in the language's order."""
        used = {channel for send in self.sends for channel in self.channels_of(send)}
        return [channel for channel in CHANNELS if channel in used]

    def channels_of(self, send: int) -> tuple[str, ...]:
        """The channels a message may take."""
        sending = self.graph.nodes[send].sending
        return sending.channels if sending is not None else ()

    def gaps(self, sends: Sequence[int], *, one_run: bool) -> Gaps:
        """The separations of some of the sends: those of all, with ways through the others."""
        every = self._gaps_of_one_run if one_run else self._gaps_of_runs
        if len(sends) == len(self.sends):
            return every
        arrows = {send: list(targets.items()) for send, targets in every.items()}
        return separations(arrows, sends)

    @cached_property
    def _gaps_of_one_run(self) -> Gaps:
        return separations(self.graph.arrows, self.sends)

    @cached_property
    def _gaps_of_runs(self) -> Gaps:
        return separations(self.graph.all_arrows(), self.sends) if self.graph.comeback_arrows else self._gaps_of_one_run


class Bound:
    """How many marketing messages one contact can be sent by one workflow, on some channels.

    `key`: the bound holds for each value of it; a second run of the same value can go beside the first too. `cycle`: sends that can follow each other without end in no time; where
    there is one, or runs side by side have no gap, there is no bound.
    """

    def __init__(self, pressure: Pressure, sends: Sequence[int]) -> None:
        self.pressure = pressure
        self.graph = pressure.graph
        self.sends = sends
        self.key = self.graph.comeback.key
        self._curve: tuple[int, Curve] | None = None
        self._free_curve: tuple[int, Curve] | None = None

    @property
    def is_side_by_side(self) -> bool:
        """Whether runs of one contact (and key) can overlap."""
        return self.graph.comeback.kind == "parallel"

    @cached_property
    def cycle(self) -> tuple[Node, ...]:
        """Sends that a contact who comes back gets round and round in no time; empty where there are none."""
        if self.is_side_by_side or not self._free or not self.graph.comeback_arrows or self._is_spaced_by_entry:
            return ()
        found = zero_cycle(self.pressure.gaps(self._free, one_run=False))
        return tuple(self.graph.nodes[index] for index in found or ())

    @cached_property
    def is_unbounded(self) -> bool:
        """Whether no number of messages is the most."""
        if not self._free:
            return False
        if self.is_side_by_side:
            return self._live_ms is None
        return bool(self.cycle)

    def most(self, window_ms: int, sends_max: int) -> int:
        """The most messages that any window of that length can hold; counted no further than `sends_max`."""
        found = min(sends_max, self._told(sends_max).most(window_ms) * self._runs(window_ms))
        if found and self._once:
            most = self._told_free(sends_max).most(window_ms) * self._runs(window_ms)
            found = min(found, most + sum(ceil(window_ms / once_ms) for once_ms in self._once.values()))
        return found

    def witness(self, count: int) -> list[Sent]:
        """The fastest way to so many messages, or to as many as one way holds."""
        told = self._told(count)
        way = told.witness(min(count, len(told.soonest_ms)))
        return [Sent(node=self.graph.nodes[index], at_ms=at_ms) for index, at_ms in way]

    def late_comers(self, count: int) -> dict[int, int]:
        """The sends that can be the last of so many, each with its least time after the first; none where runs are counted instead."""
        if self.is_unbounded or self.is_side_by_side or self._is_spaced_by_entry:
            return {}
        told = self._told(count)
        return dict(told.times[count - 1]) if len(told.soonest_ms) >= count else {}

    def has_way_to(self, last: int, count: int) -> bool:
        """Whether `way_to` tells one."""
        return not self._once or self.way_to(last, count) is not None

    def way_to(self, last: int, count: int) -> list[Sent] | None:
        """The fastest way to one of those; None where a `once` message comes again too early on it."""
        way = self._told(count).way_to(last, count)
        if not self._keeps_once(way):
            return None
        return [Sent(node=self.graph.nodes[index], at_ms=at_ms) for index, at_ms in way]

    def can_exceed(self, count: int) -> bool:
        """Whether it is worth looking: one run without loops holds no more sends than it has."""
        can_pass_again = self.graph.has_loops or bool(self.graph.comeback_arrows) or self.is_side_by_side
        return can_pass_again or len(self.sends) > count

    @cached_property
    def _is_spaced_by_entry(self) -> bool:
        """Whether only `since: entry` keeps runs apart: the way back takes no time, but entries do."""
        comeback = self.graph.comeback
        if comeback.kind != "gap" or comeback.since != "entry":
            return False
        return zero_cycle(self.pressure.gaps(self._free, one_run=False)) is not None

    @property
    def _live_ms(self) -> int | None:
        """How long runs can overlap that begin `gap` apart; None where nothing keeps them apart or bounds them."""
        comeback = self.graph.comeback
        return comeback.longest_ms if comeback.gap_ms and comeback.since == "entry" else None

    def _told(self, sends_max: int) -> Curve:
        """The curve up to so many sends; kept, and told further when more are asked for."""
        if self._curve is None or self._curve[0] < sends_max:
            gaps = self.pressure.gaps(self.sends, one_run=self._is_spaced_by_entry)
            self._curve = (sends_max, curve(gaps, self.sends, sends_max=sends_max))
        return self._curve[1]

    def _told_free(self, sends_max: int) -> Curve:
        """The same of the sends that no `once` spaces."""
        if self._free_curve is None or self._free_curve[0] < sends_max:
            gaps = self.pressure.gaps(self._free, one_run=self._is_spaced_by_entry)
            self._free_curve = (sends_max, curve(gaps, self._free, sends_max=sends_max))
        return self._free_curve[1]

    def _runs(self, window_ms: int) -> int:
        """How many runs can send within a window, where runs are counted and not laid end to end."""
        gap_ms = self.graph.comeback.gap_ms
        if self.is_side_by_side and self._live_ms is not None:
            return ceil((window_ms + self._live_ms) / gap_ms)
        return ceil(window_ms / gap_ms) + 1 if self._is_spaced_by_entry else 1

    @cached_property
    def _free(self) -> Sequence[int]:
        """The sends that no `once` spaces."""
        free = [send for send in self.sends if self._once_ms(send) is None]
        return free if len(free) < len(self.sends) else self.sends

    @cached_property
    def _once(self) -> dict[str, int]:
        """The messages that go once within a time, with that time."""
        found: dict[str, int] = {}
        for send in self.sends:
            sending, once_ms = self.graph.nodes[send].sending, self._once_ms(send)
            if sending is not None and once_ms is not None:
                found[sending.message] = once_ms
        return found

    def _keeps_once(self, way: list[tuple[int, int]]) -> bool:
        last: dict[str, int] = {}
        for send, at_ms in way:
            sending, once_ms = self.graph.nodes[send].sending, self._once_ms(send)
            if sending is None or once_ms is None:
                continue
            if sending.message in last and at_ms - last[sending.message] < once_ms:
                return False
            last[sending.message] = at_ms
        return True

    def _once_ms(self, send: int) -> int | None:
        sending = self.graph.nodes[send].sending
        return sending.once_ms if sending is not None else None


def told(way: list[Sent], name: str) -> tuple[str, ...]:
    """A worst case as lines: when, where in which workflow, on which channel, in which file."""
    rows = [(clock(sent.at_ms), f"{name}/{sent.node.name}", sent_on(sent.node), str(sent.node.place)) for sent in way]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [
        f"   {time:>{widths[0]}}  {where:<{widths[1]}}  {channel:<{widths[2]}}  {place}"
        for time, where, channel, place in rows
    ]
    return ("worst case (every wait at its shortest):", *lines)


def expires_ms(node: Node, messages: Mapping[str, Message]) -> int:
    """How long a message waits for leave before it is given up."""
    step = node.instruction.step if node.instruction is not None else None
    own = step.expire_after if isinstance(step, SendStep) else None
    message = messages.get(node.sending.message) if node.sending is not None else None
    return (own or (message.expire_after if message is not None else None) or EXPIRE_AFTER).elapsed_ms


def sent_on(node: Node) -> str:
    """The channels a message may take, in words."""
    return " or ".join(node.sending.channels) if node.sending is not None else ""


def clock(at_ms: int) -> str:
    """`+0:00`, `+23:00`, `+3d 04:00`."""
    minutes = at_ms // 60_000
    days, minutes = divmod(minutes, 1440)
    hours, minutes = divmod(minutes, 60)
    return f"+{days}d {hours:02}:{minutes:02}" if days else f"+{hours}:{minutes:02}"
