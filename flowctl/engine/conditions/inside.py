"""`inside` leaves: the last position and a geofence. The engine does not run them yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.engine.conditions.scope import Frame
    from flowctl.engine.segments import Probe
    from flowctl.language.conditions import InsideLeaf


def sql(leaf: InsideLeaf, frame: Frame, *, negated: bool) -> str:
    """Nothing: `apply` refuses it before."""
    raise NotImplementedError(leaf.subject)


def probes(leaf: InsideLeaf, frame: Frame) -> Iterator[Probe]:
    """None."""
    yield from ()


def unsupported(leaf: InsideLeaf, frame: Frame) -> str | None:
    """Why the engine does not run it."""
    return "the engine does not run `inside` conditions yet"
