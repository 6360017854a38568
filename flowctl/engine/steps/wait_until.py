"""`wait_until`: a fixed moment, a date held by a value, a slot of the week, the contact's best time."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

from flowctl.engine import best_time
from flowctl.engine.conditions.scope import Frame
from flowctl.engine.conditions.values import operand_of
from flowctl.engine.localtime import instant, local_plus
from flowctl.engine.segments import Probe
from flowctl.engine.slots import Slots
from flowctl.engine.work import HERE
from flowctl.language.durations import Duration
from flowctl.language.steps import WaitUntilStep
from flowctl.language.steps.wait_until import UntilBestTime, UntilDate, UntilField, UntilSlot
from flowctl.language.values import From

if TYPE_CHECKING:
    from flowctl.engine.compiler import Compiler
    from flowctl.engine.runtime import Version
    from flowctl.engine.work import Batch
    from flowctl.language.settings import FieldType
    from flowctl.program.instructions import Instruction

_CREATE = "CREATE TEMP TABLE IF NOT EXISTS until (value ANY, zone INTEGER, due INTEGER, PRIMARY KEY (value, zone))"


def compiled(instruction: Instruction, compiler: Compiler) -> dict[str, Any]:
    """One of: `date` (UTC ms); `value` (SQL) with its type, span and time; `slot`; `best` (channel and how long at most, ms)."""
    step = instruction.step
    assert isinstance(step, WaitUntilStep)  # noqa: S101 - the op says so
    match step.wait_until:
        case UntilDate(date=moment):
            return {"date": instant(moment, compiler.zone_name)}
        case UntilField() as until:
            return _field(until, compiler)
        case UntilSlot(slot=slot):
            return {"slot": Slots.of(slot).to_json()}
        case UntilBestTime(best_time=best):
            return {"best": [compiler.channel_ids[best.channel], best.within.elapsed_ms]}


def _field(until: UntilField, compiler: Compiler) -> dict[str, Any]:
    root, _, name = until.from_.partition(".")
    kind: FieldType = (
        compiler.project.field_types.get(name, "date") if root == "contact" else "datetime" if root == "now" else "date"
    )
    if kind not in ("date", "datetime"):
        compiler.refuse(until, f"`{until.from_}` is of type {kind}; one waits until a date or a datetime", "from")
    value = operand_of(From.model_validate({"from": until.from_}), kind, Frame(scope=compiler.scope)).sql
    plus, minus = until.plus or Duration(), until.minus or Duration()
    span = [plus.months - minus.months, plus.days - minus.days, plus.ms - minus.ms]
    said = {"value": value, "type": kind, "span": span, "time": until.time.isoformat("minutes") if until.time else None}
    # A field that changes moves the wait.
    return said | ({"probes": [Probe(kind="changed", names=(name,)).to_json()]} if root == "contact" else {})


def run(batch: Batch, version: Version, pc: int, said: dict[str, Any]) -> None:
    """Unknown and past values go their own ways; the others park until their time."""
    here = batch.here(version, pc)
    at_pc = f"WHERE {HERE}"
    if "date" in said:
        batch.execute(
            f"UPDATE work AS w SET until_at = max(w.at, :due) {at_pc} AND w.woken = 0", due=said["date"], **here
        )
    elif "best" in said:
        channel, within_ms = said["best"]
        best_time.fill(batch, version, channel, within_ms, f"{at_pc} AND w.woken = 0", here)
    elif "slot" in said:
        _fill(batch, version, "w.at", f"{at_pc} AND w.woken = 0", here, _Openings(Slots.from_json(said["slot"])))
    else:
        _fill(
            batch, version, said["value"], f"{at_pc} AND w.woken = 0", here, lambda value, zone: _due(value, zone, said)
        )
        fresh = " AND w.woken = 0"
        batch.move(version, pc, said["targets"]["missing"], f"{fresh} AND w.until_at IS NULL")
        batch.move(version, pc, said["targets"]["past"], f"{fresh} AND w.until_at < w.at")
        if "probes" in said:
            _look_again(batch, version, pc, said)
    batch.move(version, pc, said["targets"]["next"], " AND w.until_at <= :now", ", at = max(w.at, w.until_at)")
    batch.execute(f"UPDATE work AS w SET parked = 1, due_at = until_at {at_pc}", **here)


def _look_again(batch: Batch, version: Version, pc: int, said: dict[str, Any]) -> None:
    """Who comes back waits for what the field says now; `due_at` is when that was noticed."""
    here = batch.here(version, pc)
    back = " AND w.woken = 1"
    if not batch.execute(f"UPDATE work AS w SET found_at = until_at WHERE {HERE}{back}", **here):
        return
    _fill(batch, version, said["value"], f"WHERE {HERE}{back}", here, lambda value, zone: _due(value, zone, said))
    changed, then = f"{back} AND w.until_at IS NOT w.found_at", ", at = max(w.at, w.due_at)"
    batch.move(version, pc, said["targets"]["missing"], f"{changed} AND w.until_at IS NULL", then)
    batch.move(version, pc, said["targets"]["past"], f"{changed} AND w.until_at < w.due_at", then)


class _Openings:
    """When a slot is open next, for many instants: from one that waits until it opens, all wait for the same."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._closed: dict[str, tuple[int, int]] = {}  # zone → an instant found closed, and when it opens

    def __call__(self, at: int, zone: str) -> int:
        since, opens = self._closed.get(zone, (at, at - 1))
        if since <= at <= opens:
            return opens
        found = self._slots.next(at, zone)
        self._closed[zone] = (at, found)
        return found


def _fill(batch: Batch, version: Version, value: str, where: str, here: dict[str, int], due: Any) -> None:
    """`until_at` once per distinct value and zone, joined back."""
    batch.execute(_CREATE)
    batch.execute("DELETE FROM until")
    zone = f"coalesce(c._zone, {version.zone:d})"
    pairs = batch.connection.execute(
        f"SELECT DISTINCT {value}, {zone}, (SELECT z.name FROM zones z WHERE z.id = {zone}) "
        f"FROM work w CROSS JOIN contacts c ON c.id = w.contact_id {where}",
        {"now": batch.now, **here},
    ).fetchall()
    rows = [(found, number, _reached(due, found, name)) for found, number, name in pairs if found is not None]
    batch.connection.executemany("INSERT INTO until VALUES (?, ?, ?)", rows)
    batch.execute(
        f"UPDATE work AS w SET until_at = (SELECT u.due FROM contacts c JOIN until u ON u.value = {value} AND u.zone = {zone} "
        f"WHERE c.id = w.contact_id) {where}",
        **here,
    )


def _reached(due: Any, value: Any, zone: str) -> int | None:
    """The instant; None where no calendar reaches it, 9999-12-31 and ten days, so that one such contact stops no others."""
    try:
        found: int = due(value, zone)
    except (ValueError, OverflowError, OSError):
        return None
    return found


def _due(value: Any, zone: str, said: dict[str, Any]) -> int:
    """The instant of a date or a datetime with a span, at a time of day where one is said."""
    clock = time.fromisoformat(said["time"]) if said["time"] else None
    months, days, ms = said["span"]
    if said["type"] == "date":
        base = instant(datetime.combine(date.fromisoformat(value), clock or time()), zone)
        if not months and clock is not None and not ms:
            day = date.fromisoformat(value) + timedelta(days=days)
            return instant(datetime.combine(day, clock), zone)
        return local_plus(base, zone, Duration(months, days, ms))
    return local_plus(int(value), zone, Duration(months, days, ms), clock)
