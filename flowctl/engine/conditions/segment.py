"""`segment` leaves: membership now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowctl.engine.segments import Probe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.engine.conditions.scope import Frame
    from flowctl.language.conditions import SegmentLeaf


def sql(leaf: SegmentLeaf, frame: Frame, *, negated: bool) -> str:
    """By the stored members."""
    number = frame.scope.segments[leaf.segment]
    word = "NOT " if negated else ""
    if frame.full:
        return f"c.id {word}IN (SELECT s.contact_id FROM segment_members s WHERE s.segment_id = {number:d})"
    return f"{word}EXISTS (SELECT 1 FROM segment_members s WHERE s.segment_id = {number:d} AND s.contact_id = c.id)"


def probes(leaf: SegmentLeaf, frame: Frame) -> Iterator[Probe]:
    """Its transitions."""
    yield Probe(kind="transition", ids=(frame.scope.segments[leaf.segment],))


def unsupported(leaf: SegmentLeaf, frame: Frame) -> str | None:
    """Why the engine does not run it; None where it does."""
    return None
