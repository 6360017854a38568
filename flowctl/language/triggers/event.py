"""`{event: page_viewed, where: …, unless: {event: paid, within: 60m}}`: somebody did something."""

from __future__ import annotations

from typing import ClassVar

from flowctl.language.durations import Span
from flowctl.language.model import EventName, Model
from flowctl.language.triggers.trigger import AnyTrigger
from flowctl.language.values import Where


class Unless(Model):
    """What, done within a time after the event, prevents the enrollment."""

    event: EventName
    within: Span
    where: Where = {}


class EventTrigger(AnyTrigger):
    """An event; with `unless`, entry is the event plus `within`, where nothing prevented it."""

    kind: ClassVar[str] = "event"
    event: EventName
    where: Where = {}
    unless: Unless | None = None
