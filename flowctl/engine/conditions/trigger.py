"""`trigger` leaves: what started this enrollment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowctl.engine.conditions.comparison import fields_read
from flowctl.engine.conditions.event import where_sql
from flowctl.engine.conditions.values import DOCUMENTS
from flowctl.engine.segments import Probe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.engine.conditions.scope import Frame
    from flowctl.language.conditions import TriggerLeaf
    from flowctl.language.settings import FieldType

_TYPES: dict[str, FieldType] = {"at": "datetime"}  # which every trigger has, as an instant


def sql(leaf: TriggerLeaf, frame: Frame, *, negated: bool) -> str:
    """Paths in a JSON document of `w`; their types are those of what they are compared with, but for `at`."""
    document, prefix = DOCUMENTS["trigger"]
    return where_sql(document, leaf.trigger, _TYPES, frame, prefix=prefix, negated=negated)


def probes(leaf: TriggerLeaf, frame: Frame) -> Iterator[Probe]:
    """It stays as it is; a field it is compared with may change."""
    names = sorted({name for asked in leaf.trigger.values() for name in fields_read(asked)})
    if names:
        yield Probe(kind="changed", names=tuple(names))


def unsupported(leaf: TriggerLeaf, frame: Frame) -> str | None:
    """Why the engine does not run it; None where it does."""
    return None if frame.scope.enrollment else "`trigger` only means something inside a workflow"
