"""`task:`: a person acts."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from flowctl.language.durations import Span
from flowctl.language.model import Model, TeamName
from flowctl.language.steps import Step
from flowctl.language.steps.step import AnyStep


class Work(Model):
    """What to do, by whom, until when, with which outcomes."""

    team: TeamName
    title: str
    timeout: Span | None = None
    outcomes: list[str] = Field(default=["done"], min_length=1)


class TaskStep(AnyStep):
    """Waits until the task is done, or the time-out."""

    verb: ClassVar[str] = "task"
    task: Work
    then: list[Step] = []
    on_timeout: list[Step] = []
