"""One graph of several workflows of which a contact is in one at a time: an exclusive group, a chain of hand-overs, an old version."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from flowctl.lint.pressure import reachable
from flowctl.program.graph import Comeback, TimeGraph
from flowctl.program.paths import longest_way

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from flowctl.language.steps import StartStep
    from flowctl.lint.context import Context, Journey
    from flowctl.program.graph import Arrow

Link = tuple[int, int, int, int, int]
"""From a graph and its node to a graph and its node, and the least milliseconds between."""


def merge(graphs: Sequence[TimeGraph], links: Sequence[Link], *, comes_back: Sequence[bool]) -> TimeGraph:
    """One graph: all nodes, all arrows, those between, and the comebacks of those graphs whose runs can follow each other."""
    merged = TimeGraph(workflow=graphs[0].workflow, start=graphs[0].start, end=graphs[0].end)
    begins: list[int] = []
    for graph, returns in zip(graphs, comes_back, strict=True):
        begin = len(merged.nodes)
        begins.append(begin)
        merged.nodes += graph.nodes
        merged.arrows += [[(target + begin, apart_ms) for target, apart_ms in out] for out in graph.arrows]
        merged.has_loops = merged.has_loops or graph.has_loops
        if returns:
            merged.comeback_arrows += [
                (origin + begin, (target + begin, apart_ms)) for origin, (target, apart_ms) in graph.comeback_arrows
            ]
    for origin_of, origin, target_of, target, apart_ms in links:
        arrow: Arrow = (begins[target_of] + target, apart_ms)
        merged.comeback_arrows.append((begins[origin_of] + origin, arrow))
    merged.comeback = Comeback(kind="restart" if merged.comeback_arrows else "never")
    return merged


def is_a_path(journey: Journey) -> bool:
    """Whether a contact is in one run at a time, so that runs follow each other like steps of one way."""
    return journey.graph.comeback.kind != "parallel" and not journey.graph.comeback.key


def one_of_a_group(journeys: Sequence[Journey]) -> TimeGraph:
    """The members of an exclusive group: from the end of each to the start of each other, at once."""
    graphs = [journey.graph for journey in journeys]
    links = [
        (first, graphs[first].end, second, graphs[second].start, 0)
        for first in range(len(graphs))
        for second in range(len(graphs))
        if first != second
    ]
    return merge(graphs, links, comes_back=[True] * len(graphs))


def old_then_new(old: TimeGraph, new: TimeGraph) -> TimeGraph:
    """An older version, which nobody enters any more, and the one that its contacts enter next, where they may."""
    back = new.comeback_arrows
    gaps = [apart_ms for origin, (_, apart_ms) in back if origin == new.end]
    links = [(0, old.end, 1, new.start, gap_ms) for gap_ms in gaps]
    if new.comeback.kind == "restart":
        links += [
            (0, index, 1, new.start, 0)
            for index, node in enumerate(old.nodes)
            if node.sending is None and node.instruction is not None and node.instruction.op != "end"
        ]
    return merge([old, new], links, comes_back=[False, True])


def chains(context: Context) -> dict[str, list[Journey]]:
    """Workflows that only hand over, by the one that begins: every contact of the later ones comes from the earlier, and is through with it.

    Who is put in by hand is left out of account.
    """
    by_name = {journey.name: journey for journey in context.journeys}
    before: dict[str, str] = {}
    for name, starts in context.starters.items():
        origins = {journey.name for journey, _ in starts}
        if name in by_name and len(origins) == 1 and name not in origins:
            (origin,) = origins
            if _only_follows(by_name[name]) and _is_through(by_name[origin], [step for _, step in starts]):
                before[name] = origin
    found: dict[str, list[Journey]] = defaultdict(list)
    for name in before:
        root = _root(name, before)
        if root is not None:
            found[root].append(by_name[name])
    return {root: [by_name[root], *later] for root, later in found.items() if _has_time(by_name[root], later, context)}


def handed_over(journeys: Sequence[Journey], context: Context) -> TimeGraph:
    """The graph of a chain: from each `start` to where it enters; the first comes back, the later only through it."""
    places = {journey.name: number for number, journey in enumerate(journeys)}
    graphs = [journey.graph for journey in journeys]
    links: list[Link] = []
    for number, journey in enumerate(journeys[1:], start=1):
        for origin, step in context.starters[journey.name]:
            entered = list(_entered(journey, step))
            links += [
                (places[origin.name], node, number, target, 0) for node in _nodes_of(origin, step) for target in entered
            ]
        if journeys[0].graph.comeback_arrows:
            links.append((number, graphs[number].end, 0, graphs[0].start, 0))
    return merge(graphs, links, comes_back=[True] * len(graphs))


def _only_follows(journey: Journey) -> bool:
    return journey.workflow.is_manual and journey.workflow.exclusive_group is None and is_a_path(journey)


def _is_through(journey: Journey, steps: Sequence[StartStep]) -> bool:
    """Whether nothing leaves any more behind these starts."""
    if journey.workflow.exclusive_group is not None or not is_a_path(journey):
        return False
    sends = {index for index, sending in journey.graph.sendings() if sending.marketing}
    return not any(reachable(journey.graph.arrows, node) & sends for step in steps for node in _nodes_of(journey, step))


def _has_time(root: Journey, later: Sequence[Journey], context: Context) -> bool:
    """Whether the later ones are over before the first begins again."""
    comeback = root.graph.comeback
    if comeback.kind == "never":
        return True
    if comeback.kind != "gap" or comeback.since != "exit":
        return False
    spans = [longest_way(journey.program, context.project.messages) for journey in later]
    return all(span is not None for span in spans) and sum(span or 0 for span in spans) <= comeback.gap_ms


def _root(name: str, before: dict[str, str]) -> str | None:
    seen = {name}
    while name in before:
        name = before[name]
        if name in seen:
            return None
        seen.add(name)
    return name


def _nodes_of(journey: Journey, step: StartStep) -> Iterator[int]:
    return (
        index
        for index, node in enumerate(journey.graph.nodes)
        if node.instruction is not None and node.instruction.step is step
    )


def _entered(journey: Journey, step: StartStep) -> Iterator[int]:
    """The nodes where a start enters; every one where the step cannot be told."""
    if step.start.at_step is None:
        yield journey.graph.start
        return
    position = journey.program.step_positions.get(step.start.at_step)
    found = [
        index
        for index, node in enumerate(journey.graph.nodes)
        if node.sending is None and node.instruction is not None and node.instruction.pc == position
    ]
    yield from found or range(len(journey.graph.nodes))
