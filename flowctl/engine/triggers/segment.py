"""`{enters: segment}` and `{exits: segment}`: stored transitions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowctl.language.triggers import EntersTrigger, ExitsTrigger

if TYPE_CHECKING:
    from flowctl.engine.compiler import Compiler
    from flowctl.engine.runtime import Entrance
    from flowctl.engine.triggers import Look
    from flowctl.language.triggers import Trigger


def compiled(trigger: Trigger, compiler: Compiler, index: int) -> dict[str, Any]:
    """The segment's number, the direction, and whether those already inside enrol."""
    assert isinstance(trigger, EntersTrigger | ExitsTrigger)  # noqa: S101 - the kind says so
    entering = isinstance(trigger, EntersTrigger)
    name = trigger.enters if isinstance(trigger, EntersTrigger) else trigger.exits
    return {
        "segment": compiler.scope.segments[name],
        "name": name,
        "entered": int(entering),
        "existing": isinstance(trigger, EntersTrigger) and trigger.existing == "enroll",
        "max_age_ms": trigger.max_event_age.elapsed_ms,
        "pending": f"existing:{index}",
    }


def collect(look: Look, entrance: Entrance, said: dict[str, Any]) -> int:
    """Transitions since the last look; once, those who were inside when the workflow was first applied."""
    posted = (
        0
        if said["segment"] not in look.slice_.crossed()
        else look.post(
            entrance,
            "SELECT t.contact_id, t.at, 'transition:' || t.id AS cause, json_object('segment', :name, 'at', t.at) AS trigger FROM transitions t "
            "WHERE t.id > :lo AND +t.segment_id = :segment AND t.entered = :entered "
            "AND (t.existing = 0 AND t.at > :t1 - :max_age OR t.existing = 1 AND :existing)",
            name=said["name"],
            lo=look.facts.transitions_from,
            segment=said["segment"],
            entered=said["entered"],
            max_age=said["max_age_ms"],
            existing=int(said["existing"]),
        )
    )
    return posted + (_already_inside(look, entrance, said) if said["existing"] else 0)


def _already_inside(look: Look, entrance: Entrance, said: dict[str, Any]) -> int:
    pending = f"{said['pending']}:{entrance.workflow}"
    if look.connection.execute("SELECT 1 FROM cursors WHERE name = ?", (pending,)).fetchone():
        return 0
    look.connection.execute("INSERT INTO cursors (name, value) VALUES (?, ?)", (pending, look.t1))
    # The cause is the membership, so that a transition that says the same enrols nobody twice under `parallel`.
    return look.post(
        entrance,
        "SELECT m.contact_id, :t1 AS at, 'transition:' || coalesce((SELECT max(t.id) FROM transitions t WHERE t.contact_id = m.contact_id "
        "AND t.segment_id = m.segment_id), 0) AS cause, json_object('segment', :name, 'at', m.since) AS trigger "
        "FROM segment_members m WHERE m.segment_id = :segment",
        name=said["name"],
        segment=said["segment"],
    )
