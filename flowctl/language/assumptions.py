"""Assumptions: how contacts behave, for `simulate`."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, StrictFloat, StrictInt

from flowctl.language.conditions import Condition
from flowctl.language.conditions.reachable import Channel
from flowctl.language.durations import Duration, Span, Wait
from flowctl.language.model import EventName, Model, Slug
from flowctl.language.times import Rate

Chance = Annotated[StrictFloat | StrictInt, Field(ge=0, le=1)]


class EventRate(Model):
    """How often a contact does something by itself, and with which properties.

    A property is a literal, `{between: [10, 80]}` (uniform) or `{choice: [a, b]}`.
    """

    rate: Rate
    properties: dict[str, Any] = {}
    who: Condition | None = None


class Response(Model):
    """What becomes of a message on a channel: chances, and after how long at the median."""

    delivered: Chance | None = None
    opened: Chance | None = None
    clicked: Chance | None = None
    bounced: Chance | None = None
    complained: Chance | None = None
    unsubscribed: Chance | None = None
    dismissed: Chance | None = None
    after: Wait = Duration(ms=4 * 3_600_000)


class Consequence(Model):
    """An event that follows, with a chance, within a time."""

    then: EventName
    chance: Chance
    within: Span = Duration(days=1)
    properties: dict[str, Any] = {}


class Responses(Model):
    """By channel; and what a click or an open leads to."""

    email: Response | None = None
    sms: Response | None = None
    whatsapp: Response | None = None
    push: Response | None = None
    web_push: Response | None = None
    in_app: Response | None = None
    on_site: Response | None = None
    opened: Consequence | None = None
    clicked: Consequence | None = None
    sent: Consequence | None = None

    def of(self, channel: Channel) -> Response | None:
        """The chances on a channel."""
        response: Response | None = getattr(self, channel)
        return response


class Assumptions(Model):
    """A named set of them."""

    assumptions: Slug
    description: str | None = None
    events: dict[EventName, EventRate] = {}
    responses: Responses = Responses()
    contacts: Annotated[StrictInt, Field(ge=1)] | None = None

    @property
    def name(self) -> str:
        """Its slug."""
        return self.assumptions
