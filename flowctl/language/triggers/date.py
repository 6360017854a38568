"""`{date: birthday, every: year, offset: -7d, time: "09:00"}`: a date field comes round."""

from __future__ import annotations

from datetime import time
from typing import ClassVar, Literal

from flowctl.language.durations import Duration
from flowctl.language.model import FieldName
from flowctl.language.times import LocalTime
from flowctl.language.triggers.trigger import AnyTrigger


class DateTrigger(AnyTrigger):
    """In the contact's zone; 29 February is kept in common years; `every` starts a period after the date itself."""

    kind: ClassVar[str] = "date"
    date: FieldName
    every: Literal["year", "month", "week"] | None = None
    offset: Duration = Duration()
    time: LocalTime = time(9, 0)
