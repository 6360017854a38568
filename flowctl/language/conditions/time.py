"""`{time: {days: mon-fri, between: ["09:00", "18:00"]}}`: the contact's local time."""

from __future__ import annotations

from typing import ClassVar

from flowctl.language.model import Model
from flowctl.language.times import Slot


class TimeLeaf(Model):
    """Local days and hours."""

    subject: ClassVar[str] = "time"
    time: Slot
