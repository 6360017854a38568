"""How many enrollments reached each position of a version: people are conserved from step to step.

Waits write nothing into the journal (a row a wait would cost the engine a third of its speed), so the number that reached a
step is added up along the program: who entered, less who stands or ended on the way, split as branches, waits and sends were left.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import sqlite3

_ENTERED, _BRANCH, _WOKEN, _TIMED_OUT, _GOAL, _MOVED = 1, 3, 5, 6, 18, 31  # journal_kinds


@dataclass(frozen=True, kw_only=True, slots=True)
class Flow:
    """By position: how many enrollments reached it, and how many stand on it now."""

    reached: dict[int, int]
    here: dict[int, int]


def flow(connection: sqlite3.Connection, version_id: int) -> Flow:
    """The flow through one workflow version."""
    (text,) = connection.execute("SELECT program FROM workflow_versions WHERE id = ?", (version_id,)).fetchone()
    program: dict[str, Any] = json.loads(text)
    here = _counted(
        connection,
        "SELECT pc, count(*) FROM enrollments WHERE version_id = ? AND ended_at IS NULL GROUP BY pc",
        version_id,
    )
    ended = _counted(
        connection,
        "SELECT pc, count(*) FROM enrollments WHERE version_id = ? AND ended_at IS NOT NULL GROUP BY pc",
        version_id,
    )
    reached = _kind(connection, version_id, _ENTERED) + _kind(connection, version_id, _MOVED)
    carried = _carried(connection, version_id, program["instructions"])
    jumped: Counter[int] = Counter()
    if program["on_goal"] is not None:
        # Whoever met the goal inside went on from where it stood to `on_goal`; who met it later stayed where it ended.
        jumped = _counted(
            connection,
            "SELECT j.pc, count(*) FROM journal j JOIN enrollments e ON e.id = j.enrollment_id "
            f"WHERE j.version_id = ? AND j.kind = {_GOAL} AND (e.ended_at IS NULL OR e.ended_at >= j.at) AND e.pc <> j.pc GROUP BY j.pc",
            version_id,
        )
        reached[program["on_goal"]] += sum(jumped.values())
    seen = _counted(
        connection,
        "SELECT pc, count(DISTINCT enrollment_id) FROM journal WHERE version_id = ? AND pc IS NOT NULL GROUP BY pc",
        version_id,
    )
    for pc, said in enumerate(program["instructions"]):
        reached[pc] = max(
            reached[pc], seen[pc]
        )  # in a later turn of a repeat people stand before steps they were past already
        left = max(0, reached[pc] - here[pc] - ended[pc] - jumped[pc] - carried[pc])
        for target, count in _ways(connection, version_id, pc, said, left, seen):
            if target > pc:  # the only way back is a repeat's, and its turns are no new arrivals
                reached[target] += count
    return Flow(reached=dict(reached), here=dict(here))


def _carried(connection: sqlite3.Connection, version_id: int, instructions: list[dict[str, Any]]) -> Counter[int]:
    """By position: how many a `move:` carried from it over to a newer version."""
    rows = connection.execute(
        "SELECT j.detail ->> 'from', count(*) FROM workflow_versions v JOIN workflow_versions w ON w.workflow = v.workflow "
        f"JOIN journal j ON j.version_id = w.id AND j.kind = {_MOVED} AND j.detail ->> 'from_version' = v.number WHERE v.id = ? GROUP BY 1",
        (version_id,),
    )
    # Nobody stands on the branch that a `when:` puts before its step.
    stood = {said["step"]: pc for pc, said in reversed(list(enumerate(instructions))) if said["op"] != "branch"}
    return Counter({stood[step]: count for step, count in rows if step in stood})


def _ways(
    connection: sqlite3.Connection, version_id: int, pc: int, said: dict[str, Any], left: int, seen: Counter[int]
) -> list[tuple[int, int]]:
    """Where those who left a position went, by target."""
    targets: dict[str, int] = said["targets"]
    distinct = set(targets.values())
    if len(distinct) <= 1:
        return [(target, left) for target in distinct]
    match said["op"]:
        case "branch":
            then = _at(connection, version_id, pc, f"kind = {_BRANCH} AND detail ->> 'way' = 'then'")
            return [(targets["then"], then), (targets["else"], left - then)]
        case "wait_for" | "task":
            return [
                (targets["then"], _at(connection, version_id, pc, f"kind = {_WOKEN}")),
                (targets["timeout"], _at(connection, version_id, pc, f"kind = {_TIMED_OUT}")),
            ]
        case "send":
            (sent,) = connection.execute(
                "SELECT count(DISTINCT o.enrollment_id) FROM outbox o JOIN enrollments e ON e.id = o.enrollment_id "
                "WHERE o.version_id = ?1 AND o.pc = ?2 AND o.state IN (3, 5) AND e.pc <> ?2",
                (version_id, pc),
            ).fetchone()
            return [(targets["next"], min(sent, left)), (targets["skipped"], left - min(sent, left))]
        case "split" | "repeat":
            named = {"turn": "turn", "done": "next"} if said["op"] == "repeat" else {path: path for path in targets}
            return [
                (targets[label], _at(connection, version_id, pc, f"kind = {_BRANCH} AND detail ->> 'way' = ?", way))
                for way, label in named.items()
            ]
        case _:  # `wait_until` with a date that is missing or past: what those ways wrote tells how many took them
            aside = [(target, min(left, seen[target])) for label, target in targets.items() if label != "next"]
            return [*aside, (targets["next"], max(0, left - sum(count for _, count in aside)))]


def _kind(connection: sqlite3.Connection, version_id: int, kind: int) -> Counter[int]:
    query = f"SELECT pc, count(DISTINCT enrollment_id) FROM journal WHERE version_id = ? AND kind = {kind} AND pc IS NOT NULL GROUP BY pc"
    return _counted(connection, query, version_id)


def _at(connection: sqlite3.Connection, version_id: int, pc: int, where: str, *values: str) -> int:
    query = f"SELECT count(DISTINCT enrollment_id) FROM journal WHERE version_id = ? AND pc = ? AND {where}"
    return int(connection.execute(query, (version_id, pc, *values)).fetchone()[0])


def _counted(connection: sqlite3.Connection, query: str, version_id: int) -> Counter[int]:
    return Counter(dict(connection.execute(query, (version_id,)).fetchall()))
