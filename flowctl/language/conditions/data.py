"""`{data: {name: {gte: 100}}}`: what a fetch saved."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from flowctl.language.model import Model
from flowctl.language.values import Where


class DataLeaf(Model):
    """Values by their dotted path."""

    subject: ClassVar[str] = "data"
    data: Where = Field(min_length=1)
