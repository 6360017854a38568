"""Scoring models: a ledger of points behind a number field, and the tiers they reach."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Discriminator, Field, StrictFloat, StrictInt, Tag

from flowctl.language.conditions import EventLeaf, FieldLeaf, MessageLeaf, SurveyLeaf
from flowctl.language.model import Model, SegmentName, SnakeCase
from flowctl.language.times import Rate

Points = StrictInt | StrictFloat


class Enters(Model):
    """Entering a segment."""

    enters: SegmentName


class Exits(Model):
    """Leaving a segment."""

    exits: SegmentName


def _fact(value: Any) -> str | None:
    kinds = ("event", "message", "survey", "field", "enters", "exits")
    if isinstance(value, dict):
        return next((key for key in kinds if key in value), None)
    return getattr(value, "subject", None) or type(value).__name__.lower()


Fact = Annotated[
    Annotated[EventLeaf, Tag("event")]
    | Annotated[MessageLeaf, Tag("message")]
    | Annotated[SurveyLeaf, Tag("survey")]
    | Annotated[FieldLeaf, Tag("field")]
    | Annotated[Enters, Tag("enters")]
    | Annotated[Exits, Tag("exits")],
    Discriminator(_fact),
]


class Rule(Model):
    """Points for a fact, as often as `limit` allows."""

    when: Fact
    add: Points
    limit: Rate | None = None
    description: str | None = None


def _one(tier: dict[str, Points]) -> dict[str, Points]:
    if len(tier) != 1:
        message = "a tier is one name and the points from which it holds: {mql: 50}"
        raise ValueError(message)
    return tier


class Score(Model):
    """The field of the same name is its sum; the tier is kept in NAME_tier."""

    score: SnakeCase
    description: str | None = None
    owner: str | None = None
    rules: list[Rule] = Field(min_length=1)
    min: Points | None = None
    max: Points | None = None
    tiers: list[Annotated[dict[str, Points], AfterValidator(_one)]] = []

    @property
    def name(self) -> str:
        """The field it feeds."""
        return self.score
