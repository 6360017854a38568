"""The due set in hand: a temporary table of enrollments on which every step runs, written back once a batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowctl.engine.runtime import COMPLETED, EXITED, FAILED, GOAL, KIND

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from flowctl.engine.runtime import Runtime, Version

# `at` is the logical now of the row; `until_at` is set while it is parked on the step at `pc`; `woken` marks a row that comes back to it.
CREATE = """
CREATE TEMP TABLE IF NOT EXISTS work (
  eid INTEGER PRIMARY KEY, contact_id INTEGER NOT NULL, version INTEGER NOT NULL, pc INTEGER NOT NULL, parked INTEGER NOT NULL,
  woken INTEGER NOT NULL, entered_at INTEGER NOT NULL, at INTEGER NOT NULL, due_at INTEGER, until_at INTEGER, visit INTEGER NOT NULL,
  trigger TEXT, data TEXT, goal_at INTEGER, state INTEGER NOT NULL, reason TEXT, way INTEGER, found_at INTEGER
)
"""
INDEX = "CREATE INDEX IF NOT EXISTS temp.work_position ON work (parked, version, pc)"
RUNNING, PARKED, OVER = range(3)

TAKE = """
INSERT INTO work
SELECT e.id, e.contact_id, e.version_id, e.pc, 0, e.until_at IS NOT NULL, e.entered_at, e.at, e.due_at, e.until_at, e.visit, e.trigger, e.data,
       e.goal_at, e.state, NULL, NULL, NULL
FROM enrollments e WHERE e.id IN (SELECT eid FROM due WHERE place > ? AND place <= ?) AND e.due_at <= ?
"""
PUT_PARKED = """
UPDATE enrollments SET pc = w.pc, at = w.at, due_at = w.due_at, until_at = w.until_at, visit = w.visit FROM work w
WHERE enrollments.id = w.eid AND enrollments.id IN (SELECT eid FROM work WHERE parked = 1)
"""
PUT_OVER = """
UPDATE enrollments SET pc = w.pc, at = w.at, due_at = NULL, until_at = NULL, visit = w.visit, state = w.state, reason = w.reason, ended_at = w.at
FROM work w WHERE enrollments.id = w.eid AND enrollments.id IN (SELECT eid FROM work WHERE parked = 2)
"""


@dataclass(kw_only=True)
class Batch:
    """One transaction's worth of the due set, and what its steps may use."""

    connection: sqlite3.Connection
    runtime: Runtime
    now: int  # the slice's end
    facts: int = 0  # changes made that segments, triggers or exits may depend on
    sends: int = 0

    @property
    def arms(self) -> Mapping[str, str]:
        """Step → the path of a split that a test wants."""
        return self.runtime.experiment.arms if self.runtime.experiment else {}

    def execute(self, sql: str, **params: object) -> int:
        """Run a statement on the rows in hand; returns how many rows it touched."""
        return self.connection.execute(sql, {"now": self.now, **params}).rowcount

    def here(self, version: Version, pc: int) -> dict[str, int]:
        """The parameters that name a position."""
        return {"version": version.id, "pc": pc}

    def note(self, version: Version, pc: int, kind: str, detail: str = "NULL", source: str = "work w", where: str = "", **params: object) -> None:
        """Journal what the rows at a position did; `detail` is SQL over `source`, which must yield `w`."""
        self.execute(
            f"INSERT INTO journal (contact_id, enrollment_id, version_id, pc, at, kind, detail) "
            f"SELECT w.contact_id, w.eid, w.version, w.pc, w.at, {KIND[kind]}, {detail} FROM {source} "
            f"WHERE w.parked = 0 AND w.version = :version AND w.pc = :pc{where}",
            **self.here(version, pc),
            **params,
        )

    def move(self, version: Version, pc: int, target: int, where: str = "", sets: str = "") -> int:
        """Send the running rows at a position on to another one."""
        self._mark(version, pc, where)
        return self.execute(
            f"UPDATE work AS w SET pc = :target, woken = 0, due_at = NULL, until_at = NULL, way = NULL, found_at = NULL{sets} "
            f"WHERE w.parked = 0 AND w.version = :version AND w.pc = :pc{where}",
            target=target,
            **self.here(version, pc),
        )

    def _mark(self, version: Version, pc: int, where: str) -> None:
        step = version.instructions[pc]["step"]
        if step in version.marked:
            self.execute(
                "INSERT INTO marks (enrollment_id, step, at) SELECT w.eid, :step, coalesce(w.found_at, w.until_at, w.at) FROM work w "
                f"WHERE w.parked = 0 AND w.version = :version AND w.pc = :pc{where} "
                "ON CONFLICT (enrollment_id, step) DO UPDATE SET at = excluded.at",
                step=step,
                **self.here(version, pc),
            )

    def end(self, version: Version, pc: int, state: int, reason: str | None, where: str = "") -> int:
        """End the running rows at a position; one whose goal was met ends as goal."""
        kind = {COMPLETED: "completed", EXITED: "exited", FAILED: "failed", GOAL: "goal"}[state]
        self.note(version, pc, kind, "CASE WHEN :reason IS NOT NULL THEN json_object('reason', :reason) END", where=where, reason=reason)
        return self.execute(
            f"UPDATE work AS w SET parked = 2, state = CASE WHEN w.goal_at IS NOT NULL AND {state} = {COMPLETED} THEN {GOAL} ELSE {state} END, "
            "reason = CASE WHEN w.goal_at IS NOT NULL THEN coalesce(:reason, 'goal') ELSE :reason END "
            f"WHERE w.parked = 0 AND w.version = :version AND w.pc = :pc{where}",
            reason=reason,
            **self.here(version, pc),
        )

