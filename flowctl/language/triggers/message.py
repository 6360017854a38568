"""`{message: welcome-1, status: clicked}`: something became of a message."""

from __future__ import annotations

from typing import ClassVar

from flowctl.language.conditions.message import Status
from flowctl.language.model import MessageName
from flowctl.language.triggers.trigger import AnyTrigger


class MessageTrigger(AnyTrigger):
    """A status reported of a message, by any enrollment."""

    kind: ClassVar[str] = "message"
    message: MessageName
    status: Status
    link: str | None = None
