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
    state: str  # draft, live, paused, draining; 'paused by hand', 'draining by hand', 'stopped by hand'
    version: int | None
    commit: str | None
    path: str | None
    active: int
    old_versions: int
    entered: int
    note: str | None = None  # what a guard found


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
            state=f"{row[2]} by hand" if row[2] else row[1],
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
