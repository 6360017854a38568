"""Scenario tests: a contact, a timeline, what is expected."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, StrictBool, StrictInt, model_validator

from flowctl.language.conditions.reachable import Channel
from flowctl.language.durations import Duration, Wait
from flowctl.language.model import (
    EventName,
    FieldName,
    MessageName,
    Model,
    RecordName,
    SegmentName,
    ServiceName,
    SurveyName,
    WorkflowName,
)
from flowctl.language.times import LocalMoment

Names = Annotated[
    list[str],
    BeforeValidator(lambda value: [value] if isinstance(value, str) else value, json_schema_input_type=list[str] | str),
]


class Past(Model):
    """An event before the start."""

    event: EventName
    ago: Wait
    properties: dict[str, Any] = {}


class Fact(Model):
    """Something that happens at a time after the start."""

    at: Duration | LocalMoment
    event: EventName | None = None
    properties: dict[str, Any] = {}
    id: str | None = None
    opened: MessageName | None = None
    clicked: MessageName | None = None
    bounced: MessageName | None = None
    delivered: MessageName | None = None
    dismissed: MessageName | None = None
    link: str | None = None
    survey: SurveyName | None = None
    answers: dict[str, Any] = {}
    set: dict[FieldName, Any] | None = None
    unsubscribe: Channel | StrictBool | None = None
    enroll: WorkflowName | None = None
    task: str | None = None
    position: Annotated[list[float], Field(min_length=2, max_length=2, description="latitude, longitude")] | None = None

    @model_validator(mode="after")
    def _one_fact(self) -> Self:
        kinds = (
            "event",
            "opened",
            "clicked",
            "bounced",
            "delivered",
            "dismissed",
            "survey",
            "set",
            "unsubscribe",
            "enroll",
            "task",
            "position",
        )
        if sum(getattr(self, kind) is not None for kind in kinds) != 1:
            message = f"one line of a timeline is one fact: {', '.join(kinds)}"
            raise ValueError(message)
        return self


class ExpectedSend(Model):
    """A message on a channel at a time."""

    message: MessageName
    channel: Channel | None = None
    variant: str | None = None
    at: Duration | LocalMoment | None = None


def _send(value: Any) -> Any:
    return {"message": value} if isinstance(value, str) else value


class Expectation(Model):
    """What holds at a time: `sends` is the complete ordered list since the previous expectation."""

    at: Duration | LocalMoment | None = None
    until: Duration | LocalMoment | None = None
    sends: list[Annotated[ExpectedSend, BeforeValidator(_send, json_schema_input_type=ExpectedSend | str)]] | None = (
        None
    )
    exit: str | None = None
    enrolled: StrictBool | StrictInt | dict[WorkflowName, StrictBool | StrictInt] | None = None
    notifies: list[Any] | None = None
    records: dict[RecordName, Any] | None = None
    tasks: list[Any] | None = None
    fields: dict[FieldName, Any] | None = None
    segments: dict[SegmentName, StrictBool] | None = None


class ScenarioBody(Model):
    """A contact's story and its end."""

    of: Names = Field(min_length=1)
    description: str | None = None
    contact: dict[FieldName, Any] = {}
    consent: dict[str, StrictBool] = {}
    history: list[Past] = []
    start: LocalMoment
    timeline: list[Fact] = []
    fetches: dict[ServiceName, Any] = {}
    arms: dict[str, str] = {}
    inputs: dict[str, Any] = {}
    expect: list[Expectation] = Field(min_length=1)


class Scenario(ScenarioBody):
    """`test: TITLE`, or an item of `tests:`."""

    test: str

    @property
    def name(self) -> str:
        """Its title."""
        return self.test
