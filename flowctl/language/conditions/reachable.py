"""`{reachable: email}`: whether a message of a purpose may go to a contact on a channel."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator

from flowctl.language.model import Model

Channel = Literal["email", "sms", "whatsapp", "push", "web_push", "in_app", "on_site"]
Purpose = Literal["marketing", "transactional"]


class Reach(Model):
    """A channel and the purpose it is to serve."""

    channel: Channel
    purpose: Purpose = "marketing"


def _reach(value: Any) -> Any:
    return {"channel": value} if isinstance(value, str) else value


class ReachableLeaf(Model):
    """Address valid, consent given (for marketing), not suppressed, not bouncing."""

    subject: ClassVar[str] = "reachable"
    reachable: Annotated[Reach, BeforeValidator(_reach, json_schema_input_type=Reach | Channel)]
