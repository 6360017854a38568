"""`wait_for`: until a fact, or the time-out; when both are seen together their own times decide."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowctl.engine.steps.wait import set_local_until
from flowctl.engine.work import HERE
from flowctl.language.durations import Duration
from flowctl.language.steps import WaitForStep

if TYPE_CHECKING:
    from flowctl.engine.compiler import Compiler
    from flowctl.engine.runtime import Version
    from flowctl.engine.work import Batch
    from flowctl.program.instructions import Instruction


def compiled(instruction: Instruction, compiler: Compiler) -> dict[str, Any]:
    """When the awaited fact came, as SQL; the time-out; whom new facts wake."""
    step = instruction.step
    assert isinstance(step, WaitForStep)  # noqa: S101 - the op says so
    if step.timeout is None:
        compiler.refuse(step, "a `wait_for` without `timeout` could hold a contact for ever", "wait_for")
        return {}
    return {
        "found": compiler.found_at(step.wait_for),
        "probes": [probe.to_json() for probe in compiler.probes(step.wait_for)],
        "timeout": [step.timeout.months, step.timeout.days, step.timeout.ms],
    }


def run(batch: Batch, version: Version, pc: int, said: dict[str, Any]) -> None:
    """Look on arrival and whenever woken; a fact exactly at the time-out wins."""
    here = batch.here(version, pc)
    new = f"WHERE {HERE} AND w.woken = 0"
    timeout = Duration(*said["timeout"])
    if timeout.is_calendar:
        set_local_until(batch, version, timeout, None, new, here)
    else:
        batch.execute("UPDATE work AS w SET until_at = w.at + :ms " + new, ms=timeout.ms, **here)
    at_pc = f"WHERE {HERE}"
    batch.execute(
        f"UPDATE work AS w SET found_at = (SELECT {said['found']} FROM contacts c WHERE c.id = w.contact_id) {at_pc}",
        **here,
    )
    found, late = " AND w.found_at IS NOT NULL", " AND w.until_at <= :now"
    batch.note(version, pc, "woken", "json_object('at', w.found_at)", where=found)
    batch.move(version, pc, said["targets"]["then"], found, ", at = w.found_at")
    batch.note(version, pc, "timed_out", "json_object('at', w.until_at)", where=late)
    batch.move(version, pc, said["targets"]["timeout"], late, ", at = w.until_at")
    batch.execute(f"UPDATE work AS w SET parked = 1, due_at = until_at {at_pc}", **here)
