"""`{input: {name: {gte: 100}}}`: what a start handed over."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from flowctl.language.model import Model
from flowctl.language.values import Where


class InputLeaf(Model):
    """Values by their dotted path."""

    subject: ClassVar[str] = "input"
    input: Where = Field(min_length=1)
