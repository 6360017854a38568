"""Surveys: questions a contact answers on a page."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, StrictBool, StrictFloat, StrictInt

from flowctl.language.message import ByLanguage
from flowctl.language.model import Model, Slug, SnakeCase


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
