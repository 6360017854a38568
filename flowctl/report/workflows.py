"""Which workflows the store runs, in which version and state, with how many people inside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flowctl.store.database import Store


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkflowRow:
    """A workflow. `version` is None where it is gone and drains; `old_versions` counts people inside earlier ones."""

    name: str
    state: str  # see `standing`
    version: int | None
    commit: str | None
    path: str | None
    active: int
    old_versions: int
    entered: int
    note: str | None = None  # what a guard found


def standing(state: str, by_hand: str | None, note: str | None) -> str:
    """`draft`, `live`, `paused`, `draining` as applied; `paused by hand`, `draining by hand`, `stopped by hand`; `paused by a guard`.

    An order by hand takes the `note` of a guard away.
    """
    if by_hand is None:
        return state
    return f"{by_hand} by a guard" if by_hand == "paused" and note else f"{by_hand} by hand"


def workflows(store: Store) -> list[WorkflowRow]:
    """Every workflow that was ever applied, by name."""
    rows = store.connection.execute(
        'SELECT s.workflow, s.state, s.by_hand, v.number, r."commit", v.path, '
        "count(e.id) FILTER (WHERE e.ended_at IS NULL), "
        "count(e.id) FILTER (WHERE e.ended_at IS NULL AND e.version_id IS NOT s.version_id), count(e.id), s.note "
        "FROM workflow_states s LEFT JOIN workflow_versions v ON v.id = s.version_id LEFT JOIN releases r ON r.id = v.release_id "
        "LEFT JOIN enrollments e ON e.workflow = s.workflow GROUP BY s.workflow ORDER BY s.workflow"
    )
    return [
        WorkflowRow(
            name=row[0],
            state=standing(row[1], row[2], row[9]),
            version=row[3],
            commit=row[4],
            path=row[5],
            active=row[6],
            old_versions=row[7],
            entered=row[8],
            note=row[9],
        )
        for row in rows
    ]
