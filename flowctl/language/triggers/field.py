"""`{field: engagement, rises_to: 50}`: a field changed."""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import Field, StrictBool, StrictFloat, StrictInt, model_validator

from flowctl.language.model import FieldName
from flowctl.language.triggers.trigger import AnyTrigger
from flowctl.language.values import Literal


class FieldTrigger(AnyTrigger):
    """`changes` counts from unknown too; `rises_to`, `rises_above`, `drops_below` need both values known."""

    kind: ClassVar[str] = "field"
    field: FieldName
    changes: StrictBool | None = None
    to: Literal | None = None
    from_: Literal | None = Field(default=None, alias="from")
    rises_to: StrictInt | StrictFloat | None = None
    rises_above: StrictInt | StrictFloat | None = None
    drops_below: StrictInt | StrictFloat | None = None

    @model_validator(mode="after")
    def _says_how(self) -> Self:
        if all(
            how is None
            for how in (self.changes, self.to, self.from_, self.rises_to, self.rises_above, self.drops_below)
        ):
            message = "say how the field changes: `changes: true`, `to:`, `from:`, `rises_to:`, `rises_above:` or `drops_below:`"
            raise ValueError(message)
        return self
