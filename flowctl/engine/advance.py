"""Advance the due set: batches in row order, position by position, one transaction each."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowctl.engine import work
from flowctl.engine.runtime import FAILED, KIND
from flowctl.engine.steps import kind_of
from flowctl.engine.work import Batch
from flowctl.store.database import transaction

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowctl.engine.runtime import Runtime

Places = dict[
    tuple[int, int], tuple[int, int]
]  # (version, pc) → the first and last place in `work` where rows at it may lie

BATCH_ROWS = 20_000  # measured best: a tenth of the commits of 2,000, and no transaction over half a second
RENDERED_ROWS = 4_000  # the same where steps render templates, a row at a time: 0.07 ms each
ROUNDS_MAX = 10_000  # positions one batch may pass; a program is a few hundred long and time-free cycles are refused


@dataclass(kw_only=True)
class Advanced:
    """What advancing did."""

    rows: int = 0
    facts: int = 0
    sends: int = 0
    failed: int = 0


def advance(
    connection: sqlite3.Connection,
    runtime: Runtime,
    now: int,
    *,
    batch_rows: int = BATCH_ROWS,
    stopped: Callable[[], bool] | None = None,
) -> Advanced:
    """Take every enrollment that is due at `now` (UTC ms) as far as it goes without time passing; no further batch once `stopped`."""
    done = Advanced()
    connection.execute("CREATE TEMP TABLE IF NOT EXISTS due (place INTEGER PRIMARY KEY, eid INTEGER NOT NULL)")
    connection.execute(work.CREATE)
    connection.execute("DELETE FROM due")
    resting = (
        [version.id for version in runtime.versions.in_flight() if not runtime.runs(version.workflow)]
        if _some_rest(runtime)
        else []
    )
    rest = f" AND version_id NOT IN ({', '.join(map(str, resting))})" if resting else ""
    # By its index, or SQLite would rather read all enrollments than sort the few that are due.
    connection.execute(
        f"INSERT INTO due (eid) SELECT id FROM enrollments INDEXED BY enrollments_due WHERE due_at <= ?{rest} ORDER BY id",
        (now,),
    )
    (last,) = connection.execute("SELECT coalesce(max(place), 0) FROM due").fetchone()
    if last > RENDERED_ROWS and _some_render(runtime):
        batch_rows = min(batch_rows, RENDERED_ROWS)
    for start in range(0, last, batch_rows):
        if stopped is not None and stopped():
            break
        _run(connection, runtime, now, start, min(start + batch_rows, last), done)
    return done


def _some_render(runtime: Runtime) -> bool:
    return any(said.get("templates") for version in runtime.versions.in_flight() for said in version.instructions)


def _some_rest(runtime: Runtime) -> bool:
    return any(not runtime.runs(workflow) for workflow in runtime.states)


def _run(connection: sqlite3.Connection, runtime: Runtime, now: int, start: int, stop: int, done: Advanced) -> None:
    """One batch; where a row cannot be taken, halves of it, down to the row, which is marked failed."""
    try:
        with transaction(connection):
            batch = Batch(connection=connection, runtime=runtime, now=now)
            taken = _advance_batch(batch, start, stop)
    except (sqlite3.Error, ValueError, ArithmeticError) as fault:  # what a row's values make SQLite or Python raise
        if stop - start > 1:
            middle = (start + stop) // 2
            _run(connection, runtime, now, start, middle, done)
            _run(connection, runtime, now, middle, stop, done)
        else:
            _fail(connection, now, stop, fault)
            done.failed += 1
        return
    done.rows += taken
    done.facts += batch.facts
    done.sends += batch.sends


def _advance_batch(batch: Batch, start: int, stop: int) -> int:
    connection = batch.connection
    connection.execute("DELETE FROM work")
    taken = connection.execute(work.TAKE, (start, stop, batch.now)).rowcount
    places: Places = {}
    for _ in range(ROUNDS_MAX):
        places = places or {
            (version, pc): (first, last) for version, pc, first, last in connection.execute(work.POSITIONS)
        }
        if not places:
            break
        places = _round(batch, places)
    else:
        message = f"{ROUNDS_MAX} rounds without time passing"
        raise sqlite3.DataError(message)
    batch.put()
    return taken


def _round(batch: Batch, places: Places) -> Places:
    """Run each position that somebody may be at; returns those that somebody may be at then."""
    reached: Places = {}
    for (version_id, pc), (first, last) in sorted(places.items()):
        version = batch.runtime.versions[version_id]
        batch.places = first, last
        if not batch.anyone(version, pc):
            continue
        if batch.runtime.experiment:
            batch.runtime.experiment.visited.add((version_id, pc))
        said = version.instructions[pc]
        kind = kind_of(said["op"])
        if kind is None:
            message = f"no step kind runs {said['op']!r}"
            raise sqlite3.DataError(message)
        kind.run(batch, version, pc, said)
        for target in said["targets"].values():
            before = reached.get((version_id, target), (first, last))
            reached[version_id, target] = min(first, before[0]), max(last, before[1])
    return reached


def _fail(connection: sqlite3.Connection, now: int, place: int, fault: Exception) -> None:
    named = {"place": place, "now": now, "reason": f"error: {fault}"[:200]}
    mine = "(SELECT eid FROM due WHERE place = :place)"
    with transaction(connection):
        connection.execute(
            "INSERT INTO journal (contact_id, enrollment_id, version_id, pc, at, kind, detail) "
            f"SELECT contact_id, id, version_id, pc, :now, {KIND['failed']}, json_object('reason', :reason) FROM enrollments WHERE id = {mine}",
            named,
        )
        connection.execute(
            f"UPDATE enrollments SET state = {FAILED}, reason = :reason, ended_at = :now, due_at = NULL, until_at = NULL WHERE id = {mine}",
            named,
        )
