"""`{enters: segment}` and `{exits: segment}`: a membership changed."""

from __future__ import annotations

from typing import ClassVar, Literal

from flowctl.language.model import SegmentName
from flowctl.language.triggers.trigger import AnyTrigger


class EntersTrigger(AnyTrigger):
    """Somebody entered; `existing` says what becomes of those inside at the first apply."""

    kind: ClassVar[str] = "enters"
    enters: SegmentName
    existing: Literal["skip", "enroll"] = "skip"


class ExitsTrigger(AnyTrigger):
    """Somebody left."""

    kind: ClassVar[str] = "exits"
    exits: SegmentName
