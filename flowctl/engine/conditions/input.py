"""`input` leaves: what a `start` handed over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowctl.engine.conditions.comparison import fields_read
from flowctl.engine.conditions.event import where_sql
from flowctl.engine.conditions.values import DOCUMENTS
from flowctl.engine.segments import Probe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.engine.conditions.scope import Frame
    from flowctl.language.conditions import InputLeaf


def sql(leaf: InputLeaf, frame: Frame, *, negated: bool) -> str:
    """Paths in a JSON document of `w`; their types are those of what they are compared with."""
    document, prefix = DOCUMENTS["input"]
    return where_sql(document, leaf.input, {}, frame, prefix=prefix, negated=negated)


def probes(leaf: InputLeaf, frame: Frame) -> Iterator[Probe]:
    """It stays as it is; a field it is compared with may change."""
    names = sorted({name for asked in leaf.input.values() for name in fields_read(asked)})
    if names:
        yield Probe(kind="changed", names=tuple(names))


def unsupported(leaf: InputLeaf, frame: Frame) -> str | None:
    """Why the engine does not run it; None where it does."""
    return None if frame.scope.enrollment else "`input` only means something inside a workflow"
