"""The pressure bound: the most sends that any window can hold, from the least time between them.

A workflow is a digraph of sends with minimum separations, as a digraph real-time task (Stigge, Ekberg, Guan, Yi: The Digraph
Real-Time Task Model, RTAS 2011); its arrival curve says for each window how many sends fit at most. Everything here is numbers
on arrows: what the nodes mean is told by `program.graph`.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from flowctl.program.graph import Arrow

    Arrows = Sequence[Sequence[Arrow]] | Mapping[int, Sequence[Arrow]]  # from each node what can follow

Gaps = dict[int, dict[int, int]]
"""From each send to those that can be the next one: the least milliseconds between."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """An arrival curve, told up to `len(soonest_ms)` sends."""

    soonest_ms: tuple[int, ...]  # [k-1]: the least time from the first to the last of k sends
    ways: tuple[Mapping[int, int | None], ...]  # [k-1]: the last of k sends → the one before it on the fastest way
    lasts: tuple[int, ...]  # [k-1]: the last send of the fastest way of k
    times: tuple[Mapping[int, int], ...]  # [k-1]: the last of k sends → its time

    def most(self, window_ms: int) -> int:
        """The most sends that a window can hold; a window holds what is less than its length apart."""
        return bisect_left(self.soonest_ms, window_ms)

    def witness(self, count: int) -> list[tuple[int, int]]:
        """The fastest way to so many sends: each with its milliseconds after the first."""
        return self.way_to(self.lasts[count - 1], count)

    def way_to(self, last: int, count: int) -> list[tuple[int, int]]:
        """The fastest way to so many sends of which one is the last; it must be one that can be."""
        node: int | None = last
        found: list[tuple[int, int]] = []
        for index in range(count - 1, -1, -1):
            assert node is not None  # noqa: S101 - only the first has none before it
            found.append((node, self.times[index][node]))
            node = self.ways[index][node]
        return found[::-1]


def reachable(arrows: Sequence[Sequence[Arrow]], start: int) -> set[int]:
    """Every node that can be reached."""
    seen = {start}
    pending = [start]
    while pending:
        for target, _ in arrows[pending.pop()]:
            if target not in seen:
                seen.add(target)
                pending.append(target)
    return seen


def separations(arrows: Arrows, sends: Collection[int]) -> Gaps:
    """The least time from each send to each next one, by ways that pass no other send: Dijkstra from every send."""
    return {send: distances(arrows, send, stops=sends, only_stops=True) for send in sends}


def distances(arrows: Arrows, start: int, *, stops: Collection[int] = (), only_stops: bool = False) -> dict[int, int]:
    """The least time from a node to each other, by ways that do not lead through `stops`; back to itself included."""
    best: dict[int, int] = {}
    queue: list[tuple[int, int]] = [(apart_ms, target) for target, apart_ms in arrows[start]]
    queue.sort()
    found: dict[int, int] = {}
    while queue:
        so_far_ms, node = heappop(queue)
        if node in best:
            continue
        best[node] = so_far_ms
        if node in stops:
            found[node] = so_far_ms
            continue
        for target, apart_ms in arrows[node]:
            if target not in best:
                heappush(queue, (so_far_ms + apart_ms, target))
    return found if only_stops else best


def curve(gaps: Gaps, sends: Iterable[int], *, sends_max: int) -> Curve:
    """The arrival curve up to `sends_max` sends: the least time from the first to the k-th, for every k, over all ways."""
    times: dict[int, int] = dict.fromkeys(sends, 0)
    before: dict[int, int | None] = dict.fromkeys(times)
    soonest: list[int] = []
    lasts: list[int] = []
    all_times: list[Mapping[int, int]] = []
    ways: list[Mapping[int, int | None]] = []
    while times and len(soonest) < sends_max:
        last = min(times, key=times.__getitem__)
        soonest.append(times[last])
        lasts.append(last)
        all_times.append(times)
        ways.append(before)
        following: dict[int, int] = {}
        before = {}
        for send, time_ms in times.items():
            for target, apart_ms in gaps[send].items():
                total_ms = time_ms + apart_ms
                if target not in following or total_ms < following[target]:
                    following[target] = total_ms
                    before[target] = send
        times = following
    return Curve(soonest_ms=tuple(soonest), ways=tuple(ways), lasts=tuple(lasts), times=tuple(all_times))


def zero_cycle(gaps: Gaps) -> list[int] | None:
    """Sends that can follow each other round and round in no time; None where every round takes some."""
    state: dict[int, int] = {}  # 1: on the way, 2: done
    for root in gaps:
        if state.get(root):
            continue
        way = [root]
        rest = [iter([target for target, apart_ms in gaps[root].items() if apart_ms <= 0])]
        state[root] = 1
        while way:
            target = next(rest[-1], None)
            if target is None:
                state[way.pop()] = 2
                rest.pop()
            elif state.get(target) == 1:
                return way[way.index(target) :]
            elif target not in state:
                state[target] = 1
                way.append(target)
                rest.append(iter([following for following, apart_ms in gaps[target].items() if apart_ms <= 0]))
    return None
