"""`{field: engagement, gte: 50}`: a contact's field."""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import model_validator

from flowctl.language.model import FieldName
from flowctl.language.values import Comparison


class FieldLeaf(Comparison):
    """A contact's field compared with something."""

    subject: ClassVar[str] = "field"
    field: FieldName

    @model_validator(mode="after")
    def _compares(self) -> Self:
        if not self.operators():
            message = "a field is compared with something: add `is:`, `gte:`, `known: true` …"
            raise ValueError(message)
        return self
