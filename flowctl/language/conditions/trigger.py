"""`{trigger: {name: {gte: 100}}}`: what started this enrollment."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from flowctl.language.model import Model
from flowctl.language.values import Where


class TriggerLeaf(Model):
    """Values by their dotted path."""

    subject: ClassVar[str] = "trigger"
    trigger: Where = Field(min_length=1)
