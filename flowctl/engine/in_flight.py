"""What an apply does to contacts inside older versions: they finish, unless `--in-flight` or the file's `move:` orders otherwise."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Literal

from flowctl.engine.finish import end, settled
from flowctl.engine.runtime import CANCELLED, EXITED, KIND, Versions
from flowctl.failure import UsageFailure
from flowctl.project.checking import key_node, key_place
from flowctl.project.references import no_such, node_of

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Mapping

    from flowctl.engine.runtime import Version
    from flowctl.language.problem import Problem
    from flowctl.project.project import Project

Order = Literal["exit", "finish"]
Orders = dict[str, Order]
REASON = "in-flight: exit"  # of those who leave by order


@dataclass(frozen=True, kw_only=True, slots=True)
class Carried:
    """What became of contacts in older versions: workflow → who left by order; workflow → old step → who was carried over."""

    exited: dict[str, int] = field(default_factory=dict)
    moved: dict[str, dict[str, int]] = field(default_factory=dict)


def carry(
    connection: sqlite3.Connection, project: Project, current: Mapping[str, int], orders: Mapping[str, Order], now: int
) -> Carried:
    """Carry out orders and moves, inside the transaction of an apply; `current` holds the version that newcomers enter, by workflow.

    Raises:
        UsageFailure: an order names a workflow that is not there.
    """
    _check_names(connection, orders)
    done = Carried()
    for version in Versions(connection).in_flight():
        name = version.workflow
        if version.id == current.get(name):
            continue
        order = orders.get(name)
        if order == "exit":
            rows = "SELECT id, :now FROM enrollments WHERE version_id = :version AND ended_at IS NULL"
            done.exited[name] = done.exited.get(name, 0) + end(
                connection, rows, EXITED, REASON, now, version=version.id
            )
        elif order is None and name in project.workflows and (moves := project.workflows[name].move):
            counts = done.moved.setdefault(name, {})
            target = Versions(connection)[current[name]]
            for old, new in moves.items():
                counts[old] = counts.get(old, 0) + _move(connection, version, target, old, new, now)
    return done


def unknown_steps(connection: sqlite3.Connection, project: Project) -> Iterator[Problem]:
    """What a newly written `move:` takes people from and no version so far has. A store that never ran the workflow knows no better."""
    moving = {name: workflow for name, workflow in project.workflows.items() if workflow.move}
    if not moving:
        return
    row = connection.execute("SELECT runtime -> '$.moves' FROM releases ORDER BY id DESC LIMIT 1").fetchone()
    before: dict[str, Any] = json.loads(row[0]) if row and row[0] else {}
    for name, workflow in moving.items():
        programs = connection.execute(
            "SELECT program -> '$.steps' FROM workflow_versions WHERE workflow = ?", (name,)
        ).fetchall()
        known = {step for (steps,) in programs for step in json.loads(steps)}
        node = node_of(workflow, "move")
        for old in workflow.move:
            if programs and old not in known and old not in before.get(name, {}):
                yield no_such(
                    "step",
                    old,
                    key_node(node, old),
                    key_place(node, old, workflow),
                    sorted(known),
                    of=f"`{name}` as applied so far",
                )


def parse_orders(words: list[str]) -> Orders:
    """`WORKFLOW=exit|finish`, each.

    Raises:
        UsageFailure: one is written otherwise.
    """
    orders: Orders = {}
    for word in words:
        name, _, order = word.partition("=")
        match order:
            case "exit" | "finish":
                orders[name] = order
            case _:
                message = f"--in-flight {word}: say what becomes of them"
                raise UsageFailure(
                    message, help=f"write --in-flight {name or 'WORKFLOW'}=exit or {name or 'WORKFLOW'}=finish"
                )
    return orders


def _check_names(connection: sqlite3.Connection, orders: Mapping[str, Order]) -> None:
    known = [name for (name,) in connection.execute("SELECT workflow FROM workflow_states ORDER BY workflow")]
    for name in orders:
        if name not in known:
            near = get_close_matches(name, known, 1)
            message = f"no workflow {name!r}"
            raise UsageFailure(
                message, help=f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known) or 'none'}"
            )


def _move(connection: sqlite3.Connection, version: Version, target: Version, old: str, new: str, now: int) -> int:
    """Carry who stands on a step over to the newest version; who has a message half way out finishes the version entered."""
    positions = [pc for pc, said in enumerate(version.instructions) if said["step"] == old]
    connection.execute("CREATE TEMP TABLE IF NOT EXISTS carried (eid INTEGER PRIMARY KEY)")
    connection.execute("DELETE FROM carried")
    connection.execute(
        "INSERT INTO carried SELECT e.id FROM enrollments e WHERE e.version_id = :version AND e.ended_at IS NULL "
        "AND e.pc IN (SELECT value FROM json_each(:positions)) "
        "AND NOT EXISTS (SELECT 1 FROM outbox o WHERE o.enrollment_id = e.id AND o.state = 2)",
        {"version": version.id, "positions": json.dumps(positions)},
    )
    connection.execute(
        f"UPDATE outbox SET {settled(CANCELLED)}, reason = 'moved' WHERE enrollment_id IN (SELECT eid FROM carried) AND state IN (0, 1)",
        {"now": now},
    )
    connection.execute(
        "DELETE FROM turns WHERE enrollment_id IN (SELECT eid FROM carried)"
    )  # they count positions of the old version
    connection.execute(
        "UPDATE enrollments SET version_id = :target, pc = :pc, at = :now, due_at = :now, until_at = NULL WHERE id IN (SELECT eid FROM carried)",
        {"target": target.id, "pc": target.steps[new], "now": now},
    )
    for head in target.heads_around(target.steps[new]):
        connection.execute(
            "INSERT INTO turns (enrollment_id, pc, turn, started_at) SELECT eid, ?, 1, ? FROM carried", (head, now)
        )
    return connection.execute(
        "INSERT INTO journal (contact_id, enrollment_id, version_id, pc, at, kind, detail) SELECT e.contact_id, e.id, e.version_id, e.pc, :now, "
        f"{KIND['moved']}, json_object('from', :old, 'from_version', :number) FROM enrollments e WHERE e.id IN (SELECT eid FROM carried)",
        {"now": now, "old": old, "number": version.number},
    ).rowcount
