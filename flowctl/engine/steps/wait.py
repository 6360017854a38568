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
    """Months, days and ms of the span or of both ends of a spread, and a time of day."""
    step = instruction.step
    assert isinstance(step, WaitStep)  # noqa: S101 - the op says so
    time = step.time.isoformat("minutes") if step.time else None
    if isinstance(step.wait, Spread):
        ends = [[end.months, end.days, end.ms] for end in step.wait.between]
        return {"spread": ends, "hash": compiler.hash_numbers(instruction), "time": time}
    return {"span": [step.wait.months, step.wait.days, step.wait.ms], "time": time}


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
        _spread_until(batch, version, said, new, here)
        return
    duration = Duration(*said["span"])
    if not duration.is_calendar and said["time"] is None:
        batch.execute("UPDATE work AS w SET until_at = w.at + :ms " + new, ms=duration.ms, **here)
        return
    set_local_until(batch, version, duration, said["time"], new, here)


def _spread_until(batch: Batch, version: Version, said: dict[str, Any], new: str, here: dict[str, int]) -> None:
    """Between both ends by the contact's hash; with a time of day, the first one from there on."""
    low, high = (Duration(*end) for end in said["spread"])
    multiplier, increment = said["hash"]
    share = "((SELECT c._seed FROM contacts c WHERE c.id = w.contact_id) * :multiplier + :increment) % 2147483647"
    numbers = {"multiplier": multiplier, "increment": increment, **here}
    if not (low.is_calendar or high.is_calendar):
        spread = f"UPDATE work AS w SET until_at = w.at + :low + {share} % :width {new}"
        batch.execute(spread, low=low.ms, width=high.ms - low.ms, **numbers)
    else:
        set_local_until(batch, version, low, None, new, here)
        between = _by_ranges(batch, version, high, None, new, here)
        if between is not None:  # a night without an hour may leave nothing between the ends
            width = f"max(1, {between} - w.until_at)"
            batch.execute(f"UPDATE work AS w SET until_at = w.until_at + {share} % {width} {new}", **numbers)
    if said["time"] is not None:
        set_local_until(batch, version, Duration(), said["time"], new, here, since="w.until_at")


def set_local_until(
    batch: Batch,
    version: Version,
    duration: Duration,
    time: str | None,
    new: str,
    here: dict[str, int],
    since: str = "w.at",
) -> None:
    """`until_at` of new rows by local time, once per zone and stretch of equal offsets rather than once a row."""
    due = _by_ranges(batch, version, duration, time, new, here, since)
    if due is not None:
        batch.execute(f"UPDATE work AS w SET until_at = {due} {new}", **here)


def _by_ranges(
    batch: Batch,
    version: Version,
    duration: Duration,
    time: str | None,
    new: str,
    here: dict[str, int],
    since: str = "w.at",
) -> str | None:
    """SQL of when new rows are due, over ranges filled for them; None where there are none."""
    first, last = batch.connection.execute(
        f"SELECT min({since}), max({since}) FROM work w {new}", {"now": batch.now, **here}
    ).fetchone()
    if first is None:
        return None
    fill_due_ranges(batch.connection, duration=duration, time=time, zone=version.zone, from_at=first, to_at=last)
    return due_sql(version.zone, since)
