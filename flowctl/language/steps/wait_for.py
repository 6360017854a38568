"""`wait_for:`: until something happens, or the time-out."""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import model_validator

from flowctl.language.conditions import Condition, EventLeaf, FieldLeaf, MessageLeaf, SegmentLeaf, SurveyLeaf
from flowctl.language.durations import Span
from flowctl.language.steps import Step
from flowctl.language.steps.step import AnyStep


class WaitForStep(AnyStep):
    """One leaf, by default since the step; an event exactly at the time-out wins."""

    verb: ClassVar[str] = "wait_for"
    wait_for: Condition
    timeout: Span | None = None  # required, but lint (FLO003) says so with better words
    then: list[Step] = []
    on_timeout: list[Step] = []

    @model_validator(mode="after")
    def _waits_for_a_fact(self) -> Self:
        if not isinstance(self.wait_for, EventLeaf | MessageLeaf | SurveyLeaf | FieldLeaf | SegmentLeaf):
            message = "one waits for an event, message, survey, field or segment; put other questions in `if:`"
            raise ValueError(message)  # noqa: TRY004 - pydantic collects ValueErrors
        return self
