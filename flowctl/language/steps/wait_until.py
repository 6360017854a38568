"""`wait_until:`: a date, a field's date, a slot of the week, or the contact's best time."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Field, Tag

from flowctl.language.conditions.reachable import Channel
from flowctl.language.durations import Duration, Span
from flowctl.language.model import Model
from flowctl.language.steps import Step
from flowctl.language.steps.step import AnyStep
from flowctl.language.times import LocalMoment, LocalTime, Slot
from flowctl.language.values import Source


def _way_kind(value: Any) -> str:
    return "steps" if isinstance(value, list) else "word"


Way = Annotated[
    Annotated[Literal["exit", "continue"], Tag("word")] | Annotated[list[Step], Tag("steps")], Discriminator(_way_kind)
]


class UntilDate(Model):
    """A fixed moment in the workflow's zone."""

    date: LocalMoment


class UntilField(Model):
    """A date held by a value; what to do where it is missing or past must be said."""

    from_: Source = Field(alias="from")
    plus: Duration | None = None
    minus: Duration | None = None
    time: LocalTime | None = None
    on_missing: Way
    on_past: Way


class UntilSlot(Model):
    """The next instant inside a weekly window, now included."""

    slot: Slot


class BestTime(Model):
    """A channel, and how long at most to wait."""

    channel: Channel
    within: Span


class UntilBestTime(Model):
    """When the contact usually reads."""

    best_time: BestTime


def _kind(value: Any) -> str | None:
    if isinstance(value, dict):
        return next((key for key in ("date", "from", "slot", "best_time") if key in value), None)
    kinds: dict[type, str] = {UntilDate: "date", UntilField: "from", UntilSlot: "slot", UntilBestTime: "best_time"}
    return kinds.get(type(value))


class WaitUntilStep(AnyStep):
    """Waits for an instant rather than a span."""

    verb: ClassVar[str] = "wait_until"
    wait_until: Annotated[
        Annotated[UntilDate, Tag("date")]
        | Annotated[UntilField, Tag("from")]
        | Annotated[UntilSlot, Tag("slot")]
        | Annotated[UntilBestTime, Tag("best_time")],
        Discriminator(_kind),
    ]

    @property
    def on_missing(self) -> str | list[Step] | None:
        """What to do where the value is unknown."""
        return self.wait_until.on_missing if isinstance(self.wait_until, UntilField) else None

    @property
    def on_past(self) -> str | list[Step] | None:
        """What to do where the instant has passed."""
        return self.wait_until.on_past if isinstance(self.wait_until, UntilField) else None
