"""`wait`: a span, calendar days, a local time, or a spread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowctl.engine.localtime import due_sql, fill_due_ranges
from flowctl.engine.work import HERE
from flowctl.language.durations import Duration
from flowctl.language.steps.wait import Spread, WaitStep

if TYPE_CHECKING:
    from flowctl.engine.compiler import Compiler
    from flowctl.engine.runtime import Version
    from flowctl.engine.work import Batch
    from flowctl.program.instructions import Instruction


def compiled(instruction: Instruction, compiler: Compiler) -> dict[str, Any]:
    """Months, days and ms, and a time of day; or the two ends of a spread in ms."""
    step = instruction.step
    assert isinstance(step, WaitStep)  # noqa: S101 - the op says so
    if isinstance(step.wait, Spread):
        if step.time is not None or any(end.is_calendar for end in step.wait.between):
            compiler.refuse(
                step, "`wait: {between}` spreads over hours; with days or a `time` it does not run yet", "wait"
            )
        low, high = (end.elapsed_ms for end in step.wait.between)
        multiplier, increment = compiler.hash_numbers(instruction)
        return {"spread": [low, high - low, multiplier, increment]}
    return {
        "span": [step.wait.months, step.wait.days, step.wait.ms],
        "time": step.time.isoformat("minutes") if step.time else None,
    }


def run(batch: Batch, version: Version, pc: int, said: dict[str, Any]) -> None:
    """Who comes back, or need not wait at all, goes on at the time the wait ended; the rest park until it does."""
    here = batch.here(version, pc)
    _set_until(batch, version, pc, said)
    batch.move(version, pc, said["targets"]["next"], " AND w.until_at <= :now", ", at = w.until_at")
    batch.execute(f"UPDATE work AS w SET parked = 1, due_at = until_at WHERE {HERE}", **here)


def _set_until(batch: Batch, version: Version, pc: int, said: dict[str, Any]) -> None:
    here = batch.here(version, pc)
    new = f"WHERE {HERE} AND w.woken = 0"
    if "spread" in said:
        low, width, multiplier, increment = said["spread"]
        batch.execute(
            "UPDATE work AS w SET until_at = w.at + :low + "
            "((SELECT c._seed FROM contacts c WHERE c.id = w.contact_id) * :multiplier + :increment) % 2147483647 % :width " + new,
            low=low, width=width, multiplier=multiplier, increment=increment, **here,
        )  # fmt: skip
        return
    duration = Duration(*said["span"])
    if not duration.is_calendar and said["time"] is None:
        batch.execute("UPDATE work AS w SET until_at = w.at + :ms " + new, ms=duration.ms, **here)
        return
    set_local_until(batch, version, duration, said["time"], new, here)


def set_local_until(
    batch: Batch, version: Version, duration: Duration, time: str | None, new: str, here: dict[str, int]
) -> None:
    """`until_at` of new rows by local time, once per zone and stretch of equal offsets rather than once a row."""
    first, last = batch.connection.execute(
        f"SELECT min(w.at), max(w.at) FROM work w {new}", {"now": batch.now, **here}
    ).fetchone()
    if first is None:
        return
    fill_due_ranges(batch.connection, duration=duration, time=time, zone=version.zone, from_at=first, to_at=last)
    batch.execute(f"UPDATE work AS w SET until_at = {due_sql(version.zone)} {new}", **here)
