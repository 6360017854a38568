"""The due set in hand: a temporary table of enrollments on which every step runs, written back once a batch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from flowctl.engine.runtime import COMPLETED, EXITED, FAILED, GOAL, KIND

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from flowctl.engine.runtime import Runtime, Version

# `at` is the logical now of the row; `until_at` is set while it is parked on the step at `pc`; `woken` marks a row that comes back to it.
# Rows lie by version and position, so that a step reads a range of places: an index on the position costs twice as much as
# everything else, as each move of a row is a move in the index.
CREATE = """
CREATE TEMP TABLE IF NOT EXISTS work (
  place INTEGER PRIMARY KEY, version INTEGER NOT NULL, pc INTEGER NOT NULL, parked INTEGER NOT NULL,
  eid INTEGER NOT NULL UNIQUE, contact_id INTEGER NOT NULL, woken INTEGER NOT NULL, entered_at INTEGER NOT NULL, at INTEGER NOT NULL, due_at INTEGER, until_at INTEGER, visit INTEGER NOT NULL,
  trigger TEXT, data TEXT, goal_at INTEGER, state INTEGER NOT NULL, reason TEXT, way INTEGER, found_at INTEGER
)
"""
# The rows at a position, of `work w`, and those of them that run; the parameters are `Batch.here`.
AT = "w.place BETWEEN :first AND :last AND w.pc = :pc AND w.version = :version"
HERE = f"{AT} AND w.parked = 0"
RUNNING, PARKED, OVER, POSTING = range(4)  # POSTING: parked on a send whose message is written with the batch

TAKE = """
INSERT INTO work (version, pc, parked, eid, contact_id, woken, entered_at, at, due_at, until_at, visit, trigger, data, goal_at, state)
SELECT e.version_id, e.pc, 0, e.id, e.contact_id, e.until_at IS NOT NULL, e.entered_at, e.at, e.due_at, e.until_at, e.visit, e.trigger, e.data,
       e.goal_at, e.state
FROM enrollments e WHERE e.id IN (SELECT eid FROM due WHERE place > ? AND place <= ?) AND e.due_at <= ? ORDER BY e.version_id, e.pc, e.id
"""
POSITIONS = "SELECT version, pc, min(place), max(place) FROM work WHERE parked = 0 GROUP BY version, pc"
# What the rows in POSTING send; `address` is the number of a recipient's SQL.
POSTS = """
CREATE TEMP TABLE IF NOT EXISTS posts (
  version INTEGER, pc INTEGER, channel INTEGER, message INTEGER, marketing INTEGER, priority INTEGER, address INTEGER,
  PRIMARY KEY (version, pc, channel)
) WITHOUT ROWID
"""
# In the order of enrollments, whatever the order of positions: indexes grow at their end. A second look at a visit adds nothing.
POST = """
INSERT INTO outbox (contact_id, enrollment_id, version_id, pc, visit, channel, message, recipient, marketing, priority, arrived_at,
                    expires_at, ready_at)
SELECT w.contact_id, w.eid, w.version, w.pc, w.visit, w.way, p.message,
       (SELECT {recipient} FROM contacts c WHERE c.id = w.contact_id), p.marketing, p.priority, w.at, w.until_at, w.at
FROM work w CROSS JOIN posts p WHERE w.parked = 3 AND p.version = w.version AND p.pc = w.pc AND p.channel = w.way ORDER BY w.eid
ON CONFLICT (enrollment_id, pc, visit, channel, recipient) DO NOTHING
"""
NOTE_POSTS = f"""
INSERT INTO journal (contact_id, enrollment_id, version_id, pc, at, kind)
SELECT w.contact_id, w.eid, w.version, w.pc, w.at, {KIND["send"]} FROM work w WHERE w.parked = 3 ORDER BY w.eid
"""
PUT_PARKED = """
UPDATE enrollments SET pc = w.pc, at = w.at, due_at = w.due_at, until_at = w.until_at, visit = w.visit FROM work w
WHERE enrollments.id = w.eid AND enrollments.id IN (SELECT eid FROM work WHERE parked IN (1, 3))
"""
PUT_OVER = """
UPDATE enrollments SET pc = w.pc, at = w.at, due_at = NULL, until_at = NULL, visit = w.visit, state = w.state, reason = w.reason, ended_at = w.at
FROM work w WHERE enrollments.id = w.eid AND enrollments.id IN (SELECT eid FROM work WHERE parked = 2)
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Post:
    """What a send at a position posts on one channel."""

    message: int
    marketing: int
    priority: int
    recipient: str  # SQL over `c`


@dataclass(kw_only=True)
class Batch:
    """One transaction's worth of the due set, and what its steps may use."""

    connection: sqlite3.Connection
    runtime: Runtime
    now: int  # the slice's end
    facts: int = 0  # changes made that segments, triggers or exits may depend on
    sends: int = 0
    posts: dict[tuple[int, int, int], Post] = field(default_factory=dict)
    places: tuple[int, int] = (0, 0)  # where the rows at the position in hand lie: first and last

    @property
    def arms(self) -> Mapping[str, str]:
        """Step → the path of a split that a test wants."""
        return self.runtime.experiment.arms if self.runtime.experiment else {}

    def execute(self, sql: str, **params: object) -> int:
        """Run a statement on the rows in hand; returns how many rows it touched."""
        return self.connection.execute(sql, {"now": self.now, **params}).rowcount

    def here(self, version: Version, pc: int) -> dict[str, int]:
        """The parameters that name the position in hand."""
        first, last = self.places
        return {"version": version.id, "pc": pc, "first": first, "last": last}

    def anyone(self, version: Version, pc: int) -> bool:
        """Whether somebody runs at the position in hand."""
        return (
            self.connection.execute(f"SELECT 1 FROM work w WHERE {HERE} LIMIT 1", self.here(version, pc)).fetchone()
            is not None
        )

    def note(
        self,
        version: Version,
        pc: int,
        kind: str,
        detail: str = "NULL",
        source: str = "work w",
        where: str = "",
        **params: object,
    ) -> None:
        """Journal what the rows at a position did; `detail` is SQL over `source`, which must yield `w`."""
        self.execute(
            f"INSERT INTO journal (contact_id, enrollment_id, version_id, pc, at, kind, detail) "
            f"SELECT w.contact_id, w.eid, w.version, w.pc, w.at, {KIND[kind]}, {detail} FROM {source} "
            f"WHERE {HERE}{where}",
            **self.here(version, pc),
            **params,
        )

    def move(self, version: Version, pc: int, target: int, where: str = "", sets: str = "") -> int:
        """Send the running rows at a position on to another one."""
        self._mark(version, pc, where)
        return self.execute(
            f"UPDATE work AS w SET pc = :target, woken = 0, due_at = NULL, until_at = NULL, way = NULL, found_at = NULL{sets} "
            f"WHERE {HERE}{where}",
            target=target,
            **self.here(version, pc),
        )

    def _mark(self, version: Version, pc: int, where: str) -> None:
        step = version.instructions[pc]["step"]
        if step in version.marked:
            self.execute(
                "INSERT INTO marks (enrollment_id, step, at) SELECT w.eid, :step, coalesce(w.found_at, w.until_at, w.at) FROM work w "
                f"WHERE {HERE}{where} "
                "ON CONFLICT (enrollment_id, step) DO UPDATE SET at = excluded.at",
                step=step,
                **self.here(version, pc),
            )

    def end(self, version: Version, pc: int, state: int, reason: str | None, where: str = "") -> int:
        """End the running rows at a position; one whose goal was met ends as goal."""
        kind = {COMPLETED: "completed", EXITED: "exited", FAILED: "failed", GOAL: "goal"}[state]
        self.note(
            version,
            pc,
            kind,
            "CASE WHEN :reason IS NOT NULL THEN json_object('reason', :reason) END",
            where=where,
            reason=reason,
        )
        return self.execute(
            f"UPDATE work AS w SET parked = 2, state = CASE WHEN w.goal_at IS NOT NULL AND {state} = {COMPLETED} THEN {GOAL} ELSE {state} END, "
            "reason = CASE WHEN w.goal_at IS NOT NULL THEN coalesce(:reason, 'goal') ELSE :reason END "
            f"WHERE {HERE}{where}",
            reason=reason,
            **self.here(version, pc),
        )

    def put(self) -> None:
        """Write everything back: messages posted, enrollments parked and over."""
        if self.posts:
            self._post()
        self.connection.execute(PUT_PARKED)
        self.facts += self.connection.execute(PUT_OVER).rowcount

    def _post(self) -> None:
        recipients = list(dict.fromkeys(post.recipient for post in self.posts.values()))
        self.connection.execute(POSTS)
        self.connection.execute("DELETE FROM posts")
        self.connection.executemany(
            "INSERT INTO posts VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                (*where, post.message, post.marketing, post.priority, recipients.index(post.recipient))
                for where, post in self.posts.items()
            ],
        )
        cases = " ".join(f"WHEN {number} THEN {recipient}" for number, recipient in enumerate(recipients))
        self.connection.execute(
            POST.format(recipient=f"CASE p.address {cases} END" if len(recipients) > 1 else recipients[0])
        )
        self.sends += self.connection.execute(NOTE_POSTS).rowcount
