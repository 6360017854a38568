"""Whether the books balance: every enrollment in exactly one state, every message accounted for, segments as their transitions say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3

    from flowctl.store.database import Store

EXAMPLES_MAX = 5

# Each asks for rows that must not be there: (what would be wrong, query for their ids).
_CHECKS: dict[str, tuple[str, str]] = {
    "enrollment-lost": (
        "active enrollments that are neither due nor waiting for a message or a service",
        (
            "SELECT e.id FROM enrollments e WHERE e.ended_at IS NULL AND e.due_at IS NULL "
            "AND NOT EXISTS (SELECT 1 FROM outbox o WHERE o.enrollment_id = e.id AND o.pc = e.pc AND o.state IN (0, 1, 2)) "
            "AND NOT EXISTS (SELECT 1 FROM fetches f WHERE f.enrollment_id = e.id AND f.pc = e.pc AND f.ready_at IS NOT NULL)"
        ),
    ),
    "enrollment-without-entry": (
        "enrollments without exactly one `entered` in the journal",
        (
            "SELECT e.id FROM enrollments e LEFT JOIN (SELECT enrollment_id, count(*) AS n FROM journal WHERE kind = 1 GROUP BY 1) j "
            "ON j.enrollment_id = e.id WHERE j.n IS NOT 1"
        ),
    ),
    "enrollment-without-end": (
        "ended enrollments without an end in the journal",
        (
            "SELECT e.id FROM enrollments e LEFT JOIN (SELECT DISTINCT enrollment_id FROM journal WHERE kind IN (11, 16, 17, 18)) j "
            "ON j.enrollment_id = e.id WHERE e.ended_at IS NOT NULL AND j.enrollment_id IS NULL"
        ),
    ),
    "message-without-owner": (
        "messages still to leave whose enrollment ended, moved on or is also due",
        (
            "SELECT o.id FROM outbox o JOIN enrollments e ON e.id = o.enrollment_id WHERE o.state IN (0, 1, 2) "
            "AND (e.ended_at IS NOT NULL OR e.pc <> o.pc) AND o.reason IS NOT 'resend'"  # a person's order
        ),
    ),
    "message-without-arrival": (
        "messages whose queuing is not in the journal",
        (
            "SELECT o.id FROM outbox o LEFT JOIN (SELECT enrollment_id, pc, count(*) AS n FROM journal WHERE kind = 7 GROUP BY 1, 2) j "
            "ON j.enrollment_id = o.enrollment_id AND j.pc = o.pc WHERE j.n IS NULL"
        ),
    ),
    "sent-without-status": (
        "sent messages without exactly one `sent` status",
        (
            "SELECT o.id FROM outbox o LEFT JOIN (SELECT outbox_id, count(*) AS n FROM message_events WHERE status = 0 GROUP BY 1) m "
            "ON m.outbox_id = o.id WHERE o.state = 3 AND m.n IS NOT 1"
        ),
    ),
    "status-without-sent": (
        "`sent` statuses of messages that are not sent",
        (
            "SELECT m.id FROM message_events m LEFT JOIN outbox o ON o.id = m.outbox_id "
            "WHERE m.status = 0 AND (o.id IS NULL OR o.state NOT IN (3, 5))"
        ),
    ),
    "member-without-transition": (
        "segment members whose last transition is not an entry",
        (
            "SELECT m.contact_id FROM segment_members m LEFT JOIN "
            "(SELECT contact_id, segment_id, entered, max(id) FROM transitions GROUP BY 1, 2) t "
            "ON t.contact_id = m.contact_id AND t.segment_id = m.segment_id WHERE t.entered IS NOT 1"
        ),
    ),
    "transition-without-member": (
        "contacts whose last transition entered a segment that they are not in",
        (
            "SELECT t.contact_id FROM (SELECT contact_id, segment_id, entered, max(id) FROM transitions GROUP BY 1, 2) t "
            "JOIN segments s ON s.id = t.segment_id AND s.retired_at IS NULL LEFT JOIN segment_members m "
            "ON m.contact_id = t.contact_id AND m.segment_id = t.segment_id WHERE t.entered = 1 AND m.contact_id IS NULL"
        ),
    ),
    "erasure-unfinished": (
        "contacts forgotten whose deleted rows may still lie in the file: `flowctl contacts forget`, without a name, finishes",
        "SELECT name FROM cursors WHERE name = 'forgetting'",
    ),
    "broken-reference": ("rows that refer to rows which are not there", "SELECT rowid FROM pragma_foreign_key_check"),
    "damaged-file": (
        "faults of the file itself",
        "SELECT quick_check FROM pragma_quick_check WHERE quick_check <> 'ok'",
    ),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """Something that does not add up: how many rows, and the first of their ids."""

    check: str
    what: str
    count: int
    examples: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Audit:
    """The sums, and what does not add up."""

    enrollments: dict[str, int]  # by what they are: due, waiting, sending, completed, exited, failed, goal
    messages: dict[str, int]  # by state
    checks: int
    differences: tuple[Difference, ...]

    @property
    def balanced(self) -> bool:
        """Whether everything adds up."""
        return not self.differences


def audit(store: Store, *, now: int) -> Audit:
    """Add everything up. Reads one snapshot, so that a tick running beside it does not make it wrong."""
    connection = store.connection
    connection.execute("BEGIN")
    try:
        enrollments = _enrollments(connection, now)
        messages = dict(
            connection.execute("SELECT state, count(*) FROM outbox_readable GROUP BY 1 ORDER BY 1").fetchall()
        )
        differences = [found for check in _CHECKS if (found := _difference(connection, check)) is not None]
        differences += _sums(connection, enrollments, messages)
    finally:
        connection.execute("ROLLBACK")
    return Audit(enrollments=enrollments, messages=messages, checks=len(_CHECKS) + 2, differences=tuple(differences))


def _enrollments(connection: sqlite3.Connection, now: int) -> dict[str, int]:
    rows = connection.execute(
        "SELECT CASE WHEN state = 1 THEN 'completed' WHEN state = 2 THEN 'exited' WHEN state = 3 THEN 'failed' WHEN state = 4 THEN 'goal' "
        "WHEN due_at <= ? THEN 'due' WHEN due_at IS NOT NULL THEN 'waiting' ELSE 'sending' END, count(*) FROM enrollments GROUP BY 1 ORDER BY 1",
        (now,),
    )
    return dict(rows.fetchall())


def _difference(connection: sqlite3.Connection, check: str) -> Difference | None:
    what, query = _CHECKS[check]
    ids = [str(found) for (found,) in connection.execute(query)]
    return Difference(check=check, what=what, count=len(ids), examples=tuple(ids[:EXAMPLES_MAX])) if ids else None


def _sums(connection: sqlite3.Connection, enrollments: dict[str, int], messages: dict[str, int]) -> list[Difference]:
    """Totals against the journal: as many enrollments as entries, as many messages as their states add up to."""
    found: list[Difference] = []
    for name, counts, query in (
        ("enrollments", enrollments, "SELECT count(*) FROM enrollments"),
        ("messages", messages, "SELECT count(*) FROM outbox"),
    ):
        total = connection.execute(query).fetchone()[0]
        if sum(counts.values()) != total:
            what = f"{name} by state add up to {sum(counts.values())}, there are {total}"
            found.append(
                Difference(check=f"{name}-sum", what=what, count=abs(total - sum(counts.values())), examples=())
            )
    return found
