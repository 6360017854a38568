"""`field` leaves: a contact's field compared with something."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from flowctl.engine.conditions.comparison import (
    by_local_date,
    comparison_sql,
    fields_read,
    is_timed,
    moment_probes,
    sources,
)
from flowctl.engine.conditions.values import column
from flowctl.engine.segments import Probe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.engine.conditions.scope import Frame
    from flowctl.language.conditions import FieldLeaf


def sql(leaf: FieldLeaf, frame: Frame, *, negated: bool) -> str:
    """The column of the field, by its type."""
    return comparison_sql(column(leaf.field, frame), leaf, frame, negated=negated)


def probes(leaf: FieldLeaf, frame: Frame) -> Iterator[Probe]:
    """Changes of the field, and of those it is compared with; what time alone changes."""
    yield Probe(kind="changed", names=tuple(sorted({leaf.field, *fields_read(leaf)})))
    if not is_timed(leaf):
        return
    is_date = frame.scope.field_types[leaf.field] == "date"
    if is_date or by_local_date(leaf):
        then, now = (f"({sql(leaf, replace(frame, date=day), negated=False)}) IS TRUE" for day in ("z.was", "z.today"))
        yield Probe(kind="day", zone=frame.scope.zone, sql=f"({then}) <> ({now})")
    if not is_date:
        yield from moment_probes(leaf.field, leaf)


def unsupported(leaf: FieldLeaf, frame: Frame) -> str | None:
    """Why the engine does not run it; None where it does."""
    outside = [
        source.from_ for source in sources(leaf) if source.from_ != "now" and not source.from_.startswith("contact.")
    ]
    if outside and not frame.scope.enrollment:
        return f"`{outside[0]}` only means something inside a workflow"
    return None
