"""Who is in which segment, and since when."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

from flowctl.failure import UsageFailure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.store.database import Store


@dataclass(frozen=True, kw_only=True, slots=True)
class SegmentCount:
    """A segment as the last tick left it. `changed_at` is its newest transition, UTC milliseconds."""

    name: str
    members: int
    entered: int  # since the segment was first judged
    left: int
    changed_at: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """A contact in a segment since a time (UTC milliseconds)."""

    contact_id: int
    key: str | None
    email: str | None
    since: int


def segments(store: Store) -> list[SegmentCount]:
    """Every segment in use, by name."""
    rows = store.connection.execute(
        "SELECT s.name, (SELECT count(*) FROM segment_members m WHERE m.segment_id = s.id), "
        "coalesce(sum(t.entered = 1 AND t.existing = 0), 0), coalesce(sum(t.entered = 0), 0), max(t.at) "
        "FROM segments s LEFT JOIN transitions t ON t.segment_id = s.id WHERE s.retired_at IS NULL GROUP BY s.id ORDER BY s.name"
    )
    return [SegmentCount(name=row[0], members=row[1], entered=row[2], left=row[3], changed_at=row[4]) for row in rows]


def members(store: Store, segment: str, *, limit: int | None = None) -> Iterator[Member]:
    """Who is in, by id, in flat memory.

    Raises:
        UsageFailure: there is no such segment.
    """
    known = dict(store.connection.execute("SELECT name, id FROM segments WHERE retired_at IS NULL").fetchall())
    if segment not in known:
        near = get_close_matches(segment, known, n=1)
        message = f"the store has no segment `{segment}`"
        raise UsageFailure(message, help=f"did you mean `{near[0]}`?" if near else "`flowctl segments list` shows them")
    rows = store.connection.execute(
        "SELECT c.id, c.key, c.email, m.since FROM segment_members m JOIN contacts c ON c.id = m.contact_id "
        "WHERE m.segment_id = ? ORDER BY m.contact_id LIMIT ?",
        (known[segment], -1 if limit is None else limit),
    )
    return (Member(contact_id=row[0], key=row[1], email=row[2], since=row[3]) for row in rows)
