"""`notify:`: an alert to the own people."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import model_validator

from flowctl.language.model import Model, TeamName
from flowctl.language.steps.step import AnyStep


class Addressee(Model):
    """A team, or the contact's owner."""

    team: TeamName | None = None
    owner: Literal["contact"] | None = None

    @model_validator(mode="after")
    def _somebody(self) -> Self:
        if self.team is None and self.owner is None:
            message = "say whom to notify: `team: sales` or `owner: contact`"
            raise ValueError(message)
        return self


class NotifyStep(AnyStep):
    """Never pressure."""

    verb: ClassVar[str] = "notify"
    notify: Addressee
    text: str
