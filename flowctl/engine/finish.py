"""Goals and exits: who is done before anything else happens to them, judged only where something is new."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowctl.engine.runtime import ACTIVE, CANCELLED, EXITED, GOAL, IN_DOUBT, KIND

if TYPE_CHECKING:
    import sqlite3

    from flowctl.engine.runtime import Judged, Runtime, Version
    from flowctl.engine.slices import Slice

# An enrollment under the names that compiled conditions use.
_ROW = (
    "SELECT e.id AS eid, e.contact_id, e.version_id AS version, e.entered_at, e.at, e.trigger, e.data FROM enrollments e "
    "WHERE e.version_id = :version AND e.workflow = :workflow AND {who} AND {open}"
)
_CHANGED = "e.contact_id IN (SELECT contact_id FROM candidates)"
_FRESH = "e.id > :after"
_LEAVING = "e.id IN (SELECT eid FROM gate)"


def judge_changed(slice_: Slice, runtime: Runtime) -> int:
    """Record goals and end journeys of contacts about whom something is new in the slice; inside a transaction."""
    ended = 0
    for version in watched(runtime):
        for judged in version.judged:
            if slice_.gather(judged.probes):
                ended += _apply(slice_.connection, version, judged, _CHANGED, slice_.t1)
    return ended + _close(slice_.connection, runtime, slice_.t1)


def judge_fresh(connection: sqlite3.Connection, runtime: Runtime, after: int, now: int) -> int:
    """The same for the enrollments with an id above `after`; a state goal that holds at entry ends them as `already`."""
    ended = 0
    versions = [
        row[0] for row in connection.execute("SELECT DISTINCT version_id FROM enrollments WHERE id > ?", (after,))
    ]
    for version_id in versions:
        version = runtime.versions[version_id]
        for judged in version.secondary:
            if not judged.state_only:  # a field or segment that is so already was not reached by the journey
                _apply(connection, version, judged, _FRESH, now, after=after)
        for judged in conditions(version):
            if judged is version.goal and judged.state_only and judged.ends:
                ended += _already(connection, version, judged, after, now)
            else:
                ended += _apply(connection, version, judged, _FRESH, now, after=after)
    return ended


def judge_leaving(connection: sqlite3.Connection, runtime: Runtime, now: int) -> int:
    """The same for those whose message is about to leave: the rows of `gate`."""
    versions = [row[0] for row in connection.execute("SELECT DISTINCT version FROM gate")]
    return sum(
        _apply(connection, runtime.versions[version_id], judged, _LEAVING, now)
        for version_id in versions
        for judged in conditions(runtime.versions[version_id])
    )


def wake(slice_: Slice, runtime: Runtime) -> int:
    """Make due whoever waits for a fact of a kind that is new in the slice."""
    woken = 0
    for version in runtime.versions.in_flight():
        for pc, probes in version.sleepers.items():
            if slice_.gather(probes):
                woken += slice_.connection.execute(
                    "UPDATE enrollments AS e SET due_at = :now WHERE e.contact_id IN (SELECT contact_id FROM candidates) "
                    "AND e.workflow = :workflow AND e.version_id = :version AND e.pc = :pc AND e.until_at IS NOT NULL AND e.due_at > :now",
                    {"now": slice_.t1, "workflow": version.workflow, "version": version.id, "pc": pc},
                ).rowcount
    return woken


def end(connection: sqlite3.Connection, rows: str, state: int, reason: str, now: int, **params: object) -> int:
    """End the enrollments of a `SELECT id, at`, cancel their messages not yet transmitting, journal it; returns how many."""
    _collect(connection, rows, now, **params)
    return _end_collected(connection, state, reason, now)


def settled(state: int) -> str:
    """SQL that settles an outbox row at `:now`; one that may have left at an earlier attempt stays in doubt, whatever was to become of it."""
    return (
        f"state = CASE WHEN doubts > 0 THEN {IN_DOUBT} ELSE {state} END, ready_at = NULL, settled_at = :now, "
        "counted_at = CASE WHEN doubts > 0 THEN coalesce(counted_at, :now) END"
    )


def watched(runtime: Runtime) -> list[Version]:
    """Versions in flight, and those whose goal may still be met after the journey ended."""
    watched = {version.id: version for version in runtime.versions.in_flight()}
    for version_id in runtime.said["late_goals"]:
        watched.setdefault(version_id, runtime.versions[version_id])
    return list(watched.values())


def conditions(version: Version) -> list[Judged]:
    """What ends a journey, or records its goal, of a version: the goal first."""
    return [*([version.goal] if version.goal else []), *version.exits]


def _apply(
    connection: sqlite3.Connection, version: Version, judged: Judged, who: str, now: int, **params: object
) -> int:
    if judged in version.secondary:
        return _secondary(connection, version, judged, who, now, **params)
    is_goal = judged is version.goal
    named = {"version": version.id, "workflow": version.workflow, "within": judged.within_ms, **params}
    if is_goal:
        over = (
            "(e.ended_at IS NULL OR coalesce(e.reason, '') NOT IN ('already', 'restarted') AND e.entered_at + :within > :now - 86400000)"
            if judged.within_ms
            else ("e.ended_at IS NULL")
        )
        open_ = f"e.goal_at IS NULL AND {over}"
    else:
        open_ = "e.ended_at IS NULL" + (" AND e.goal_at IS NULL" if version.goal and version.goal.ends else "")
    at = judged.at or ":now"
    met = (
        f"SELECT w.eid, (SELECT {at} FROM contacts c WHERE c.id = w.contact_id) AS at FROM ({_ROW.format(who=who, open=open_)}) w "
        f"WHERE EXISTS (SELECT 1 FROM contacts c WHERE c.id = w.contact_id AND ({judged.sql}))"
    )
    in_time = " WHERE x.at IS NOT NULL" + (
        " AND x.at <= (SELECT e.entered_at + :within FROM enrollments e WHERE e.id = x.eid)"
        if is_goal and judged.within_ms
        else ""
    )
    if not _collect(connection, f"SELECT x.eid, x.at FROM ({met}) x{in_time}", now, **named):
        return 0
    return (
        _met_goal(connection, version, judged, now)
        if is_goal
        else _end_collected(connection, EXITED, judged.reason, now)
    )


def _secondary(
    connection: sqlite3.Connection, version: Version, judged: Judged, who: str, now: int, **params: object
) -> int:
    """Record it once an enrollment; it ends nobody. What follows from the fact that ended a journey comes a look later, with that fact's time."""
    open_ = (
        "(e.ended_at IS NULL OR e.ended_at > :now - 86400000) "
        "AND NOT EXISTS (SELECT 1 FROM secondary_goals g WHERE g.enrollment_id = e.id AND g.name = :name)"
    )
    changed = "(SELECT max(k.at, w.entered_at) FROM candidates k WHERE k.contact_id = w.contact_id)"
    at = judged.at or (changed if who == _CHANGED else ":now")
    met = (
        f"SELECT w.eid, (SELECT {at} FROM contacts c WHERE c.id = w.contact_id) AS at FROM ({_ROW.format(who=who, open=open_)}) w "
        f"WHERE EXISTS (SELECT 1 FROM contacts c WHERE c.id = w.contact_id AND ({judged.sql}))"
    )
    named = {"version": version.id, "workflow": version.workflow, "name": judged.reason, **params}
    in_time = "x.at IS NOT NULL AND x.at <= coalesce((SELECT e.ended_at FROM enrollments e WHERE e.id = x.eid), x.at)"
    if _collect(connection, f"SELECT x.eid, x.at FROM ({met}) x WHERE {in_time}", now, **named):
        connection.execute(
            "INSERT INTO secondary_goals (enrollment_id, name, at) SELECT eid, ?, at FROM ending WHERE true ON CONFLICT (enrollment_id, name) DO NOTHING",
            (judged.reason,),
        )
        _journal(connection, "secondary_goal", judged.reason)
    return 0


def _met_goal(connection: sqlite3.Connection, version: Version, judged: Judged, now: int) -> int:
    """Record it once; where it ends the journey, end it or go on with `on_goal`."""
    connection.execute(
        "UPDATE enrollments SET goal_at = x.at FROM ending x WHERE id = x.eid AND id IN (SELECT eid FROM ending)"
    )
    active = "SELECT x.eid, x.at FROM ending x WHERE EXISTS (SELECT 1 FROM enrollments e WHERE e.id = x.eid AND e.ended_at IS NULL)"
    if judged.ends and version.on_goal is None:
        _journal(connection, "goal", "goal", ended=True)
        _collect(connection, active, now)
        return _end_collected(connection, GOAL, "goal", now)
    _journal(connection, "goal", "goal")
    if not judged.ends:
        return 0
    _collect(connection, active, now)
    _cancel(connection, now, "goal")
    return connection.execute(
        "UPDATE enrollments SET pc = ?, at = x.at, due_at = x.at, until_at = NULL FROM ending x "
        "WHERE id = x.eid AND id IN (SELECT eid FROM ending)",
        (version.on_goal,),
    ).rowcount


def _already(connection: sqlite3.Connection, version: Version, judged: Judged, after: int, now: int) -> int:
    rows = (
        f"SELECT w.eid, w.entered_at FROM ({_ROW.format(who=_FRESH, open='e.ended_at IS NULL')}) w "
        f"WHERE EXISTS (SELECT 1 FROM contacts c WHERE c.id = w.contact_id AND ({judged.sql}))"
    )
    return end(connection, rows, EXITED, "already", now, version=version.id, workflow=version.workflow, after=after)


def _close(connection: sqlite3.Connection, runtime: Runtime, now: int) -> int:
    """End whoever is still inside a workflow whose last day is over and that says `at_end: exit`."""
    ended = 0
    for entrance in runtime.entrances:
        if entrance.at_end_exit and entrance.until_at is not None and entrance.until_at <= now:
            for version in runtime.versions.in_flight():
                if version.workflow == entrance.workflow:
                    rows = "SELECT id, :until FROM enrollments WHERE version_id = :version AND ended_at IS NULL"
                    ended += end(connection, rows, EXITED, "ended", now, version=version.id, until=entrance.until_at)
    return ended


def _collect(connection: sqlite3.Connection, rows: str, now: int, **params: object) -> int:
    """`ending` holds the enrollments of a `SELECT id, at`."""
    connection.execute("CREATE TEMP TABLE IF NOT EXISTS ending (eid INTEGER PRIMARY KEY, at INTEGER NOT NULL)")
    connection.execute("CREATE TEMP TABLE IF NOT EXISTS ended (eid INTEGER PRIMARY KEY, at INTEGER NOT NULL)")
    connection.execute("DELETE FROM ended")
    connection.execute(
        f"INSERT INTO ended SELECT * FROM ({rows}) WHERE true ON CONFLICT (eid) DO NOTHING", {"now": now, **params}
    )
    connection.execute("DELETE FROM ending")
    return connection.execute("INSERT INTO ending SELECT * FROM ended").rowcount


def _end_collected(connection: sqlite3.Connection, state: int, reason: str, now: int) -> int:
    _cancel(connection, now, reason)
    _journal(connection, "goal" if state == GOAL else "exited", reason)
    return connection.execute(
        "UPDATE enrollments SET state = :state, reason = :reason, ended_at = x.at, due_at = NULL, until_at = NULL FROM ending x "
        f"WHERE id = x.eid AND id IN (SELECT eid FROM ending) AND state = {ACTIVE}",
        {"state": state, "reason": reason},
    ).rowcount


def _journal(connection: sqlite3.Connection, kind: str, reason: str, *, ended: bool = False) -> None:
    only = " WHERE EXISTS (SELECT 1 FROM enrollments n WHERE n.id = x.eid AND n.ended_at IS NOT NULL)" if ended else ""
    connection.execute(
        "INSERT INTO journal (contact_id, enrollment_id, version_id, pc, at, kind, detail) "
        f"SELECT e.contact_id, e.id, e.version_id, e.pc, x.at, {KIND[kind]}, json_object('reason', :reason) "
        f"FROM ending x CROSS JOIN enrollments e ON e.id = x.eid{only}",
        {"reason": reason},
    )


def _cancel(connection: sqlite3.Connection, now: int, reason: str) -> None:
    """What is ready or claimed is cancelled; what is transmitting is past recall."""
    connection.execute(
        f"UPDATE outbox SET {settled(CANCELLED)}, reason = :reason "
        "WHERE enrollment_id IN (SELECT eid FROM ending) AND state IN (0, 1)",
        {"now": now, "reason": reason},
    )
