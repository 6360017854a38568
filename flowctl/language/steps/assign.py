"""`assign:`: the contact's owner."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import StrictBool

from flowctl.language.model import Model, TeamName
from flowctl.language.steps.step import AnyStep


class Assignment(Model):
    """Who of a team; `keep` leaves an owner who is there."""

    team: TeamName
    by: Literal["round_robin", "hash", "least_loaded"] = "round_robin"
    keep: StrictBool = True


class AssignStep(AnyStep):
    """Gives the contact an owner."""

    verb: ClassVar[str] = "assign"
    assign: Assignment
