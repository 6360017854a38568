"""`time` leaves: the contact's local time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowctl.engine.segments import Probe
from flowctl.language.times import DAYS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.engine.conditions.scope import Frame
    from flowctl.language.conditions import TimeLeaf
    from flowctl.language.times import Slot


def sql(leaf: TimeLeaf, frame: Frame, *, negated: bool) -> str:
    """By what the clocks of the contact's zone show now."""
    test = f"EXISTS (SELECT 1 FROM zone_now z WHERE z.zone = {frame.zone} AND {_open(leaf.time, 'z')})"
    return f"NOT {test}" if negated else test


def probes(leaf: TimeLeaf, frame: Frame) -> Iterator[Probe]:
    """Everybody in a zone whose clock passed an end of the slot."""
    yield Probe(kind="slot", zone=frame.scope.zone, sql=f"({_open(leaf.time, 'o')}) <> ({_open(leaf.time, 'z')})")


def unsupported(leaf: TimeLeaf, frame: Frame) -> str | None:
    """Why the engine does not run it; None where it does."""
    return None


def _open(slot: Slot, alias: str) -> str:
    """A slot that wraps midnight belongs to the day on which it begins."""
    days = [DAYS.index(day) for day in slot.days]
    today = f"{alias}.weekday IN ({', '.join(map(str, days))})"
    if slot.between is None:
        return today
    start, end = (at.hour * 60 + at.minute for at in slot.between)
    if start < end:
        return f"({today} AND {alias}.minute >= {start} AND {alias}.minute < {end})"
    yesterday = f"{alias}.weekday IN ({', '.join(str((day + 1) % 7) for day in days)})"
    return f"(({today} AND {alias}.minute >= {start}) OR ({yesterday} AND {alias}.minute < {end}))"
