"""`advertise:`: in and out of an advertising audience."""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import model_validator

from flowctl.language.model import Model, Slug
from flowctl.language.steps.step import AnyStep


class Audience(Model):
    """The audience to join or leave; exported hashed."""

    add: Slug | None = None
    remove: Slug | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.add is None) == (self.remove is None):
            message = "say either `add:` or `remove:`"
            raise ValueError(message)
        return self


class AdvertiseStep(AnyStep):
    """Changes an advertising audience."""

    verb: ClassVar[str] = "advertise"
    advertise: Audience
