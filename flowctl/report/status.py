"""How the store stands: what was applied, what is due, what is held or in doubt, when the last tick was."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowctl.engine.backlog import RESTING, backlog
from flowctl.engine.claims import OPEN
from flowctl.engine.restored import guarded
from flowctl.store.breakers import breakers

if TYPE_CHECKING:
    from flowctl.store.database import Store

TICK_CURSOR = "tick"  # the engine's: the time up to which everything was looked at


@dataclass(frozen=True, kw_only=True, slots=True)
class Status:
    """The store at a glance. Times are UTC milliseconds; `held` counts waiting messages by reason, earliest look first."""

    commit: str | None  # None: nothing was applied yet
    applied_at: int | None
    last_tick_at: int | None
    contacts: int
    events: int
    active: int
    due: int
    next_due_at: int | None
    ready: int
    held: dict[str, int]
    claimed: int
    in_doubt: int
    failed: int
    suppressed: int
    paused: tuple[str, ...]
    guarded: dict[str, str]  # workflow → the guard that it exceeded, until resumed
    refusing: dict[str, str]  # channel → what its provider said, which refuses everything
    backlog: int  # marketing messages that wait for `tick --confirm-backlog`; 0: no more than usual is due
    refusal: str | None  # why the store refuses to send: it is a restored copy that nobody adopted


def status(store: Store, *, now: int) -> Status:
    """Count what matters at `now`."""
    connection = store.connection
    waiting = backlog(connection, now)
    refusal = guarded(store)

    def one(sql: str, *parameters: object) -> int:
        return int(connection.execute(sql, parameters).fetchone()[0] or 0)

    release = connection.execute('SELECT "commit", applied_at FROM releases ORDER BY id DESC LIMIT 1').fetchone()
    last = connection.execute("SELECT value FROM cursors WHERE name = ?", (TICK_CURSOR,)).fetchone()
    next_due = connection.execute(
        "SELECT min(at) FROM (SELECT min(due_at) AS at FROM enrollments WHERE due_at > ?1 "
        "UNION ALL SELECT min(ready_at) FROM outbox WHERE ready_at > ?1)",
        (now,),
    ).fetchone()[0]
    held = connection.execute(
        "SELECT coalesce(reason, 'waiting'), count(*) FROM outbox WHERE ready_at > ? GROUP BY 1 ORDER BY min(ready_at)",
        (now,),
    ).fetchall()
    paused = connection.execute(
        "SELECT workflow FROM workflow_states WHERE state = 'paused' OR by_hand IN ('paused', 'stopped') ORDER BY 1"
    )
    notes = connection.execute(
        "SELECT workflow, note FROM workflow_states WHERE note IS NOT NULL ORDER BY 1"
    ).fetchall()
    return Status(
        commit=release[0] if release else None,
        applied_at=release[1] if release else None,
        last_tick_at=last[0] if last else None,
        contacts=one("SELECT count(*) FROM contacts"),
        events=one("SELECT count(*) FROM events"),
        active=one("SELECT count(*) FROM enrollments WHERE ended_at IS NULL"),
        due=one(f"SELECT count(*) FROM enrollments WHERE due_at <= ? AND version_id NOT IN {RESTING}", now),
        next_due_at=next_due,
        ready=one("SELECT count(*) FROM outbox WHERE ready_at <= ?", now),
        held=dict(held),
        claimed=one(f"SELECT count(*) FROM outbox WHERE {OPEN}"),
        in_doubt=one("SELECT count(*) FROM outbox WHERE state = 5"),
        failed=one("SELECT count(*) FROM outbox WHERE state = 4"),
        suppressed=one("SELECT count(*) FROM suppressions WHERE contact_id = 0"),
        paused=tuple(name for (name,) in paused),
        guarded=dict(notes),
        refusing={breaker.channel: breaker.reply for breaker in breakers(connection)},
        backlog=waiting.due if waiting else 0,
        refusal=refusal.message if refusal else None,
    )
