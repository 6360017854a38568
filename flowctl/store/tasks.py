"""What people are asked to do: listing tasks, and doing them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

from flowctl.failure import Failure, UsageFailure
from flowctl.store.database import transaction

if TYPE_CHECKING:
    import sqlite3

# A task is open while its contact still stands on its step.
_STATE = (
    "CASE WHEN t.done_at IS NOT NULL THEN 'done' WHEN t.timed_out = 1 THEN 'timed_out' "
    "WHEN e.ended_at IS NULL AND e.pc = t.pc AND e.at = t.at AND e.version_id = t.version_id THEN 'open' ELSE 'cancelled' END"
)
_SELECT = (
    f"SELECT t.id, {_STATE} AS state, t.team, t.title, coalesce(c.key, c.email, '#' || c.id), v.workflow, t.step, t.at, t.until_at, "
    "t.outcomes, t.outcome, t.done_at FROM tasks t JOIN enrollments e ON e.id = t.enrollment_id JOIN contacts c ON c.id = t.contact_id "
    "JOIN workflow_versions v ON v.id = t.version_id"
)
STATES = ("open", "done", "timed_out", "cancelled")


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """One task. Times are UTC milliseconds; `until_at` is when the contact stops waiting for it."""

    id: int
    state: str
    team: str
    title: str
    contact: str
    workflow: str
    step: str
    at: int
    until_at: int
    outcomes: tuple[str, ...]
    outcome: str | None
    done_at: int | None

    @classmethod
    def from_row(cls, row: tuple[int, str, str, str, str, str, str, int, int, str, str | None, int | None]) -> Task:
        """From the columns of the one query here."""
        return cls(
            id=row[0], state=row[1], team=row[2], title=row[3], contact=row[4], workflow=row[5], step=row[6], at=row[7],
            until_at=row[8], outcomes=tuple(json.loads(row[9])), outcome=row[10], done_at=row[11],
        )  # fmt: skip


def tasks(
    connection: sqlite3.Connection,
    *,
    state: str | None = "open",
    team: str | None = None,
    contact_id: int | None = None,
    limit: int = 1_000,
) -> list[Task]:
    """Tasks, the most urgent first; of every state where `state` is None."""
    # What is done and timed out is most of them, and has no place in the index.
    still = "t.done_at IS NULL AND t.timed_out = 0 AND " if state == "open" else ""
    rows = connection.execute(
        f"SELECT * FROM ({_SELECT} WHERE {still}t.team = coalesce(:team, t.team) "
        "AND t.contact_id = coalesce(:contact, t.contact_id)) "
        "WHERE state = coalesce(:state, state) ORDER BY until_at, id LIMIT :limit",
        {"state": state, "team": team, "contact": contact_id, "limit": limit},
    )
    return [Task.from_row(row) for row in rows]


def done(connection: sqlite3.Connection, task_id: int, outcome: str | None, *, now: int) -> Task:
    """Say what came of a task at `now` (UTC ms); its contact goes on at the next tick. Without an outcome: the only one there is.

    Raises:
        UsageFailure: there is no such task or outcome.
        Failure: it is not open any more.
    """
    with transaction(connection):
        row = connection.execute(f"{_SELECT} WHERE t.id = ?", (task_id,)).fetchone()
        if row is None:
            message = f"there is no task {task_id}"
            raise UsageFailure(message, help="`flowctl tasks list` shows them")
        task = Task.from_row(row)
        chosen = _chosen(task, outcome)
        if task.state != "open" or now > task.until_at:
            became = {"open": "timed out", "timed_out": "timed out", "done": f"done: {task.outcome}"}.get(
                task.state, "cancelled: its journey went on"
            )
            message = f"task {task_id} is {became}"
            raise Failure(message)
        at = max(now, task.at)
        connection.execute("UPDATE tasks SET outcome = ?, done_at = ? WHERE id = ?", (chosen, at, task_id))
        kept = {"step": f'$."{task.step}"', "outcome": chosen, "now": at, "task": task_id}
        data = (
            ", data = json_set(coalesce(data, '{}'), :step, json_object('outcome', :outcome))"
            if task.step not in ("", "input")
            else ""
        )
        connection.execute(
            f"UPDATE enrollments SET due_at = min(due_at, :now){data} "
            "WHERE id = (SELECT enrollment_id FROM tasks WHERE id = :task) AND ended_at IS NULL",
            kept,
        )
    return task


def _chosen(task: Task, outcome: str | None) -> str:
    if outcome is None and len(task.outcomes) == 1:
        return task.outcomes[0]
    if outcome is not None and outcome in task.outcomes:
        return outcome
    near = get_close_matches(outcome or "", task.outcomes, n=1)
    known = ", ".join(task.outcomes)
    message = (
        f"task {task.id} has no outcome {outcome!r}"
        if outcome is not None
        else f"what came of task {task.id}? say --outcome"
    )
    raise UsageFailure(
        message, help=f"did you mean `{near[0]}`? outcomes are {known}" if near else f"outcomes are {known}"
    )
