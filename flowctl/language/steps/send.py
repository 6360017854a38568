"""`send: message`: a message to the contact."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Field, Tag

from flowctl.language.conditions.reachable import Channel
from flowctl.language.durations import Span
from flowctl.language.model import MessageName, Model, StepName
from flowctl.language.steps import Step
from flowctl.language.steps.step import AnyStep
from flowctl.language.values import Source


class AllChannels(Model):
    """One message on each channel."""

    all_: list[Channel] = Field(alias="all", min_length=1)


class SameChannel(Model):
    """The channel that an earlier send used."""

    same_as: StepName


def _via_kind(value: Any) -> str:
    if isinstance(value, dict):
        return "same_as" if "same_as" in value else "all"
    if isinstance(value, AllChannels | SameChannel):
        return "same_as" if isinstance(value, SameChannel) else "all"
    return "list" if isinstance(value, list) else "one"


Via = Annotated[
    Annotated[Channel, Tag("one")]
    | Annotated[list[Channel], Tag("list")]
    | Annotated[AllChannels, Tag("all")]
    | Annotated[SameChannel, Tag("same_as")],
    Discriminator(_via_kind),
]


def _on_skip_kind(value: Any) -> str:
    return "steps" if isinstance(value, list) else "word"


class SendStep(AnyStep):
    """The contact stays on the step until the message left or was skipped."""

    verb: ClassVar[str] = "send"
    send: MessageName
    via: Via | None = None
    to: list[Source] | None = Field(default=None, min_length=1)
    on_skip: Annotated[
        Annotated[Literal["continue", "exit"], Tag("word")] | Annotated[list[Step], Tag("steps")],
        Discriminator(_on_skip_kind),
    ] = "continue"
    expire_after: Span | None = None

    @property
    def name(self) -> str:
        """The step's id, else its message."""
        return self.id or self.send
