"""`consent:`: what a contact agreed to, or withdrew."""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import model_validator

from flowctl.language.conditions.reachable import Channel, Purpose
from flowctl.language.model import Model
from flowctl.language.steps.step import AnyStep


class Agreement(Model):
    """A channel granted or withdrawn."""

    grant: Channel | None = None
    withdraw: Channel | None = None
    purpose: Purpose = "marketing"
    source: str | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.grant is None) == (self.withdraw is None):
            message = "say either `grant:` or `withdraw:`"
            raise ValueError(message)
        return self


class ConsentStep(AnyStep):
    """A row of consent with time and source."""

    verb: ClassVar[str] = "consent"
    consent: Agreement
