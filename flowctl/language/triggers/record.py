"""`{record: ticket, created: true}`: a record came into being."""

from __future__ import annotations

from typing import ClassVar, Literal

from flowctl.language.model import RecordName
from flowctl.language.triggers.trigger import AnyTrigger
from flowctl.language.values import Where


class RecordTrigger(AnyTrigger):
    """A record of the contact's was created."""

    kind: ClassVar[str] = "record"
    record: RecordName
    created: Literal[True] = True
    where: Where = {}
