"""`repeat:`: the same steps again and again, a bounded number of times."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field, StrictInt

from flowctl.language.conditions import Condition
from flowctl.language.durations import Span
from flowctl.language.model import Model
from flowctl.language.steps import Step
from flowctl.language.steps.step import AnyStep


def _list(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


class Turns(Model):
    """How often: `every` grows along a list whose last value repeats."""

    every: Annotated[list[Span], BeforeValidator(_list, json_schema_input_type=list[Span] | Span), Field(min_length=1)]
    while_: Condition | None = Field(default=None, alias="while")
    max: Annotated[StrictInt, Field(ge=1, le=1000)]


class RepeatStep(AnyStep):
    """The first turn at once."""

    verb: ClassVar[str] = "repeat"
    repeat: Turns
    steps: list[Step] = Field(min_length=1)
