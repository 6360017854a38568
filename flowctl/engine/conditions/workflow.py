"""`workflow` leaves: where a contact stands in a workflow now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowctl.engine.conditions.literal import literal
from flowctl.engine.segments import Probe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.engine.conditions.scope import Frame
    from flowctl.language.conditions import WorkflowLeaf

# The numbers of enrollments.state; a goal is an exit.
_ENDED_AS = {"completed": "= 1", "exited": "IN (2, 4)"}


def sql(leaf: WorkflowLeaf, frame: Frame, *, negated: bool) -> str:
    """active: any is running; completed, exited: how the last one ended; never: there was none."""
    mine = f"FROM enrollments n WHERE n.contact_id = c.id AND n.workflow = {literal(leaf.workflow)}"
    match leaf.state:
        case "active":
            test = f"EXISTS (SELECT 1 {mine} AND n.ended_at IS NULL)"
        case "never":
            test = f"NOT EXISTS (SELECT 1 {mine})"
        case _:
            last = f"SELECT n.state {mine} AND n.ended_at IS NOT NULL ORDER BY n.ended_at DESC, n.id DESC LIMIT 1"
            test = f"coalesce(({last}), 0) {_ENDED_AS[leaf.state]}"
    return f"NOT ({test})" if negated else test


def probes(leaf: WorkflowLeaf, frame: Frame) -> Iterator[Probe]:
    """Who entered or left it."""
    yield Probe(kind="enrollment", names=(leaf.workflow,))


def unsupported(leaf: WorkflowLeaf, frame: Frame) -> str | None:
    """Why the engine does not run it; None where it does."""
    return None
