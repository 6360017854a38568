"""Which releases there are, and which workflow versions each brought."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flowctl.store.database import Store


@dataclass(frozen=True, kw_only=True, slots=True)
class ReleaseRow:
    """One release. `applied_at` is UTC ms; `workflows` those of which it brought a new version."""

    id: int
    applied_at: int
    commit: str
    digest: str
    files: int
    workflows: tuple[str, ...]


def releases(store: Store) -> list[ReleaseRow]:
    """All releases, the newest first."""
    rows = store.connection.execute(
        'SELECT r.id, r.applied_at, r."commit", r.digest, (SELECT count(*) FROM json_each(r.files)), '
        "(SELECT group_concat(v.workflow, ' ') FROM workflow_versions v WHERE v.release_id = r.id) FROM releases r ORDER BY r.id DESC"
    ).fetchall()
    return [
        ReleaseRow(
            id=row[0],
            applied_at=row[1],
            commit=row[2],
            digest=row[3],
            files=row[4],
            workflows=tuple(sorted((row[5] or "").split())),
        )
        for row in rows
    ]
