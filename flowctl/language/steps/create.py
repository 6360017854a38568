"""`create:`: a record, once per key."""

from __future__ import annotations

from typing import ClassVar

from flowctl.language.model import Model, RecordName
from flowctl.language.steps.step import AnyStep
from flowctl.language.values import Source, Value


class Creation(Model):
    """What to create; a key already used creates nothing."""

    record: RecordName
    key: Source | None = None
    values: dict[str, Value] = {}


class CreateStep(AnyStep):
    """A record of the contact's."""

    verb: ClassVar[str] = "create"
    create: Creation
