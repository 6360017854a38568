"""From a pydantic `loc` to the node it speaks of."""

from __future__ import annotations

from flowctl.language.source import Mapping, Node, Scalar, Sequence

WALKS_MAX = 2_000  # ways through a `loc` that `locate` tries; the likely ones come first


def locate(
    root: Node, loc: tuple[str | int, ...], value: object = None
) -> tuple[Node, Scalar | None, tuple[str | int, ...]]:
    """The node a pydantic `loc` speaks of, the key it stands behind (None in a list), and the path really walked.

    Elements that lead nowhere are skipped: names of union members, or a key that is missing. Where several walks are
    possible the one wins whose plain value is `value`, then the one that matches the most and the latest elements.
    """
    best: tuple[tuple[bool, int, int], Node, Scalar | None, tuple[str | int, ...]] | None = None
    pending: list[tuple[int, Node, Scalar | None, tuple[str | int, ...], int]] = [(0, root, None, (), 0)]
    for _ in range(WALKS_MAX):
        if not pending:
            break
        index, node, key, walked, last = pending.pop()
        if index == len(loc):
            rank = (_same(node, value), len(walked), last)
            if best is None or rank > best[0]:
                best = (rank, node, key, walked)
            continue
        element = loc[index]
        pending.append((index + 1, node, key, walked, last))
        if isinstance(node, Mapping) and isinstance(element, str) and element in node.entries:
            entry = node.entries[element]
            pending.append((index + 1, entry.value, entry.key, (*walked, element), index + 1))
        elif isinstance(node, Sequence) and isinstance(element, int) and 0 <= element < len(node.items):
            pending.append((index + 1, node.items[element], None, (*walked, element), index + 1))
    if best is None:
        return root, None, ()
    return best[1:]


def _same(node: Node, value: object) -> bool:
    if value is None and not isinstance(node, Scalar):
        return False
    if isinstance(node, Scalar):
        return (type(node.value) is type(value) and node.value == value) or (
            isinstance(value, str) and node.value == value
        )
    return getattr(value, "node", None) is node
