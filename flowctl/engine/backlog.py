"""Judges whether far more is about to leave than usual, which is what a long silence, a slip in a segment or a wrong clock looks like."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowctl.store.sending import busiest_day

if TYPE_CHECKING:
    import sqlite3

FLOOR = 1_000  # below this a tick never asks: a small project's first newsletter is no accident
FACTOR = 3  # times the busiest day
DAYS_JUDGED = 35  # days on which marketing left, of which the busiest counts: a monthly newsletter is usual
DAYS_MIN = 7  # with fewer there is no "usual" yet, and a first campaign leaves unasked
# The versions of workflows in which nobody moves.
RESTING = (
    "(SELECT v.id FROM workflow_states s JOIN workflow_versions v ON v.workflow = s.workflow "
    "WHERE s.state NOT IN ('live', 'draining') OR s.by_hand IN ('paused', 'stopped'))"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Backlog:
    """More marketing messages due than usual: `due` of them where `usual_max` would have left unasked."""

    due: int
    usual_max: int


def backlog(connection: sqlite3.Connection, now: int) -> Backlog | None:
    """What is due at `now` (UTC ms) where that is far more than usual, else None.

    Usual is up to max(1,000; 3 × the marketing messages of the busiest UTC day among the last 35 days, before today, on which
    any left); a store with fewer than 7 such days has no usual. Counted are marketing messages that are ready and not
    expired, of workflows that run. Worked: at most 2,000 on any such day makes 6,000; 6,001 due messages ask.
    """
    if _due(connection, now, FLOOR + 1) <= FLOOR:
        return None
    most, days = busiest_day(connection, before=now, days=DAYS_JUDGED)
    if days < DAYS_MIN:
        return None
    usual_max = max(FLOOR, FACTOR * most)
    due = _due(connection, now, -1)
    return Backlog(due=due, usual_max=usual_max) if due > usual_max else None


def _due(connection: sqlite3.Connection, now: int, rows_max: int) -> int:
    """How many, counted up to `rows_max`; without end where that is -1."""
    (count,) = connection.execute(
        "SELECT count(*) FROM (SELECT 1 FROM outbox INDEXED BY outbox_ready "
        f"WHERE ready_at <= ?1 AND marketing = 1 AND expires_at > ?1 AND reason IS NOT 'resend' AND version_id NOT IN {RESTING} LIMIT ?2)",
        (now, rows_max),
    ).fetchone()
    return int(count)
