"""`wait: 2d`: time passes."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Self

from pydantic import Discriminator, Field, Tag, model_validator

from flowctl.language import durations
from flowctl.language.model import Model
from flowctl.language.steps.step import AnyStep
from flowctl.language.times import LocalTime


class Spread(Model):
    """A time between two, by the contact's stable hash."""

    between: Annotated[list[durations.Wait], Field(min_length=2, max_length=2)]

    @model_validator(mode="after")
    def _grows(self) -> Self:
        if self.between[0] >= self.between[1]:
            message = "`between` goes from the shorter to the longer: [1h, 3h]"
            raise ValueError(message)
        return self


def _kind(value: Any) -> str:
    return "spread" if isinstance(value, dict | Spread) else "duration"


class WaitStep(AnyStep):
    """With `time`, the first such local time that is at least so far away."""

    verb: ClassVar[str] = "wait"
    wait: Annotated[Annotated[durations.Wait, Tag("duration")] | Annotated[Spread, Tag("spread")], Discriminator(_kind)]
    time: LocalTime | None = None
