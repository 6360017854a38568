"""The end of a turn of `repeat`: wait until the next one is due."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowctl.engine.steps.wait import set_local_until
from flowctl.engine.work import HERE
from flowctl.language.durations import Duration
from flowctl.language.steps import RepeatStep

if TYPE_CHECKING:
    from flowctl.engine.compiler import Compiler
    from flowctl.engine.runtime import Version
    from flowctl.engine.work import Batch
    from flowctl.program.instructions import Instruction


def compiled(instruction: Instruction, compiler: Compiler) -> dict[str, Any]:
    """The spans between turns, the last of which repeats."""
    step = instruction.step
    assert isinstance(step, RepeatStep)  # noqa: S101 - the op says so
    turns = step.repeat
    return {"every": [[span.months, span.days, span.ms] for span in turns.every], "max": turns.max}


def run(batch: Batch, version: Version, pc: int, said: dict[str, Any]) -> None:
    """`every` counts from the turn's last send really leaving, else from the turn's start, and never ends before its steps did."""
    here = {**batch.here(version, pc), "head": said["targets"]["next"]}
    at_pc = f"WHERE {HERE}"
    turn = "(SELECT t.{0} FROM turns t WHERE t.enrollment_id = w.eid AND t.pc = :head)"
    batch.execute(f"UPDATE work AS w SET way = {turn.format('turn')} {at_pc} AND w.woken = 0", **here)
    # After the last turn nothing is waited for.
    batch.move(version, pc, said["targets"]["next"], f" AND w.woken = 0 AND w.way >= {said['max']}")
    started = turn.format("started_at")
    batch.execute(
        f"UPDATE work AS w SET found_at = w.at, at = coalesce((SELECT max(o.settled_at) FROM outbox o WHERE o.enrollment_id = w.eid "
        f"AND o.state IN (3, 5) AND o.settled_at >= {started}), {started}) {at_pc} AND w.woken = 0",
        **here,
    )
    last = len(said["every"])
    for nth, span in enumerate(said["every"], start=1):
        which = f"w.way = {nth}" if nth < last else f"w.way >= {nth}"
        set_local_until(
            batch, version, Duration(*span), None, f"{at_pc} AND w.woken = 0 AND {which}", batch.here(version, pc)
        )
    batch.execute(
        f"UPDATE work AS w SET until_at = max(w.until_at, w.found_at), at = w.found_at {at_pc} AND w.woken = 0", **here
    )
    batch.move(version, pc, said["targets"]["next"], " AND w.until_at <= :now", ", at = w.until_at")
    batch.execute(
        f"UPDATE work AS w SET parked = 1, due_at = until_at, way = NULL, found_at = NULL {at_pc}",
        **batch.here(version, pc),
    )
