"""Why somebody is not in a workflow: which of their facts did not let them in, and whether one would now."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from flowctl.engine.enrol import verdict_on
from flowctl.engine.localtime import refresh_zones
from flowctl.engine.runtime import load
from flowctl.report.workflows import standing

if TYPE_CHECKING:
    import sqlite3

    from flowctl.engine.runtime import Entrance, Runtime

FACTS_MAX = 50  # the newest facts of a trigger's kind that are looked at

_UNUSED = (
    "NOT EXISTS (SELECT 1 FROM enrollments e WHERE e.contact_id = f.contact_id AND e.workflow = :workflow AND e.cause = '{0}:' || f.id) "
    "AND NOT EXISTS (SELECT 1 FROM journal j WHERE j.contact_id = f.contact_id AND j.kind = 2 AND j.detail ->> 'cause' = '{0}:' || f.id "
    "AND j.detail ->> 'workflow' = :workflow)"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Passed:
    """A fact of a trigger's kind that started nothing. `reason` is where, unless, before_apply, pending or late."""

    at: int
    subject: str
    reason: str
    asks: str  # the trigger, as written
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Admission:
    """Whether a fact of now would let a contact into a workflow. `reason` is None where it would; `state` is the workflow's."""

    workflow: str
    state: str
    reason: str | None
    asks: str = ""  # the audience, as written
    seen: dict[str, Any] = field(default_factory=dict)  # what it looked at, whatever the answer
    triggers: tuple[str, ...] = ()
    holdout: bool = False  # in the group that gets no marketing


def admission(connection: sqlite3.Connection, workflow: str, contact_id: int, *, now: int) -> Admission | None:
    """Judge a contact as the next tick would judge a fact dated `now` (UTC ms); None where the newest release lacks the workflow."""
    runtime = load(connection)
    entrance = _entrance(runtime, workflow)
    if runtime is None or entrance is None:
        return None
    refresh_zones(connection, now)
    states = connection.execute("SELECT state, by_hand, note FROM workflow_states WHERE workflow = ?", (workflow,))
    seen: dict[str, Any] = {}
    if entrance.audience_seen:
        row = connection.execute(
            f"SELECT json_object({entrance.audience_seen}) FROM contacts c, "
            "(SELECT NULL AS eid, :contact AS contact_id, :now AS entered_at, :now AS at, NULL AS trigger, NULL AS data) w "
            "WHERE c.id = :contact",
            {"contact": contact_id, "now": now},
        ).fetchone()
        seen = json.loads(row[0])
    share = round((runtime.said["holdout"] or 0) * 10_000) if workflow not in runtime.said["no_holdout"] else 0
    (seed,) = connection.execute("SELECT _seed FROM contacts WHERE id = ?", (contact_id,)).fetchone()
    return Admission(
        workflow=workflow,
        state=next((standing(*row) for row in states), "gone"),
        reason=verdict_on(connection, runtime, entrance, contact_id, now),
        asks=entrance.audience_asks,
        seen=seen,
        triggers=tuple(said["asks"] for said in entrance.triggers),
        holdout=seed % 10_000 < share,
    )


def passed_by(connection: sqlite3.Connection, workflow: str, contact_id: int, *, now: int) -> list[Passed]:
    """Events and changes of the kinds that a workflow's triggers name and that started nothing, as its newest release judges them."""
    runtime = load(connection)
    entrance = _entrance(runtime, workflow)
    if entrance is None:
        return []
    refresh_zones(connection, now)
    (first_at,) = connection.execute(
        "SELECT first_at FROM workflow_states WHERE workflow = ?", (workflow,)
    ).fetchone() or (0,)
    here = {"workflow": workflow, "contact": contact_id, "now": now, "first": first_at, "rows": FACTS_MAX}
    found: list[Passed] = []
    for said in entrance.triggers:
        if said["kind"] == "event":
            found += _events(connection, said, here)
        elif said["kind"] == "field":
            found += _changes(connection, said, here)
    return found


def _entrance(runtime: Runtime | None, workflow: str) -> Entrance | None:
    every = runtime.entrances if runtime else []
    return next((each for each in every if each.workflow == workflow), None)


def _events(connection: sqlite3.Connection, said: dict[str, Any], here: dict[str, Any]) -> list[Passed]:
    unless = said["unless"]
    prevented = "0"
    if unless:
        prevented = (
            f"EXISTS (SELECT 1 FROM events u WHERE u.contact_id = f.contact_id AND u.type = {unless['type']:d} AND u.at >= f.at "
            f"AND u.at <= f.at + {unless['within_ms']:d} AND (u.at > f.at OR u.id > f.id) AND ({unless['where']}))"
        )
    wait = unless["within_ms"] if unless else 0
    rows = connection.execute(
        f"SELECT f.at, t.name, f.props, ({said['where']}) IS TRUE, {prevented}, f.at + {wait:d} > :now, f.at < :first FROM events f "
        f"JOIN event_types t ON t.id = f.type WHERE f.contact_id = :contact AND f.type = {said['type']:d} AND f.at <= :now "
        f"AND {_UNUSED.format('event')} ORDER BY f.at DESC LIMIT :rows",
        here,
    )
    return [
        Passed(
            at=at, subject=name, reason=_reason(*flags), asks=said["asks"], detail=json.loads(props) if props else {}
        )
        for at, name, props, *flags in rows
    ]


def _changes(connection: sqlite3.Connection, said: dict[str, Any], here: dict[str, Any]) -> list[Passed]:
    rows = connection.execute(
        f"SELECT f.at, f.field, f.old, f.new, ({said['where']}) IS TRUE, 0, 0, f.at < :first FROM contact_changes f "
        f"WHERE f.contact_id = :contact AND f.field = :field AND f.at <= :now AND {_UNUSED.format('change')} ORDER BY f.at DESC LIMIT :rows",
        {**here, "field": said["field"]},
    )
    return [
        Passed(at=at, subject=name, reason=_reason(*flags), asks=said["asks"], detail={"old": old, "new": new})
        for at, name, old, new, *flags in rows
    ]


def _reason(where: int, prevented: int, pending: int, early: int) -> str:
    if not where:
        return "where"
    if prevented:
        return "unless"
    if pending:
        return "pending"
    return "before_apply" if early else "late"
