"""`task`: a person acts; the contact waits until then, or for the time-out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from flowctl.engine.rendering import Templates, fill
from flowctl.engine.steps.wait import set_local_until
from flowctl.engine.work import HERE
from flowctl.language.durations import Duration
from flowctl.language.steps import TaskStep

if TYPE_CHECKING:
    from flowctl.engine.compiler import Compiler
    from flowctl.engine.runtime import Version
    from flowctl.engine.work import Batch
    from flowctl.program.instructions import Instruction

_MINE = "t.enrollment_id = w.eid AND t.pc = w.pc AND t.at = w.at"


def compiled(instruction: Instruction, compiler: Compiler) -> dict[str, Any]:
    """Team, SQL of the title, outcomes, time-out."""
    step = instruction.step
    assert isinstance(step, TaskStep)  # noqa: S101 - the op says so
    said = step.task
    if said.timeout is None:
        compiler.refuse(step, "a `task` without `timeout` could hold a contact for ever", "task")
        return {}
    templates = Templates(compiler=compiler)
    return {
        "team": said.team,
        "title": templates.text(said, said.title, "title"),
        "outcomes": said.outcomes,
        "timeout": [said.timeout.months, said.timeout.days, said.timeout.ms],
        "id": step.id or "",
        "templates": templates.found,
    }


def run(batch: Batch, version: Version, pc: int, said: dict[str, Any]) -> None:
    """Like `wait_for`: what a person did, at its own time, or the time-out."""
    here = batch.here(version, pc)
    _arrive(batch, version, pc, said)
    batch.execute(
        f"UPDATE work AS w SET found_at = (SELECT t.done_at FROM tasks t WHERE {_MINE} AND t.done_at <= w.until_at) WHERE {HERE}",
        **here,
    )
    found, late = " AND w.found_at IS NOT NULL", " AND w.until_at <= :now"
    batch.note(
        version, pc, "woken", "json_object('at', w.found_at, 'task', t.id, 'outcome', t.outcome)",
        source=f"work w JOIN tasks t ON {_MINE}", where=found,
    )  # fmt: skip
    batch.move(version, pc, said["targets"]["then"], found, ", at = w.found_at")
    batch.execute(
        f"UPDATE tasks SET timed_out = 1 WHERE id IN (SELECT t.id FROM work w JOIN tasks t ON {_MINE} WHERE {HERE}{late}) AND done_at IS NULL",
        **here,
    )
    batch.note(version, pc, "timed_out", "json_object('at', w.until_at)", where=late)
    batch.move(version, pc, said["targets"]["timeout"], late, ", at = w.until_at")
    batch.execute(f"UPDATE work AS w SET parked = 1, due_at = until_at WHERE {HERE}", **here)


def _arrive(batch: Batch, version: Version, pc: int, said: dict[str, Any]) -> None:
    here = batch.here(version, pc)
    fill(batch, version, pc, said["templates"], where=" AND w.woken = 0")
    new = f"WHERE {HERE} AND w.woken = 0"
    timeout = Duration(*said["timeout"])
    if timeout.is_calendar:
        set_local_until(batch, version, timeout, None, new, here)
    else:
        batch.execute(f"UPDATE work AS w SET until_at = w.at + :ms {new}", ms=timeout.ms, **here)
    batch.execute(
        "INSERT INTO tasks (contact_id, enrollment_id, version_id, pc, at, until_at, team, step, title, outcomes) "
        f"SELECT w.contact_id, w.eid, w.version, w.pc, w.at, w.until_at, :team, :step, {said['title']}, :outcomes FROM work w {new} "
        "ORDER BY w.eid ON CONFLICT (enrollment_id, pc, at) DO NOTHING",
        team=said["team"],
        step=said["id"],
        outcomes=json.dumps(said["outcomes"]),
        **here,
    )
    batch.note(
        version, pc, "task", "json_object('task', t.id, 'team', t.team, 'title', t.title)",
        source=f"work w JOIN tasks t ON {_MINE}", where=" AND w.woken = 0",
    )  # fmt: skip
