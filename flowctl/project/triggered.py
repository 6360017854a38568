"""What `trigger.x` can be in a workflow: the values its triggers hand over, with their types where they are known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowctl.language.triggers import (
    ArrivesTrigger,
    DateTrigger,
    EntersTrigger,
    EventTrigger,
    ExitsTrigger,
    FieldTrigger,
    LeavesTrigger,
    ManualTrigger,
    MessageTrigger,
    MomentTrigger,
    RecordTrigger,
    ScheduleTrigger,
    SurveyTrigger,
    Trigger,
)  # fmt: skip

if TYPE_CHECKING:
    from flowctl.language.settings import FieldType
    from flowctl.language.workflow import Workflow
    from flowctl.project.project import Project

Types = dict[str, "FieldType | None"]


def trigger_types(workflow: Workflow, project: Project) -> Types | None:
    """Every name any of its triggers hands over; None where that cannot be known (a hand-made enrollment, an undeclared event)."""
    types: Types = {"at": "datetime"}
    for trigger in workflow.triggers:
        names = handed(trigger, project)
        if names is None:
            return None
        for name, type_ in names.items():
            types[name] = type_ if types.get(name, type_) == type_ else None
    return types


def handed(trigger: Trigger, project: Project) -> Types | None:
    """The names one trigger hands over beside `at`; None where that cannot be known."""
    match trigger:
        case EventTrigger():
            known = project.settings.event_properties.get(trigger.event)
            return dict(known) if known is not None else None
        case EntersTrigger() | ExitsTrigger():
            return {"segment": "text"}
        case FieldTrigger():
            type_ = project.field_types.get(trigger.field)
            return {"field": "text", "old": type_, "new": type_}
        case DateTrigger():
            return {"date": "date"}
        case MomentTrigger() | ScheduleTrigger():
            return {"date": "datetime"}
        case MessageTrigger():
            return {"message": "text", "status": "text", "link": "text"}
        case SurveyTrigger():
            return {"survey": "text", "answers": None}
        case ArrivesTrigger() | LeavesTrigger():
            return {"geofence": "text", "lat": "number", "lon": "number"}
        case RecordTrigger():
            declared = project.settings.records.get(trigger.record)
            values: Types = {name: said.type for name, said in declared.fields.items()} if declared else {}
            return {"record": "text", "id": "integer", "key": "text", **values} if declared else None
        case ManualTrigger():
            return None
