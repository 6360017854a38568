"""`{event: purchase_completed, since: 30d, count: {gte: 2}, where: …}`: what a contact did."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Self

from pydantic import BeforeValidator, Field, StrictFloat, StrictInt, model_validator

from flowctl.language.durations import Duration, NotADuration, Span, parse
from flowctl.language.model import EventName, Model
from flowctl.language.values import Where


class Count(Model):
    """Bounds on a number; several together must all hold. A bare number means `is`."""

    is_: StrictInt | StrictFloat | None = Field(default=None, alias="is")
    gt: StrictInt | StrictFloat | None = None
    gte: StrictInt | StrictFloat | None = None
    lt: StrictInt | StrictFloat | None = None
    lte: StrictInt | StrictFloat | None = None

    def bounds(self) -> dict[str, float]:
        """The bounds written, by YAML name."""
        names = {"is": self.is_, "gt": self.gt, "gte": self.gte, "lt": self.lt, "lte": self.lte}
        return {name: bound for name, bound in names.items() if bound is not None}

    @model_validator(mode="after")
    def _bounds(self) -> Self:
        if not self.bounds():
            message = "a count needs a bound: {gte: 2}"
            raise ValueError(message)
        return self


def _count(value: Any) -> Any:
    return {"is": value} if isinstance(value, int | float) and not isinstance(value, bool) else value


CountOf = Annotated[Count, BeforeValidator(_count, json_schema_input_type=Count | StrictInt | StrictFloat)]


def _since(value: Any) -> Any:
    """A duration, `ever`, `entry` or a step's id: what reads as a duration is one."""
    if isinstance(value, str) and value not in {"ever", "entry"}:
        try:
            return parse(value)
        except NotADuration:
            return value
    return value


Since = Annotated[
    Duration | str,
    BeforeValidator(_since),
    Field(description="a duration, `ever`, `entry`, or a step's id", examples=["30d", "ever", "entry"]),
]


class EventLeaf(Model):
    """Whether, how often, how much or what last."""

    subject: ClassVar[str] = "event"
    event: EventName
    since: Since | None = None
    between: (
        Annotated[list[Span], Field(min_length=2, max_length=2, description="from so long ago until so long ago")]
        | None
    ) = None
    where: Where = {}
    count: CountOf | None = None
    sum_: dict[str, CountOf] | None = Field(default=None, alias="sum", min_length=1, max_length=1)
    last: Where | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _one_question(self) -> Self:
        if sum(asked is not None for asked in (self.count, self.sum_, self.last)) > 1:
            message = "ask one of count, sum, last; put two leaves under `all:` to ask more"
            raise ValueError(message)
        if self.since is not None and self.between is not None:
            message = "`since` and `between` both name a window; keep one"
            raise ValueError(message)
        if self.between is not None and self.between[0].elapsed_ms <= self.between[1].elapsed_ms:
            message = "`between` goes from the older end to the newer: [45d, 15d]"
            raise ValueError(message)
        return self
