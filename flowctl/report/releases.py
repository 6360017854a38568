"""Which releases there are, and which workflow versions each brought."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from flowctl.failure import UsageFailure

if TYPE_CHECKING:
    from flowctl.store.database import Store

_DIGITS_MAX = 9  # longer is no release's number, but may be a commit


@dataclass(frozen=True, kw_only=True, slots=True)
class ReleaseRow:
    """One release. `applied_at` is UTC ms; `workflows` those of which it brought a new version.

    `orders`, where something was ordered: in_flight, exited, moved, rollback (see the table release_orders).
    """

    id: int
    applied_at: int
    commit: str
    digest: str
    files: int
    workflows: tuple[str, ...]
    orders: dict[str, Any] = field(default_factory=dict)


def releases(store: Store) -> list[ReleaseRow]:
    """All releases, the newest first."""
    rows = store.connection.execute(
        'SELECT r.id, r.applied_at, r."commit", r.digest, (SELECT count(*) FROM json_each(r.files)), '
        "(SELECT group_concat(v.workflow, ' ') FROM version_origins o JOIN workflow_versions v ON v.id = o.version_id WHERE o.release_id = r.id), "
        "(SELECT o.orders FROM release_orders o WHERE o.release_id = r.id) FROM releases r ORDER BY r.id DESC"
    ).fetchall()
    return [
        ReleaseRow(
            id=row[0],
            applied_at=row[1],
            commit=row[2],
            digest=row[3],
            files=row[4],
            workflows=tuple(sorted((row[5] or "").split())),
            orders=json.loads(row[6]) if row[6] else {},
        )
        for row in rows
    ]


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """One release with its texts by path, and the block of `environments:` that it was applied with."""

    id: int
    commit: str
    digest: str
    files: dict[str, str]
    environment: str = ""


def newest(store: Store) -> Snapshot | None:
    """The release that ticks run; None where nothing was applied yet."""
    return _snapshot(store, "ORDER BY id DESC LIMIT 1")


def earlier(store: Store, name: str = "") -> Snapshot:
    """The release of a number or commit, its newest where a commit was applied twice; without a name the one before the newest.

    Raises:
        UsageFailure: there is none.
    """
    if not name:
        found = _snapshot(store, "ORDER BY id DESC LIMIT 1 OFFSET 1")
        if found is None:
            message = "there is no release before the newest"
            raise UsageFailure(message, help="`flowctl releases` lists them")
        return found
    by_number = _snapshot(store, "WHERE id = ?", int(name)) if name.isdecimal() and len(name) < _DIGITS_MAX else None
    found = by_number or _snapshot(store, 'WHERE "commit" = ? ORDER BY id DESC LIMIT 1', name)
    if found is None:
        message = f"no release {name!r}"
        raise UsageFailure(message, help="`flowctl releases` lists their numbers and commits")
    return found


def _snapshot(store: Store, which: str, *values: object) -> Snapshot | None:
    row = store.connection.execute(
        f'SELECT id, "commit", digest, files, environment FROM releases {which}', values
    ).fetchone()
    if row is None:
        return None
    return Snapshot(id=row[0], commit=row[1], digest=row[2], files=json.loads(row[3]), environment=row[4])
