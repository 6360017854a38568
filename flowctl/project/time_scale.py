"""`time_scale` of an environment: a project whose waits, time-outs and windows pass so many times quicker, to try journeys in minutes.

Scaled are all spans that a journey waits or looks back: waits, time-outs, `every`, `since` and `between` of conditions, goals' `within`,
`unless`, re-entry, caps, `once`, `expire_after`, guards, limits of scores. What the calendar or the outside world decides stays: times of
day, days, dates and what is added to them, schedules, quiet hours, `max_event_age`, and the time-outs of services and channels.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from flowctl.language.durations import Duration
from flowctl.language.model import Model
from flowctl.language.settings import EXPIRE_AFTER
from flowctl.language.times import Rate

if TYPE_CHECKING:
    from flowctl.project.project import Project

# Beside dates, and of facts that come from outside at their own pace.
_KEPT = frozenset(
    {
        ("From", "plus"), ("From", "minus"), ("UntilField", "plus"), ("UntilField", "minus"), ("DateTrigger", "offset"),
    }
)  # fmt: skip
_KEPT_ANYWHERE = frozenset({"within_next", "within_last", "max_event_age", "lint"})


def at_its_pace(project: Project) -> Project:
    """The project with its spans as its environment wants them; itself where that asks for no other pace."""
    scale = project.chosen.time_scale if project.chosen else None
    if scale is None or scale == 1:
        return project
    settings = project.settings
    changed = {"pressure": _scaled(settings.pressure, scale), "guards": _scaled(settings.guards, scale)}
    messages = {
        name: message if message.expire_after else message.model_copy(update={"expire_after": EXPIRE_AFTER})
        for name, message in project.messages.items()
    }
    return replace(
        project,
        settings=settings.model_copy(update=changed),
        workflows=_scaled(project.workflows, scale),
        segments=_scaled(project.segments, scale),
        scores=_scaled(project.scores, scale),
        messages=_scaled(messages, scale),
    )


def _scaled(value: Any, scale: float) -> Any:
    match value:
        case Duration():
            return Duration(ms=round(value.elapsed_ms / scale))
        case Rate():
            return replace(value, per=_scaled(value.per, scale))
        case Model():
            changes = {
                name: new
                for name in type(value).model_fields
                if name not in _KEPT_ANYWHERE
                and (type(value).__name__, name) not in _KEPT
                and (new := _scaled(old := getattr(value, name), scale)) is not old
            }
            return value.model_copy(update=changes) if changes else value
        case list() | tuple():
            scaled = [_scaled(each, scale) for each in value]
            same = all(new is old for new, old in zip(scaled, value, strict=True))
            return value if same else type(value)(scaled)
        case dict():
            named = {name: _scaled(each, scale) for name, each in value.items()}
            return value if all(named[name] is each for name, each in value.items()) else named
    return value
