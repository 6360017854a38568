"""`{segment: vip}`: whether a contact is in a segment now."""

from __future__ import annotations

from typing import ClassVar

from flowctl.language.model import Model, SegmentName


class SegmentLeaf(Model):
    """Membership now."""

    subject: ClassVar[str] = "segment"
    segment: SegmentName
