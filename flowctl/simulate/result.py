"""What a simulation showed, counted from the copy it ran on."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    import sqlite3

    from flowctl.report.costs import ChannelCost
    from flowctl.report.timeline import Timeline

_HELD = 9  # journal_kinds
_SENT, _SKIPPED, _FAILED = 3, 6, 4  # outbox.state


@dataclass(frozen=True, kw_only=True, slots=True)
class SendCount:
    """Messages of one workflow on one channel that left on one local day (YYYY-MM-DD)."""

    day: str
    workflow: str
    channel: str
    count: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """One workflow, in the time simulated; `active` and `waiting` count who is inside at its end."""

    workflow: str
    entered: int
    goal: int
    completed: int
    exited: int
    failed: int
    active: int
    sent: int


@dataclass(frozen=True, kw_only=True, slots=True)
class SimulationResult:
    """All of it. Times are UTC milliseconds; the same store, files, seed and assumptions give the same result.

    `per_contact` maps a number of messages to how many contacts got so many, nobody left out; `held` and `skipped` count
    messages by reason; `facts` and `answers` count what was drawn.
    """

    commit: str
    start: int
    end: int
    days: int
    seed: int
    assumptions: str
    contacts: int
    ticks: int
    sends: tuple[SendCount, ...]
    per_contact: dict[int, int]
    workflows: tuple[Outcome, ...]
    held: dict[str, int]
    skipped: dict[str, int]
    failed: int
    facts: dict[str, int]
    answers: dict[str, int]
    costs: tuple[ChannelCost, ...] = ()
    timeline: Timeline | None = None

    @property
    def sent(self) -> int:
        """How many messages left."""
        return sum(count.count for count in self.sends)


def sends(connection: sqlite3.Connection, start: int, zone: str) -> tuple[SendCount, ...]:
    """What left since `start`, by local day of `zone`, workflow and channel."""
    rows = connection.execute(
        "SELECT o.settled_at, v.workflow, c.name FROM outbox o JOIN workflow_versions v ON v.id = o.version_id "
        "JOIN names c ON c.id = o.channel WHERE o.state = ? AND o.settled_at >= ?",
        (_SENT, start),
    )
    here = ZoneInfo(zone)
    counts = Counter(
        (datetime.fromtimestamp(at / 1000, UTC).astimezone(here).date().isoformat(), workflow, channel)
        for at, workflow, channel in rows
    )
    return tuple(
        SendCount(day=day, workflow=workflow, channel=channel, count=n)
        for (day, workflow, channel), n in sorted(counts.items())
    )


def per_contact(connection: sqlite3.Connection, start: int) -> dict[int, int]:
    """How many contacts got how many messages since `start`, from 0 on."""
    rows = connection.execute(
        "SELECT n, count(*) FROM (SELECT count(*) AS n FROM outbox WHERE state = ? AND settled_at >= ? GROUP BY contact_id) GROUP BY n ORDER BY n",
        (_SENT, start),
    ).fetchall()
    total = connection.execute("SELECT count(*) FROM contacts").fetchone()[0]
    return {0: total - sum(count for _, count in rows), **dict(rows)}


def outcomes(connection: sqlite3.Connection, start: int) -> tuple[Outcome, ...]:
    """Every workflow's part, by name."""
    rows = connection.execute(
        "SELECT workflow, sum(entered_at >= ?1), sum(goal_at >= ?1 AND reason IS NOT 'already'), sum(state = 1 AND ended_at >= ?1), "
        "sum(state = 2 AND ended_at >= ?1), sum(state = 3 AND ended_at >= ?1), sum(ended_at IS NULL) FROM enrollments GROUP BY workflow",
        (start,),
    )
    counted = {row[0]: tuple(int(value or 0) for value in row[1:]) for row in rows}
    sent = dict(
        connection.execute(
            "SELECT v.workflow, count(*) FROM outbox o JOIN workflow_versions v ON v.id = o.version_id "
            "WHERE o.state = ? AND o.settled_at >= ? GROUP BY 1",
            (_SENT, start),
        ).fetchall()
    )
    names = [name for (name,) in connection.execute("SELECT workflow FROM workflow_states ORDER BY workflow")]
    found: list[Outcome] = []
    for name in names:
        entered, goal, completed, exited, failed, active = counted.get(name, (0,) * 6)
        outcome = Outcome(
            workflow=name,
            entered=entered,
            goal=goal,
            completed=completed,
            exited=exited,
            failed=failed,
            active=active,
            sent=sent.get(name, 0),
        )
        found.append(outcome)
    return tuple(found)


def held(connection: sqlite3.Connection, first_journal_id: int) -> dict[str, int]:
    """Messages that were held back at least once, by reason, from a row of the journal on."""
    rows = connection.execute(
        "SELECT coalesce(detail ->> 'reason', ''), count(DISTINCT enrollment_id || ':' || pc) FROM journal WHERE id > ? AND kind = ? GROUP BY 1 "
        "ORDER BY 2 DESC, 1",
        (first_journal_id, _HELD),
    )
    return dict(rows.fetchall())


def skipped(connection: sqlite3.Connection, start: int) -> dict[str, int]:
    """Messages that will never leave, by reason."""
    rows = connection.execute(
        "SELECT coalesce(reason, ''), count(*) FROM outbox WHERE state = ? AND settled_at >= ? GROUP BY 1 ORDER BY 2 DESC, 1",
        (_SKIPPED, start),
    )
    return dict(rows.fetchall())


def failed(connection: sqlite3.Connection, start: int) -> int:
    """Messages that could not be sent."""
    return int(
        connection.execute(
            "SELECT count(*) FROM outbox WHERE state = ? AND settled_at >= ?", (_FAILED, start)
        ).fetchone()[0]
    )
