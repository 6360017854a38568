"""`set`, `add`, `tag`, `untag`: the contact's own fields."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field, StrictFloat, StrictInt

from flowctl.language.model import FieldName
from flowctl.language.steps.step import AnyStep
from flowctl.language.values import Value


class SetStep(AnyStep):
    """Fields to values; null makes a field unknown; text may be a template."""

    verb: ClassVar[str] = "set"
    set: dict[FieldName, Value | None] = Field(min_length=1)


class AddStep(AnyStep):
    """Numbers to number fields; unknown counts as the field's default, else 0."""

    verb: ClassVar[str] = "add"
    add: dict[FieldName, StrictInt | StrictFloat] = Field(min_length=1)


Tags = dict[FieldName, Annotated[list[str], Field(min_length=1)]]


class TagStep(AnyStep):
    """Values into tags fields."""

    verb: ClassVar[str] = "tag"
    tag: Tags = Field(min_length=1)


class UntagStep(AnyStep):
    """Values out of tags fields."""

    verb: ClassVar[str] = "untag"
    untag: Tags = Field(min_length=1)
