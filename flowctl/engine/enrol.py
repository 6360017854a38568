"""Entries become enrollments: audience, re-entry, restart; the database's unique key is the last judge."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from flowctl.engine.finish import end
from flowctl.engine.runtime import EXITED, KIND

if TYPE_CHECKING:
    import sqlite3

    from flowctl.engine.runtime import Entrance, Runtime

ROWS_MAX = 20_000  # entries a transaction takes in hand
EVERYBODY = (0, 2**63 - 1)

_CREATE = """
CREATE TEMP TABLE IF NOT EXISTS arriving (
  id INTEGER PRIMARY KEY, eid INTEGER, contact_id INTEGER NOT NULL, version INTEGER, entered_at INTEGER NOT NULL, at INTEGER NOT NULL,
  cause TEXT NOT NULL, trigger TEXT, data TEXT, step TEXT, forced INTEGER NOT NULL, rkey TEXT NOT NULL, verdict TEXT
)
"""
# By way of a list of ids: joined as it reads, SQLite may make a Bloom filter first, which reads all enrollments.
_RUNNING = "arriving w CROSS JOIN enrollments e ON e.id IN (SELECT n.id FROM enrollments n WHERE n.contact_id = w.contact_id AND n.ended_at IS NULL"
_MINE = "e.contact_id = w.contact_id AND e.workflow = :workflow"
# Runs that are over by now and were not at the time of the fact; to a fact from outside, one that ends at its very instant is still there.
_INSIDE = "e.entered_at <= w.at AND (e.ended_at > w.at OR e.ended_at = w.at AND e.entered_at < w.at)"


def waiting(connection: sqlite3.Connection) -> list[str]:
    """The workflows that entries wait for."""
    # A loose index scan: one probe a workflow, however many entries there are.
    rows = connection.execute(
        "WITH RECURSIVE v(name) AS (SELECT min(workflow) FROM entries UNION ALL "
        "SELECT (SELECT min(workflow) FROM entries WHERE workflow > v.name) FROM v WHERE v.name IS NOT NULL) "
        "SELECT name FROM v WHERE name IS NOT NULL"
    )
    return [name for (name,) in rows]


def enrol(
    connection: sqlite3.Connection, runtime: Runtime, now: int, *, contacts: tuple[int, int] = EVERYBODY
) -> tuple[int, int]:
    """Judge one round of entries: the first of each contact and key, and all that are turned away whatever comes first.

    Runs inside the caller's transaction. What remains waits for the next round, after the new enrollments advanced, so that several facts
    of one slice act as if they had come one tick each. `contacts` are the first and last id to judge. Returns how many entered and how many entries were consumed.
    """
    entrances = {entrance.workflow: entrance for entrance in runtime.entrances}
    entered = consumed = 0
    connection.execute(_CREATE)
    # Of workflows that exclude each other the one of the highest priority is asked first.
    for workflow in sorted(
        waiting(connection), key=lambda name: (-entrances[name].priority if name in entrances else 0, name)
    ):
        entrance = entrances.get(workflow)
        connection.execute("DELETE FROM arriving")
        key = (entrance.key if entrance else None) or "NULL"
        connection.execute(
            "INSERT INTO arriving SELECT w.id, NULL, w.contact_id, :version, w.at, w.at, w.cause, w.trigger, w.data, w.step, w.forced, "
            f"coalesce(CAST({key} AS TEXT), ''), NULL FROM entries w CROSS JOIN contacts c ON c.id = w.contact_id "
            "WHERE w.workflow = :workflow AND +w.contact_id BETWEEN :low AND :high ORDER BY w.id LIMIT :rows",
            {
                "workflow": workflow,
                "version": entrance.version_id if entrance else None,
                "rows": ROWS_MAX,
                "now": now,
                "low": contacts[0],
                "high": contacts[1],
            },
        )
        if entrance is None or not runtime.admits(workflow):
            _verdict(connection, workflow, now, "'closed'", "1")
        else:
            _judge(connection, entrance, now)
            rivals = _rivals(runtime, entrance)
            _yield_to(
                connection, entrance, now, [rival.workflow for rival in rivals if rival.priority >= entrance.priority]
            )
            entered += _enter(connection, runtime, entrance, now)
        consumed += _consume(connection, workflow, entrance, now)
    return entered, consumed


def turn_away(connection: sqlite3.Connection, contact_id: int, reason: str, now: int) -> int:
    """Refuse all entries of a contact who cannot be judged; returns how many."""
    connection.execute(
        "INSERT INTO journal (contact_id, enrollment_id, version_id, pc, at, kind, detail) SELECT w.contact_id, NULL, NULL, NULL, ?, "
        f"{KIND['refused']}, json_object('workflow', w.workflow, 'reason', ?, 'cause', w.cause) FROM entries w WHERE w.contact_id = ? ORDER BY w.id",
        (now, reason, contact_id),
    )
    return connection.execute("DELETE FROM entries WHERE contact_id = ?", (contact_id,)).rowcount


def verdict_on(
    connection: sqlite3.Connection, runtime: Runtime, entrance: Entrance, contact_id: int, now: int
) -> str | None:
    """Why a contact would be turned away from a workflow by a fact of `now` (UTC ms), None where they would enter.

    A workflow with a re-entry key is judged for the unknown key. Writes to a temporary table only.
    """
    if not runtime.admits(entrance.workflow):
        return "closed"
    connection.execute(_CREATE)
    connection.execute("DELETE FROM arriving")
    connection.execute(
        "INSERT INTO arriving (id, contact_id, version, entered_at, at, cause, forced, rkey) VALUES (0, ?1, ?2, ?3, ?3, '', 0, '')",
        (contact_id, entrance.version_id, now),
    )
    _judge(connection, entrance, now)
    stronger = [rival.workflow for rival in _rivals(runtime, entrance) if rival.priority >= entrance.priority]
    _yield_to(connection, entrance, now, stronger)
    (verdict,) = connection.execute("SELECT verdict FROM arriving").fetchone()
    connection.execute("DELETE FROM arriving")
    return None if verdict is None else str(verdict)


def _verdict(
    connection: sqlite3.Connection, workflow: str, now: int, verdict: str, where: str, **params: object
) -> None:
    connection.execute(
        f"UPDATE arriving AS w SET verdict = {verdict} WHERE w.verdict IS NULL AND ({where})",
        {"workflow": workflow, "now": now, **params},
    )


def _judge(connection: sqlite3.Connection, entrance: Entrance, now: int) -> None:
    """Turn away, in this order: causes used before, outside the active days, outside the audience, inside already, too soon."""
    name = entrance.workflow
    _verdict(
        connection, name, now, "'used'", f"EXISTS (SELECT 1 FROM enrollments e WHERE {_MINE} AND e.cause = w.cause)"
    )
    if entrance.from_at is not None:
        _verdict(connection, name, now, "'inactive'", "w.at < :from_at", from_at=entrance.from_at)
    if entrance.until_at is not None:
        _verdict(
            connection, name, now, "'inactive'", "w.at >= :until_at OR :now >= :until_at", until_at=entrance.until_at
        )
    if entrance.audience is not None:
        inside = f"EXISTS (SELECT 1 FROM contacts c WHERE c.id = w.contact_id AND ({entrance.audience}))"
        _verdict(connection, name, now, "'audience'", f"w.forced = 0 AND NOT {inside}")
    live = f"EXISTS (SELECT 1 FROM enrollments e WHERE {_MINE} AND e.ended_at IS NULL AND e.rkey = w.rkey)"
    if entrance.while_active == "ignore":
        # Who was inside at the time of the fact is turned away, though the run may be over by the time somebody looks.
        was_live = "(e.ended_at IS NULL OR e.entered_at <= w.at AND e.ended_at > w.at)"
        _verdict(
            connection,
            name,
            now,
            "'active'",
            f"EXISTS (SELECT 1 FROM enrollments e WHERE {_MINE} AND e.rkey = w.rkey AND {was_live})",
        )
    # A restart is no exit for `after`, and works with `never` too.
    unless_restarted = f" AND NOT {live}" if entrance.while_active == "restart" else ""
    before = f"{_MINE} AND e.rkey = w.rkey AND e.reason IS NOT 'restarted'"
    over = f"{before} AND e.ended_at IS NOT NULL AND NOT ({_INSIDE})" if entrance.while_active == "parallel" else before
    if entrance.after_ms is None:
        _verdict(
            connection, name, now, "'once'", f"EXISTS (SELECT 1 FROM enrollments e WHERE {over}){unless_restarted}"
        )
    else:
        recent = (
            f"{over} AND e.ended_at + :after > w.at"
            if entrance.since_exit
            else f"{before} AND e.entered_at + :after > w.at"
        )
        soon = f"EXISTS (SELECT 1 FROM enrollments e WHERE {recent}){unless_restarted}"
        _verdict(connection, name, now, "'too_soon'", soon, after=entrance.after_ms)


def _enter(connection: sqlite3.Connection, runtime: Runtime, entrance: Entrance, now: int) -> int:
    connection.execute(
        "UPDATE arriving SET verdict = 'enter' WHERE id IN (SELECT id FROM (SELECT id, row_number() OVER "
        "(PARTITION BY contact_id, rkey ORDER BY at, id) AS nth FROM arriving WHERE verdict IS NULL) WHERE nth = 1)"
    )
    if entrance.while_active == "restart":
        _restart(connection, entrance, now)
    weaker = [rival.workflow for rival in _rivals(runtime, entrance) if rival.priority < entrance.priority]
    if weaker:
        inside = f"SELECT e.id, max(w.at, e.entered_at) FROM {_RUNNING} AND n.workflow IN (SELECT value FROM json_each(:weaker))) WHERE w.verdict = 'enter'"
        end(connection, inside, EXITED, "superseded", now, weaker=json.dumps(weaker))
    steps = runtime.versions[entrance.version_id].steps
    positions = " ".join(f"WHEN '{step}' THEN {pc}" for step, pc in steps.items())
    begin = f"CASE w.step {positions} ELSE 0 END" if steps else "0"
    (before,) = connection.execute("SELECT coalesce(max(id), 0) FROM enrollments").fetchone()
    entered = connection.execute(
        "INSERT INTO enrollments (contact_id, workflow, version_id, cause, rkey, parallel, trigger, data, entered_at, pc, at, due_at) "
        f"SELECT w.contact_id, :workflow, :version, w.cause, w.rkey, :parallel, w.trigger, w.data, w.at, {begin}, w.at, w.at "
        "FROM arriving w WHERE w.verdict = 'enter' ORDER BY w.contact_id ON CONFLICT (contact_id, workflow, cause) DO NOTHING",
        {
            "workflow": entrance.workflow,
            "version": entrance.version_id,
            "parallel": int(entrance.while_active == "parallel"),
        },
    ).rowcount
    for pc in steps.values():
        for head in runtime.versions[entrance.version_id].heads_around(
            pc
        ):  # who enters inside a repeat is in its first turn
            connection.execute(
                "INSERT INTO turns (enrollment_id, pc, turn, started_at) SELECT id, ?, 1, entered_at FROM enrollments WHERE id > ? AND pc = ?",
                (head, before, pc),
            )
    connection.execute(
        "INSERT INTO journal (contact_id, enrollment_id, version_id, pc, at, kind, detail) "
        f"SELECT w.contact_id, w.eid, w.version_id, w.pc, w.entered_at, {KIND['entered']}, json_object('cause', w.cause, 'trigger', "
        f"CASE WHEN w.trigger IS NOT NULL THEN json(w.trigger) END{_seen(entrance)}) FROM {_entered(entrance)}",
        {"before": before, "now": now},
    )
    return entered


def _seen(entrance: Entrance) -> str:
    """What its audience looked at, as one more pair of a json_object over `c` and `w`."""
    return f", 'seen', json_object({entrance.audience_seen})" if entrance.audience_seen else ""


def _entered(entrance: Entrance) -> str:
    """The new enrollments as `w`; with their contacts as `c` where the audience looked at something."""
    rows = "(SELECT e.*, e.id AS eid FROM enrollments e WHERE e.id > :before) w"
    return f"{rows} CROSS JOIN contacts c ON c.id = w.contact_id" if entrance.audience_seen else rows


def _rivals(runtime: Runtime, entrance: Entrance) -> list[Entrance]:
    """The other workflows of its exclusive group."""
    if entrance.group is None:
        return []
    return [
        other for other in runtime.entrances if other.group == entrance.group and other.workflow != entrance.workflow
    ]


def _yield_to(connection: sqlite3.Connection, entrance: Entrance, now: int, stronger: list[str]) -> None:
    """Turn away whom a workflow of the same group and at least the same priority holds; the verdict names it."""
    if stronger:
        inside = "FROM enrollments e WHERE e.contact_id = w.contact_id AND e.ended_at IS NULL AND e.workflow IN (SELECT value FROM json_each(:stronger))"
        verdict = f"'exclusive: ' || (SELECT e.workflow {inside} ORDER BY e.id LIMIT 1)"
        _verdict(
            connection, entrance.workflow, now, verdict, f"EXISTS (SELECT 1 {inside})", stronger=json.dumps(stronger)
        )


def _restart(connection: sqlite3.Connection, entrance: Entrance, now: int) -> None:
    old = f"SELECT e.id, w.at FROM {_RUNNING} AND n.workflow = :workflow AND n.rkey = w.rkey) WHERE w.verdict = 'enter'"
    end(connection, old, EXITED, "restarted", now, workflow=entrance.workflow)


def _consume(connection: sqlite3.Connection, workflow: str, entrance: Entrance | None, now: int) -> int:
    """Journal who was turned away, and where it was the audience what that looked at; take everybody judged off the list."""
    told = "'workflow', :workflow, 'reason', w.verdict, 'cause', w.cause"
    seen = _seen(entrance) if entrance else ""
    detail = f"CASE w.verdict WHEN 'audience' THEN json_object({told}{seen}) ELSE json_object({told}) END"
    connection.execute(
        "INSERT INTO journal (contact_id, enrollment_id, version_id, pc, at, kind, detail) "
        f"SELECT w.contact_id, NULL, w.version, NULL, w.at, {KIND['refused']}, {detail if seen else f'json_object({told})'} "
        "FROM arriving w CROSS JOIN contacts c ON c.id = w.contact_id WHERE w.verdict NOT IN ('enter', 'used') ORDER BY w.id",
        {"workflow": workflow, "now": now},
    )
    return connection.execute(
        "DELETE FROM entries WHERE id IN (SELECT id FROM arriving WHERE verdict IS NOT NULL)"
    ).rowcount
