"""`split:`: shares of the contacts, by stable hash."""

from __future__ import annotations

from typing import Annotated, ClassVar, Self

from pydantic import Field, StrictFloat, StrictInt, model_validator

from flowctl.language.steps import Step
from flowctl.language.steps.step import AnyStep

_WHOLE = 100
_NEARLY = 1e-6  # what thirds of a hundred miss it by


class SplitStep(AnyStep):
    """Percentages that add to 100; an empty path is a control group."""

    verb: ClassVar[str] = "split"
    split: dict[str, Annotated[StrictInt | StrictFloat, Field(ge=0, le=100)]] = Field(min_length=2)
    paths: dict[str, list[Step]]

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        total = sum(self.split.values())
        if abs(total - _WHOLE) > _NEARLY:
            message = f"the shares add to {total:g}; make them add to 100"
            raise ValueError(message)
        if set(self.paths) != set(self.split):
            odd = ", ".join(sorted(set(self.paths) ^ set(self.split)))
            message = f"`split` and `paths` must name the same paths; only one of them has {odd}"
            raise ValueError(message)
        return self
