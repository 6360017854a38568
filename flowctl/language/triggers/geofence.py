"""`{arrives: paris-store}` and `{leaves: paris-store}`: a position crossed a circle."""

from __future__ import annotations

from typing import ClassVar

from flowctl.language.model import GeofenceName
from flowctl.language.triggers.trigger import AnyTrigger


class ArrivesTrigger(AnyTrigger):
    """From outside, or unknown, to inside."""

    kind: ClassVar[str] = "arrives"
    arrives: GeofenceName


class LeavesTrigger(AnyTrigger):
    """From inside to outside."""

    kind: ClassVar[str] = "leaves"
    leaves: GeofenceName
