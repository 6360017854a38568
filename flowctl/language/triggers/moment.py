"""`{moment: 2026-12-01T09:00}`: once, for everybody in the audience."""

from __future__ import annotations

from typing import ClassVar

from flowctl.language.times import LocalMoment
from flowctl.language.triggers.trigger import AnyTrigger


class MomentTrigger(AnyTrigger):
    """In the workflow's zone, else the project's; needs an audience."""

    kind: ClassVar[str] = "moment"
    moment: LocalMoment
