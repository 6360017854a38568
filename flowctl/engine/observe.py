"""What is new: facts since the last look, and the segment memberships that they and the passing of time change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flowctl.engine.localtime import DAY_MS, refresh_zones
from flowctl.engine.slices import Facts

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from flowctl.engine.segments import Probe, SegmentPlan
    from flowctl.engine.slices import Slice

ROWS_MAX = 20_000  # new facts of a kind that one look takes in hand: a transaction stays short
INTEGER_MAX = 2**63 - 1

_TABLES = (
    """CREATE TEMP TABLE IF NOT EXISTS fact_events (
      id INTEGER PRIMARY KEY, contact_id INTEGER NOT NULL, type INTEGER NOT NULL, at INTEGER NOT NULL, props TEXT, enrollment_id INTEGER
    )""",
    "CREATE INDEX IF NOT EXISTS temp.fact_events_type ON fact_events (type)",
    """CREATE TEMP TABLE IF NOT EXISTS fact_changes (
      id INTEGER PRIMARY KEY, contact_id INTEGER NOT NULL, field TEXT NOT NULL, old, new, at INTEGER NOT NULL, enrollment_id INTEGER
    )""",
    """CREATE TEMP TABLE IF NOT EXISTS fact_statuses (
      id INTEGER PRIMARY KEY, contact_id INTEGER NOT NULL, message INTEGER NOT NULL, status INTEGER NOT NULL, at INTEGER NOT NULL,
      outbox_id INTEGER, enrollment_id INTEGER, channel INTEGER, link TEXT
    )""",
    """CREATE TEMP TABLE IF NOT EXISTS fact_records (
      id INTEGER PRIMARY KEY, contact_id INTEGER NOT NULL, kind TEXT NOT NULL, key TEXT, record_values TEXT NOT NULL, at INTEGER NOT NULL
    )""",
    "CREATE TEMP TABLE IF NOT EXISTS fact_contacts (id INTEGER PRIMARY KEY, at INTEGER NOT NULL, imported INTEGER NOT NULL)",
    "CREATE TEMP TABLE IF NOT EXISTS fact_cursors (name TEXT PRIMARY KEY, value INTEGER NOT NULL)",
    "CREATE TEMP TABLE IF NOT EXISTS judged (contact_id INTEGER PRIMARY KEY, inside INTEGER NOT NULL, was INTEGER NOT NULL)",
    """CREATE TEMP TABLE IF NOT EXISTS zone_then (
      zone INTEGER PRIMARY KEY, today TEXT NOT NULL, weekday INTEGER NOT NULL, minute INTEGER NOT NULL
    )""",
    "CREATE TEMP TABLE IF NOT EXISTS zone_moved (zone INTEGER PRIMARY KEY, was TEXT NOT NULL, today TEXT NOT NULL, at INTEGER NOT NULL)",
    "CREATE TEMP TABLE IF NOT EXISTS full_members (contact_id INTEGER PRIMARY KEY)",
)

# Ids are copied as a range first: SQLite would rather read all events of a type than a few ids and filter those, hence the `+`.
_EVENTS_BY_ID = (
    "INSERT INTO fact_events SELECT id, contact_id, type, at, props, enrollment_id FROM events "
    "WHERE id > :seen AND id <= :hi AND +at <= :t0"
)
_EVENTS_BY_TIME = (
    "INSERT INTO fact_events SELECT id, contact_id, type, at, props, enrollment_id FROM events "
    "WHERE type IN (SELECT id FROM event_types) AND at > :t0 AND at <= :t1 AND +id <= :hi"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Source:
    """A table whose rows carry ids in order of arrival and times that may lie ahead of a slice that is replayed."""

    name: str  # of its cursors
    table: str
    at: str
    into: str  # the temporary table and what it takes
    ahead_ms_max: int | None = None  # what is dated further ahead is not waited for


_SOURCES = (
    _Source(
        name="changes",
        table="contact_changes",
        at="at",
        into="fact_changes SELECT id, contact_id, field, old, new, at, enrollment_id",
    ),
    _Source(
        name="statuses",
        table="message_events",
        at="at",
        into="fact_statuses SELECT id, contact_id, message, status, at, outbox_id, enrollment_id, channel, link",
    ),
    _Source(
        name="records",
        table="records",
        at="at",
        into="fact_records SELECT id, contact_id, kind, key, record_values, at",
    ),
    _Source(
        name="contacts",
        table="contacts",
        at="created_at",
        into="fact_contacts SELECT id, min(created_at, :t1), _origin = 0",
        # An owner's list may say anything; one contact from the year 3000 must not make every look read all that came after.
        ahead_ms_max=31 * DAY_MS,
    ),
)


def new_facts(connection: sqlite3.Connection, t0: int, t1: int, *, rows_max: int = ROWS_MAX) -> Facts:
    """Fill `fact_events`, `fact_changes`, `fact_statuses`, `fact_records`, `fact_contacts` with what is new in the slice after `t0` until `t1`.

    New is what fell into the slice by its own time, and what arrived since the last look and is dated before it; what is dated later
    waits for its time. A second look at the same instant, `t0 = t1`, finds what arrived in between. Also fills `zone_now`. Moves no
    cursor: `advance_cursors` does, in the same transaction, when everything that the facts drive is done.
    """
    _prepare(connection)
    refresh_zones(connection, t1)
    cursors = dict(connection.execute("SELECT name, value FROM cursors"))
    after: dict[str, int] = {}
    seen = cursors.get("events", 0)
    hi, more = _upto(connection, "events", seen, rows_max)
    bounds = {"seen": seen, "hi": hi, "t0": t0, "t1": t1}
    events = connection.execute(_EVENTS_BY_ID, bounds).rowcount if hi > seen else 0
    if t1 > t0:
        events += connection.execute(_EVENTS_BY_TIME, bounds).rowcount
    after["events"] = hi
    found: dict[str, int] = {}
    for source in _SOURCES:
        found[source.name], left = _collect(connection, source, cursors, after, t0, t1, rows_max)
        more |= left
    for name in ("journal", "transitions"):
        after[name] = _newest(connection, name)
    if not more:  # contacts beyond it came with an import that is still being looked at
        after["contacts.existing"] = after["contacts.seen"]
    connection.executemany("INSERT INTO fact_cursors VALUES (?, ?)", after.items())
    types = connection.execute("SELECT DISTINCT type FROM fact_events") if events else ()
    fields = connection.execute("SELECT DISTINCT field FROM fact_changes") if found["changes"] else ()
    outcomes = connection.execute("SELECT DISTINCT message, status FROM fact_statuses") if found["statuses"] else ()
    return Facts(
        t0=t0,
        t1=t1,
        events=events,
        **found,
        more=more,
        types=frozenset(type_ for (type_,) in types),
        fields=frozenset(field for (field,) in fields),
        outcomes=frozenset(outcomes),
        events_to=hi,
        journal=(cursors.get("journal", 0), after["journal"]),
        transitions_from=cursors.get("transitions", 0),
    )


def advance_cursors(connection: sqlite3.Connection) -> None:
    """What the last `new_facts` found, and every transition stored so far, is done with; inside the caller's transaction."""
    connection.execute(
        "INSERT INTO fact_cursors VALUES ('transitions', (SELECT coalesce(max(id), 0) FROM transitions)) "
        "ON CONFLICT (name) DO UPDATE SET value = excluded.value"
    )
    connection.execute(
        "INSERT INTO cursors (name, value) SELECT f.name, f.value FROM fact_cursors f "
        "WHERE f.value IS NOT (SELECT c.value FROM cursors c WHERE c.name = f.name) "
        "ON CONFLICT (name) DO UPDATE SET value = excluded.value"
    )


def start_cursors(connection: sqlite3.Connection, now: int) -> None:
    """Everything up to `now` is history: for the first release, whose segments were just judged in full."""
    newest = {name: _newest(connection, name) for name in ("events", "journal", "transitions")}
    for source in _SOURCES:
        newest[source.name], newest[f"{source.name}.seen"] = (
            _done(connection, source, 0, now),
            _newest(connection, source.table),
        )
    newest["contacts.existing"] = _newest(connection, "contacts")
    connection.executemany(
        "INSERT INTO cursors (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        newest.items(),
    )


def observe(slice_: Slice, plans: Iterable[SegmentPlan]) -> int:
    """Bring the members of each segment up to the slice's end, for whom something changed; returns how many memberships did.

    Each change is one row of transitions, at the time of the newest fact or moved window that caused it. Plans in any order; one that
    asks about another's members comes after it. Inside the caller's transaction.
    """
    written = 0
    for plan in sorted(plans, key=lambda plan: (plan.order, plan.id)):
        if slice_.gather(plan.probes):
            changed = _judge(slice_.connection, plan, slice_.t1)
            if changed:
                slice_.crossed().add(plan.id)
                written += changed
    return written


def judge_in_full(connection: sqlite3.Connection, plan: SegmentPlan, now: int) -> int:
    """Judge everybody for a segment that is new or changed; memberships found count as existing. Returns how many changed.

    Segments it asks about must be judged before. Also makes the indexes that its probes need. Inside the caller's transaction.
    """
    _prepare(connection)
    refresh_zones(connection, now)
    make_indexes(connection, plan.probes)
    connection.execute("DELETE FROM full_members")
    connection.execute(f"INSERT INTO full_members {plan.full}", {"now": now})
    mine = {"segment": plan.id, "now": now}
    members = "SELECT contact_id FROM segment_members WHERE segment_id = :segment"
    changes = {1: "SELECT contact_id FROM full_members"}
    if connection.execute(
        f"{members} LIMIT 1", mine
    ).fetchone():  # most often it is new, and there is nothing to compare
        changes[1] += f" WHERE contact_id NOT IN ({members})"
        changes[0] = f"{members} AND contact_id NOT IN (SELECT contact_id FROM full_members)"
    written = 0
    for entered, who in changes.items():
        written += connection.execute(
            "INSERT INTO transitions (contact_id, segment_id, entered, existing, at) "
            f"SELECT contact_id, :segment, {entered}, 1, :now FROM ({who}) ORDER BY contact_id",
            mine,
        ).rowcount
    if 0 in changes:
        connection.execute(
            "DELETE FROM segment_members WHERE segment_id = :segment AND contact_id NOT IN (SELECT contact_id FROM full_members)",
            mine,
        )
    connection.execute(
        f"INSERT INTO segment_members (segment_id, contact_id, since) SELECT :segment, contact_id, :now FROM ({changes[1]})",
        mine,
    )
    connection.execute("DELETE FROM full_members")
    return written


def make_indexes(connection: sqlite3.Connection, probes: Iterable[Probe]) -> None:
    """Make the indexes that probes of datetime fields need; at apply, for what `judge_in_full` does not see."""
    for name in sorted({name for probe in probes if probe.kind == "moment" for name in probe.names}):
        connection.execute(f'CREATE INDEX IF NOT EXISTS "contacts_moment_{name}" ON contacts ("{name}")')


def _prepare(connection: sqlite3.Connection) -> None:
    # One small look instead of a dozen statements that find everything there.
    if connection.execute("SELECT 1 FROM temp.sqlite_schema WHERE name = 'full_members'").fetchone() is None:
        for statement in _TABLES:
            connection.execute(statement)
    for table in ("fact_events", "fact_changes", "fact_statuses", "fact_records", "fact_contacts", "fact_cursors"):
        connection.execute(f"DELETE FROM {table}")


def _collect(
    connection: sqlite3.Connection,
    source: _Source,
    cursors: dict[str, int],
    after: dict[str, int],
    t0: int,
    t1: int,
    rows_max: int,
) -> tuple[int, bool]:
    """Rows that are new, and those seen before whose time came; returns how many, and whether more wait.

    All up to the first cursor is done; between it and the second (`.seen`) lie rows seen whose time is ahead.
    """
    done = cursors.get(source.name, 0)
    seen = cursors.get(f"{source.name}.seen", done)
    hi, more = _upto(connection, source.table, seen, rows_max)
    rows = 0
    if hi > done:
        at = f"+{source.at}"
        rows = connection.execute(
            f"INSERT INTO {source.into} FROM {source.table} WHERE id > :done AND id <= :hi AND CASE WHEN id > :seen "
            f"THEN {at} <= :t1 OR {at} > :t1 + :ahead ELSE {at} > :t0 AND {at} <= :t1 END",
            {"done": done, "seen": seen, "hi": hi, "t0": t0, "t1": t1, "ahead": source.ahead_ms_max},
        ).rowcount
        done = min(_done(connection, source, done, t1), hi)
    after[source.name], after[f"{source.name}.seen"] = done, hi
    return rows, more


def _done(connection: sqlite3.Connection, source: _Source, after: int, now: int) -> int:
    """The id before the first one whose time is ahead."""
    query = f"SELECT min(id) - 1 FROM {source.table} WHERE id > ? AND +{source.at} > ? AND +{source.at} <= ?"
    last = INTEGER_MAX if source.ahead_ms_max is None else now + source.ahead_ms_max
    first: int | None = connection.execute(query, (after, now, last)).fetchone()[0]
    return _newest(connection, source.table) if first is None else first


def _upto(connection: sqlite3.Connection, table: str, seen: int, rows_max: int) -> tuple[int, bool]:
    """The id up to which one look goes, and whether there are later ones."""
    newest = _newest(connection, table)
    return (newest, False) if newest <= seen + rows_max else (seen + rows_max, True)


def _newest(connection: sqlite3.Connection, table: str) -> int:
    newest: Any = connection.execute(f"SELECT max(id) FROM {table}").fetchone()[0]
    return int(newest or 0)


def _judge(connection: sqlite3.Connection, plan: SegmentPlan, now: int) -> int:
    """Judge the candidates; write down whose membership changed."""
    mine: dict[str, int] = {"segment": plan.id, "now": now}
    connection.execute("DELETE FROM judged")
    connection.execute(
        f"INSERT INTO judged SELECT c.id, ({plan.check}) IS TRUE, "
        "EXISTS (SELECT 1 FROM segment_members m WHERE m.segment_id = :segment AND m.contact_id = c.id) "
        "FROM candidates k CROSS JOIN contacts c ON c.id = k.contact_id",
        mine,
    )
    if not connection.execute("SELECT EXISTS (SELECT 1 FROM judged WHERE inside <> was)").fetchone()[0]:
        return 0
    floor = "coalesce((SELECT value FROM cursors WHERE name = 'contacts.existing'), 0)"
    fresh = f"(j.contact_id > {floor} OR j.contact_id IN (SELECT id FROM fact_contacts))"
    imported = f"{fresh} AND (SELECT c._origin = 0 FROM contacts c WHERE c.id = j.contact_id)"
    written = connection.execute(
        "INSERT INTO transitions (contact_id, segment_id, entered, existing, at) "
        f"SELECT j.contact_id, :segment, j.inside, k.live = 0 OR ({imported}), k.at "
        "FROM judged j CROSS JOIN candidates k ON k.contact_id = j.contact_id WHERE j.inside <> j.was ORDER BY k.at, j.contact_id",
        mine,
    ).rowcount
    connection.execute(
        "INSERT INTO segment_members (segment_id, contact_id, since) SELECT :segment, j.contact_id, k.at "
        "FROM judged j CROSS JOIN candidates k ON k.contact_id = j.contact_id WHERE j.inside = 1 AND j.was = 0",
        mine,
    )
    connection.execute(
        "DELETE FROM segment_members WHERE segment_id = :segment "
        "AND contact_id IN (SELECT contact_id FROM judged WHERE inside = 0 AND was = 1)",
        mine,
    )
    return written
