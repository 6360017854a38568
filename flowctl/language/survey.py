"""Surveys: questions a contact answers on a page."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, StrictBool, StrictFloat, StrictInt

from flowctl.language.message import ByLanguage
from flowctl.language.model import Model, Slug, SnakeCase
from flowctl.language.settings import FieldType


class Question(Model):
    """One question: a scale, a choice, a text, a yes or no, or a number."""

    type: Literal["scale", "choice", "choices", "text", "boolean", "number"]
    from_: StrictInt | None = Field(default=None, alias="from")
    to: StrictInt | None = None
    options: list[str] | None = None
    text: ByLanguage | None = None
    labels: dict[str, Any] = {}
    optional: StrictBool = False
    default: StrictInt | StrictFloat | str | None = None


# What an answer to each type of question is compared as.
ANSWER_TYPES: dict[str, FieldType] = {
    "scale": "number", "number": "number", "choice": "choice", "text": "text", "boolean": "boolean", "choices": "tags",
}  # fmt: skip


class Survey(Model):
    """Questions by name."""

    survey: Slug
    title: ByLanguage | None = None
    description: str | None = None
    owner: str | None = None
    questions: dict[SnakeCase, Question] = Field(min_length=1)
    thanks: ByLanguage | None = None

    @property
    def name(self) -> str:
        """Its slug."""
        return self.survey
