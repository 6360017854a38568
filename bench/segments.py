"""Ten segments kept up to date: what a slice costs follows what changed, not how many contacts there are."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from bench.ratio import Ratio
from bench.stores import NOW, copied
from flowctl.engine.conditions import Scope, full_sql, probes, sql
from flowctl.engine.observe import advance_cursors, judge_in_full, new_facts, observe
from flowctl.engine.segments import SegmentPlan
from flowctl.language.conditions import Condition
from flowctl.store.database import open_store, transaction

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from flowctl.store.database import Store

LARGE, MEDIUM, SMALL = 1_000_000, 10_000, 1_000
EVENTS_EACH = 5
CHANGED = 1000
SLICE_MS = 20
IDLE_GOAL = 1.5
# Spread over a store a hundred times as large, each changed contact has pages of its own in ten trees, more than the cache holds.
# The bound of 2 is for a whole tick.
CHANGED_GOAL = 6.0
FULL_GOAL = 20.0

SEGMENTS: dict[str, dict[str, object]] = {
    "engaged-2": {"field": "engagement", "gte": 70},
    "bought": {"event": "purchase", "since": "30d"},
    "bought-much": {"event": "purchase", "since": "90d", "sum": {"amount": {"gte": 500}}},
    "thrice": {"event": "purchase", "since": "180d", "count": {"gte": 3}, "where": {"amount": {"gte": 50}}},
    "quiet": {"all": [{"event": "visit", "since": "ever"}, {"not": {"event": "visit", "since": "60d"}}]},
    "lapsed": {
        "all": [{"event": "purchase", "between": ["90d", "30d"]}, {"event": "purchase", "since": "30d", "count": 0}]
    },
    "last-was-small": {"event": "purchase", "since": "ever", "last": {"amount": {"lt": 10}}},
    "gold-or-engaged": {"any": [{"field": "plan", "is": "gold"}, {"segment": "engaged-2"}]},
    "may-write": {"all": [{"reachable": "email"}, {"not": {"segment": "quiet"}}]},
    "new": {"field": "created_at", "within_last": "30d"},
}


def run(*, quick: bool = False) -> list[Ratio]:
    """Idle slices at the largest store against the smallest; the same changes at the largest against a hundredth of it."""
    most = LARGE // 10 if quick else LARGE
    large, medium, small = (_measured(contacts) for contacts in (most, MEDIUM, SMALL))
    detail = f"10 segments, {most} contacts: in full {large.full_s:.1f} s, idle {large.idle_s * 1e3:.2f} ms, {CHANGED} changed "
    detail += f"{large.changed_s * 1e3:.0f} ms; {MEDIUM} contacts: {medium.changed_s * 1e3:.0f} ms"
    return [
        Ratio(name="segments-idle", value=large.idle_s / small.idle_s, goal=IDLE_GOAL, detail=detail),
        Ratio(name="segments-changed", value=large.changed_s / medium.changed_s, goal=CHANGED_GOAL),
        Ratio(name="segments-full-over-changed", value=large.full_s / large.changed_s, goal=FULL_GOAL, at_least=True),
    ]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Measured:
    full_s: float
    idle_s: float
    changed_s: float


def _measured(contacts: int) -> _Measured:
    """Best times of one store."""
    with copied(contacts=contacts, events=contacts * EVENTS_EACH) as path:
        return _on(open_store(path, create=False), contacts)


def _on(store: Store, contacts: int) -> _Measured:
    connection = store.connection
    plans, full_s = _declare(connection)
    idle_s = min(_slices(connection, plans, lambda _: None, 60))
    changed_s = min(_slices(connection, plans, lambda at: _change(connection, contacts, at), 7))
    store.close()
    return _Measured(full_s=full_s, idle_s=idle_s, changed_s=changed_s)


def _declare(connection: sqlite3.Connection) -> tuple[list[SegmentPlan], float]:
    events = dict(connection.execute("SELECT name, id FROM event_types"))
    numbers = {name: 1000 + place for place, name in enumerate(SEGMENTS)}
    (zone,) = connection.execute("SELECT min(id) FROM zones").fetchone()
    scope = Scope(
        field_types={"engagement": "number", "plan": "choice", "email": "email", "created_at": "datetime"},
        event_types=events,
        event_properties={"purchase": {"amount": "number"}, "visit": {"page": "text"}},
        segments=numbers,
        messages={},
        channels={},
        zone=zone,
    )
    plans = []
    for name, said in SEGMENTS.items():
        condition = TypeAdapter(Condition).validate_python(said)
        text = {"check": sql(condition, scope), "full": full_sql(condition, scope)}
        plans.append(
            SegmentPlan(
                id=numbers[name], name=name, probes=tuple(probes(condition, scope)), order=numbers[name], **text
            )
        )
    start = time.process_time()
    with transaction(connection):
        for plan in plans:
            connection.execute("INSERT INTO segments (id, name, definition) VALUES (?, ?, 'x')", (plan.id, plan.name))
            judge_in_full(connection, plan, NOW)
    with transaction(connection):
        new_facts(connection, NOW, NOW)
        advance_cursors(connection)
    return plans, time.process_time() - start


def _slices(
    connection: sqlite3.Connection, plans: list[SegmentPlan], before: Callable[[int], None], turns: int
) -> list[float]:
    """Seconds of processor time of several slices, one after the other."""
    (at,) = connection.execute("SELECT coalesce(max(value), ?) FROM cursors WHERE name = 'bench'", (NOW,)).fetchone()
    times = []
    for _ in range(turns):
        with transaction(connection):
            before(at + SLICE_MS)
        start = time.process_time()
        with transaction(connection):
            facts = new_facts(connection, at, at + SLICE_MS)
            observe(connection, plans, at, at + SLICE_MS)
            advance_cursors(connection)
        times.append(time.process_time() - start)
        assert not facts.more
        at += SLICE_MS
    with transaction(connection):
        connection.execute(
            "INSERT INTO cursors VALUES ('bench', ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", (at,)
        )
    return times


def _change(connection: sqlite3.Connection, contacts: int, at: int) -> None:
    """A thousand contacts, spread over the whole table, so that hardly two share a page: each has an event and a new field value."""
    step = max(1, contacts // CHANGED)
    who = [1 + (number * step + at // SLICE_MS * 7) % contacts for number in range(CHANGED)]
    types = [
        row[0]
        for row in connection.execute("SELECT id FROM event_types WHERE name IN ('purchase', 'visit') ORDER BY name")
    ]
    connection.executemany(
        "INSERT INTO events (contact_id, type, at, props) VALUES (?, ?, ?, ?)",
        (
            (contact, types[place % 10 > 0], at - 10, f'{{"amount": {contact % 300}}}')
            for place, contact in enumerate(who)
        ),
    )
    connection.executemany(
        "UPDATE contacts SET engagement = (engagement + 3) % 100 WHERE id = ?", ((contact,) for contact in who)
    )
    connection.executemany(
        "INSERT INTO contact_changes (contact_id, field, at) VALUES (?, 'engagement', ?)",
        ((contact, at - 10) for contact in who),
    )
