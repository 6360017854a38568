"""Segments: named sets of contacts, kept up to date."""

from __future__ import annotations

from flowctl.language.conditions import Condition
from flowctl.language.model import Model, Slug


class SegmentBody(Model):
    """Who is in."""

    match: Condition
    description: str | None = None
    owner: str | None = None


class Segment(SegmentBody):
    """`segment: NAME`, one a file; `segments: {NAME: body}` reads to the same."""

    segment: Slug

    @property
    def name(self) -> str:
        """Its slug."""
        return self.segment
