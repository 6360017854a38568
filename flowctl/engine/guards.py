"""Guards: a workflow that tires people is paused by hand-flag, and its team told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowctl.engine.runtime import ALERT
from flowctl.store.statuses import BOUNCED, COMPLAINED, UNSUBSCRIBED

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from flowctl.engine.runtime import Runtime

CODES = {"unsubscribed": UNSUBSCRIBED, "complained": COMPLAINED, "bounced": BOUNCED}
_TIRED = (
    "SELECT DISTINCT v.workflow FROM fact_statuses f JOIN outbox o ON o.id = f.outbox_id JOIN workflow_versions v ON v.id = o.version_id "
    f"WHERE f.status IN ({BOUNCED}, {COMPLAINED}, {UNSUBSCRIBED})"
)
# Of the messages that left in the window: how many, and how many of them had this outcome.
_COUNTED = (
    "SELECT count(DISTINCT m.outbox_id) FILTER (WHERE m.status = 0), count(DISTINCT m.outbox_id) FILTER (WHERE m.status = :code) "
    "FROM message_events m JOIN outbox o ON o.id = m.outbox_id JOIN workflow_versions v ON v.id = o.version_id "
    "WHERE m.message IN (SELECT id FROM names WHERE kind = 'message') AND m.status IN (0, :code) AND m.at > :from AND m.at <= :now "
    "AND o.counted_at > :from AND v.workflow = :workflow"
)


def watch(connection: sqlite3.Connection, runtime: Runtime, now: int) -> dict[str, str]:
    """Judge the workflows whose messages just met with a refusal, at `now` (UTC ms); inside a transaction.

    Returns workflow → what was found, of those paused or told of. Only what left since the workflow was last resumed counts, so that a
    person's word outlasts the figures that paused it.
    """
    guards: Mapping[str, list[dict[str, Any]]] = runtime.said["guards"]
    if not guards or connection.execute("SELECT 1 FROM fact_statuses WHERE status >= 5 LIMIT 1").fetchone() is None:
        return {}
    found: dict[str, str] = {}
    for (workflow,) in connection.execute(_TIRED).fetchall():
        row = connection.execute(
            "SELECT by_hand, note, coalesce(resumed_at, 0) FROM workflow_states WHERE workflow = ?", (workflow,)
        ).fetchone()
        if row is None or row[0] == "paused" or row[1] is not None:
            continue
        for guard in guards.get(workflow, ()):
            what = _tripped(connection, workflow, guard, row[2], now)
            if what:
                found[workflow] = _trip(connection, runtime, workflow, guard, what, now)
                break
    return found


def _tripped(connection: sqlite3.Connection, workflow: str, guard: Mapping[str, Any], since: int, now: int) -> str:
    """What to say of a guard that is exceeded; '' where it is not."""
    for word, share in guard["shares"].items():
        bounds = {"workflow": workflow, "code": CODES[word], "from": max(now - guard["over_ms"], since), "now": now}
        sent, tired = connection.execute(_COUNTED, bounds).fetchone()
        if sent >= guard["at_least"] and tired > sent * share:
            return f"{tired} of {sent} messages {word} ({tired / sent:.1%}, limit {share:.1%} over {guard['over']})"
    return ""


def _trip(
    connection: sqlite3.Connection, runtime: Runtime, workflow: str, guard: Mapping[str, Any], what: str, now: int
) -> str:
    """Do what a guard says; returns what was found and done, for people."""
    pause, team = guard["then"] == "pause", guard["notify"]
    reached = runtime.said["teams"].get(team, {}) if team else {}
    recipient = f"{ALERT}{team}" if reached.get("alert") else reached.get("email")
    done = [*(["paused"] if pause else []), *([f"{team} told"] if recipient else [])]
    note = "; ".join([f"guard: {what}", *([", ".join(done)] if done else [])])
    connection.execute(
        "UPDATE workflow_states SET by_hand = CASE WHEN ? THEN 'paused' ELSE by_hand END, note = ? WHERE workflow = ?",
        (pause, note, workflow),
    )
    if pause:
        runtime.states[workflow] = (runtime.states[workflow][0], True)
    if recipient:
        # The alert hangs on the message whose outcome was the last straw.
        connection.execute(
            "INSERT INTO notices (contact_id, enrollment_id, version_id, pc, at, team, recipient, text, ready_at) "
            "SELECT o.contact_id, o.enrollment_id, o.version_id, o.pc, :now, :team, :recipient, :text, :now FROM fact_statuses f "
            "JOIN outbox o ON o.id = f.outbox_id JOIN workflow_versions v ON v.id = o.version_id "
            "WHERE v.workflow = :workflow AND f.status >= 5 ORDER BY f.id DESC LIMIT 1 ON CONFLICT (enrollment_id, pc, at) DO NOTHING",
            {
                "now": now,
                "team": team,
                "recipient": recipient,
                "text": f"Workflow {workflow} {'is paused' if pause else 'goes on'}: {what}",
                "workflow": workflow,
            },
        )
    return note
