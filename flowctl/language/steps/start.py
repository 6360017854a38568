"""`start:` and `stop:`: hand-over to another workflow, and its end."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field

from flowctl.language.model import Model, StepName, WorkflowName
from flowctl.language.steps.step import AnyStep
from flowctl.language.values import Value


class HandOver(Model):
    """The target, at which step, with which inputs."""

    workflow: WorkflowName
    at_step: StepName | None = None
    with_: dict[str, Value] = Field(default={}, alias="with")


def _hand_over(value: Any) -> Any:
    return {"workflow": value} if isinstance(value, str) else value


class StartStep(AnyStep):
    """Enters the contact into another workflow."""

    verb: ClassVar[str] = "start"
    start: Annotated[HandOver, BeforeValidator(_hand_over, json_schema_input_type=HandOver | WorkflowName)]


class StopStep(AnyStep):
    """Ends the contact's enrollments in another workflow."""

    verb: ClassVar[str] = "stop"
    stop: WorkflowName
