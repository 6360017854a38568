"""Triggers: what starts an enrollment. One kind a module; this registry makes the union."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Discriminator, Tag

from flowctl.language.triggers.date import DateTrigger
from flowctl.language.triggers.event import EventTrigger, Unless
from flowctl.language.triggers.field import FieldTrigger
from flowctl.language.triggers.geofence import ArrivesTrigger, LeavesTrigger
from flowctl.language.triggers.manual import ManualTrigger
from flowctl.language.triggers.message import MessageTrigger
from flowctl.language.triggers.moment import MomentTrigger
from flowctl.language.triggers.record import RecordTrigger
from flowctl.language.triggers.schedule import ScheduleTrigger
from flowctl.language.triggers.segment import EntersTrigger, ExitsTrigger
from flowctl.language.triggers.survey import SurveyTrigger

KINDS = (
    "event",
    "enters",
    "exits",
    "field",
    "date",
    "moment",
    "schedule",
    "message",
    "survey",
    "arrives",
    "leaves",
    "record",
    "manual",
)


def kind(value: Any) -> str | None:
    """Which kind of trigger a mapping is: its first known key."""
    if isinstance(value, dict):
        return next((key for key in KINDS if key in value), None)
    return getattr(value, "kind", None)


Trigger = Annotated[
    Annotated[EventTrigger, Tag("event")]
    | Annotated[EntersTrigger, Tag("enters")]
    | Annotated[ExitsTrigger, Tag("exits")]
    | Annotated[FieldTrigger, Tag("field")]
    | Annotated[DateTrigger, Tag("date")]
    | Annotated[MomentTrigger, Tag("moment")]
    | Annotated[ScheduleTrigger, Tag("schedule")]
    | Annotated[MessageTrigger, Tag("message")]
    | Annotated[SurveyTrigger, Tag("survey")]
    | Annotated[ArrivesTrigger, Tag("arrives")]
    | Annotated[LeavesTrigger, Tag("leaves")]
    | Annotated[RecordTrigger, Tag("record")]
    | Annotated[ManualTrigger, Tag("manual")],
    Discriminator(kind),
]

__all__ = [
    "KINDS", "ArrivesTrigger", "DateTrigger", "EntersTrigger", "EventTrigger", "ExitsTrigger", "FieldTrigger", "LeavesTrigger", "ManualTrigger",
    "MessageTrigger", "MomentTrigger", "RecordTrigger", "ScheduleTrigger", "SurveyTrigger", "Trigger", "Unless", "kind",
]  # fmt: skip
