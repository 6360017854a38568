"""`{message: welcome-1, status: opened}`: what became of a message."""

from __future__ import annotations

from typing import ClassVar, Literal

from flowctl.language.conditions.event import CountOf, Since
from flowctl.language.model import MessageName, Model

Status = Literal["sent", "delivered", "opened", "clicked", "dismissed", "bounced", "complained", "unsubscribed"]


class MessageLeaf(Model):
    """Without `since`, this enrollment's message; with a duration or `ever`, any."""

    subject: ClassVar[str] = "message"
    message: MessageName  # or `any`
    status: Status
    since: Since | None = None
    count: CountOf | None = None
    link: str | None = None
