"""`event` leaves: whether, how often, how much or what last."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowctl.engine.conditions import window
from flowctl.engine.conditions.comparison import (
    comparison_sql,
    fields_read,
    inferred_type,
    is_timed,
    joined,
    opposite,
    sources,
)
from flowctl.engine.conditions.literal import json_path
from flowctl.engine.conditions.scope import Frame
from flowctl.engine.conditions.values import json_value
from flowctl.engine.segments import Probe
from flowctl.language.conditions import EventLeaf, MessageLeaf
from flowctl.language.durations import Duration
from flowctl.language.values import comparison

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from flowctl.engine.conditions.scope import Scope
    from flowctl.language.values import Where

_PROPS = "e.props"


def sql(leaf: EventLeaf, frame: Frame, *, negated: bool) -> str:
    """Facts of one contact by the index on (contact, type, time), which also serves everybody in turn; or a set made once."""
    if frame.full and _is_set(leaf):
        return _set(leaf, frame, negated=negated)
    found = f"FROM events e WHERE e.contact_id = c.id AND {_which(leaf, frame)}"
    there = window.never_there(leaf.since)
    if leaf.sum_ is not None:
        text = window.bounded(f"(SELECT {_total(leaf)} {found})", _sum_bounds(leaf))
    elif leaf.last is not None:
        text = f"(SELECT {_where(leaf, leaf.last, frame)} {found} ORDER BY e.at DESC, e.id DESC LIMIT 1)"
    elif leaf.count is not None:
        text = window.counted(found, leaf.count.bounds(), frame)
    else:
        return f"{'NOT ' if negated else ''}EXISTS (SELECT 1 {found})"
    return opposite(f"({there} AND {text})" if there else text, negated=negated)


def probes(leaf: EventLeaf, frame: Frame) -> Iterator[Probe]:
    """New events of the type; events that grow older than an end of the window; fields it compares with."""
    type_id = frame.scope.event_types[leaf.event]
    yield Probe(kind="event", ids=(type_id,))
    for edge_ms in window.edges(leaf.since, leaf.between):
        yield Probe(kind="window", ids=(type_id,), edge_ms=edge_ms)
    names = sorted({name for asked in _asked(leaf) for name in fields_read(asked)})
    if names:
        yield Probe(kind="changed", names=tuple(names))


def unsupported(leaf: EventLeaf, frame: Frame) -> str | None:
    """Why the engine does not run it; None where it does."""
    scope = frame.scope
    if not scope.enrollment and leaf.between is None and leaf.since is None and scope.since is None:
        return "an event outside a workflow needs `since:`, a duration or `ever`"
    if not scope.enrollment and window.needs_enrollment(leaf.since):
        return f"`since: {leaf.since}` only means something inside a workflow"
    if not scope.enrollment and any(is_timed(asked) for asked in _asked(leaf)):
        return "a segment cannot watch a property become due: compare it in a workflow, or keep the date in a contact field"
    return None


def first_at(leaf: EventLeaf | MessageLeaf, scope: Scope, *, until: str) -> str | None:
    """SQL of the time of the fact that made an awaited leaf true, NULL while none did; None where only the state tells.

    `until` is SQL of the last instant that counts. The result is never before `scope.since`.
    """
    frame = Frame(scope=scope)
    if isinstance(leaf.since, Duration):
        return None
    bounds: dict[str, float] = {"gte": 1}
    if isinstance(leaf, MessageLeaf):
        from flowctl.engine.conditions import message  # noqa: PLC0415 - the leaves know each other only here

        found, alias = message.found(leaf, frame, until=until), "m"
    else:
        if leaf.sum_ is not None or leaf.last is not None or leaf.between is not None:
            return None
        found, alias = f"FROM events e WHERE e.contact_id = c.id AND {_which(leaf, frame, until=until)}", "e"
    if leaf.count is not None:
        bounds = leaf.count.bounds()
    if not set(bounds) <= {"gte", "gt"}:
        return None
    least = int(-(-max(bounds.get("gte", 0), int(bounds.get("gt", -1)) + 1) // 1))
    if least < 1:
        return None
    time = f"(SELECT {alias}.at {found} ORDER BY {alias}.at LIMIT 1 OFFSET {least - 1})"
    return f"max({time}, {scope.since})" if scope.since else time


def measured(leaf: EventLeaf, frame: Frame) -> Iterator[tuple[str, str]]:
    """What a count, a sum or a last property comes to, with a name for each: SQL over `c`."""
    found = f"FROM events e WHERE e.contact_id = c.id AND {_which(leaf, frame)}"
    if leaf.count is not None:
        yield f"{leaf.event} count", f"(SELECT count(*) {found})"
    elif leaf.sum_ is not None:
        (name,) = leaf.sum_
        yield f"{leaf.event} sum {name}", f"(SELECT {_total(leaf)} {found})"
    for name in leaf.last or ():
        value = f"json_extract({_PROPS}, {json_path(name)})"
        yield f"{leaf.event} last {name}", f"(SELECT {value} {found} ORDER BY e.at DESC, e.id DESC LIMIT 1)"


def _which(leaf: EventLeaf, frame: Frame, *, until: str = ":now") -> str:
    tests = [f"e.type = {frame.scope.event_types[leaf.event]:d}", *window.since_bounds(leaf.since, frame.scope, "e")]
    if leaf.between is not None:
        older, newer = leaf.between
        tests += [f"e.at > :now - {older.elapsed_ms:d}", f"e.at <= :now - {newer.elapsed_ms:d}"]
    else:
        tests.append(f"e.at <= {until}")
    if leaf.where:
        tests.append(_where(leaf, leaf.where, frame))
    return " AND ".join(tests)


def _where(leaf: EventLeaf, where: Where, frame: Frame) -> str:
    types = frame.scope.event_properties.get(leaf.event, {})
    return where_sql(_PROPS, where, types, frame)


def where_sql(
    document: str, where: Where, types: Mapping[str, Any], frame: Frame, *, prefix: str = "", negated: bool = False
) -> str:
    """A map from path to what is asked of it, over a JSON document."""
    parts = []
    for path, asked in where.items():
        operand = json_value(document, prefix + path, types.get(path) or inferred_type(asked, frame))
        parts.append(comparison_sql(operand, comparison(asked), frame, negated=negated))
    return joined(parts, " OR " if negated else " AND ")


def _is_set(leaf: EventLeaf) -> bool:
    """Whether a set made once serves everybody better than a look at each: the properties of the events of one window.

    At 1M contacts and 5M events: without properties 0.4 s each against 1 to 9 s as a set, whose index does not hold the contact; with
    them a set reads rows in order of time, and only those of the window.
    """
    windowed = isinstance(leaf.since, Duration) or leaf.between is not None
    reads = bool(leaf.where or leaf.sum_ is not None) and leaf.last is None
    return windowed and reads and not any(sources(asked) or is_timed(asked) for asked in _asked(leaf))


def _set(leaf: EventLeaf, frame: Frame, *, negated: bool) -> str:
    query = f"SELECT e.contact_id FROM events e WHERE {_which(leaf, frame)}"
    if leaf.sum_ is not None or leaf.count is not None:
        value, bounds = (
            ("count(*)", leaf.count.bounds()) if leaf.count is not None else (_total(leaf), _sum_bounds(leaf))
        )
        test = window.bounded(value, bounds)
        if window.holds(0, bounds):  # who has no such event counts too
            test, negated = f"NOT ({test})", not negated
        query += f" GROUP BY e.contact_id HAVING {test}"
    return f"c.id {'NOT ' if negated else ''}IN ({query})"


def _total(leaf: EventLeaf) -> str:
    assert leaf.sum_ is not None  # noqa: S101 - the callers asked
    (name,) = leaf.sum_
    where = json_path(name)
    kind = f"json_type({_PROPS}, {where}) IN ('integer', 'real')"
    return f"total(CASE WHEN {kind} THEN json_extract({_PROPS}, {where}) END)"


def _sum_bounds(leaf: EventLeaf) -> dict[str, float]:
    assert leaf.sum_ is not None  # noqa: S101 - the callers asked
    (bounds,) = leaf.sum_.values()
    return bounds.bounds()


def _asked(leaf: EventLeaf) -> list[Any]:
    return [*leaf.where.values(), *(leaf.last or {}).values()]
