"""What applying a project would do: worked out by applying it and taking it back."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from flowctl.engine.apply import apply
from flowctl.failure import ProblemsFound
from flowctl.project.commit import UNCOMMITTED
from flowctl.store.database import transaction

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from flowctl.engine.apply import Release
    from flowctl.engine.in_flight import Carried, Order
    from flowctl.project.project import Project
    from flowctl.store.database import Store


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkflowChange:
    """One workflow of the plan. `lost` are steps that the new version lacks and that hold contacts: step → how many."""

    name: str
    change: str  # new, changed, unchanged, gone
    state: str
    version: int  # that newcomers will enter; 0: nobody
    in_flight: int  # contacts who finish the version they entered
    lost: dict[str, int]
    enters_at_once: int | None  # None: only the store's contacts could tell
    moved: dict[str, int] = field(default_factory=dict)  # old step → how many `move:` carries over to the new version
    exits: int = 0  # contacts of older versions who leave by `--in-flight`


@dataclass(frozen=True, kw_only=True, slots=True)
class SegmentChange:
    """One segment: how many are in now and would be after."""

    name: str
    change: str
    before: int
    after: int | None  # None: only the store's contacts could tell


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """Everything an apply would do."""

    first: bool  # nothing was applied yet
    same: bool  # the files are those of the newest release
    commit: str  # of the same files, which are committed now and were not; else empty
    workflows: tuple[WorkflowChange, ...]
    segments: tuple[SegmentChange, ...]
    messages: dict[str, str]  # name → new, changed, gone
    fields: tuple[str, ...]  # contact fields that become columns

    @property
    def in_flight(self) -> int:
        """Contacts inside changed or gone workflows."""
        return sum(each.in_flight for each in self.workflows if each.change in ("changed", "gone"))


class _TakeBack(Exception):
    """Ends the trial; nothing of it stays."""


def plan(
    store: Store,
    project: Project,
    *,
    now: int,
    in_flight: Mapping[str, Order] | None = None,
    commit: str = UNCOMMITTED,
) -> Plan:
    """Apply inside a transaction, look, roll back. `now` is UTC ms; `in_flight` and `commit` as `apply` takes them.

    Raises:
        ProblemsFound: the files have errors, or say what the engine does not run.
        Failure: a declared field contradicts its column.
    """
    if project.errors:
        raise ProblemsFound(project.errors)
    connection = store.connection
    made: list[Plan] = []
    try:
        with transaction(connection):
            before = _State(connection)
            release = apply(store, project, commit=commit, now=now, in_flight=in_flight)
            made.append(_compared(connection, before, _State(connection), release))
            raise _TakeBack  # noqa: TRY301 - it is what rolls the trial back
    except _TakeBack:
        return made[0]


class _State:
    """What the store says of resources, at one time."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        row = connection.execute("SELECT runtime FROM releases ORDER BY id DESC LIMIT 1").fetchone()
        runtime: dict[str, Any] = json.loads(row[0]) if row else {}
        self.applied = row is not None
        self.messages = {name: said.get("digest") for name, said in runtime.get("messages", {}).items()}
        self.fields = {
            name for (name,) in connection.execute("SELECT name FROM contact_fields WHERE retired_at IS NULL")
        }
        self.segments = {
            name: (definition, members)
            for name, definition, members in connection.execute(
                "SELECT s.name, s.definition, (SELECT count(*) FROM segment_members m WHERE m.segment_id = s.id) FROM segments s "
                "WHERE s.retired_at IS NULL"
            )
        }
        self.entrances = {entrance["workflow"]: entrance for entrance in runtime.get("entrances", [])}


def _compared(connection: sqlite3.Connection, before: _State, after: _State, release: Release) -> Plan:
    changes = dict.fromkeys(release.new, "new") | dict.fromkeys(release.changed, "changed")
    changes |= dict.fromkeys(release.unchanged, "unchanged") | dict.fromkeys(release.gone, "gone")
    return Plan(
        first=not before.applied,
        same=release.same or release.only_commit,
        commit=release.commit if release.only_commit else "",
        workflows=tuple(
            _workflow(connection, name, change, after, release.carried) for name, change in sorted(changes.items())
        ),
        segments=tuple(_segments(before, after)),
        messages=_messages(before, after),
        fields=tuple(sorted(after.fields - before.fields)),
    )


def _workflow(
    connection: sqlite3.Connection, name: str, change: str, after: _State, carried: Carried
) -> WorkflowChange:
    (state,) = connection.execute("SELECT state FROM workflow_states WHERE workflow = ?", (name,)).fetchone()
    number, program = connection.execute(
        "SELECT number, program FROM workflow_versions WHERE workflow = ? ORDER BY number DESC LIMIT 1", (name,)
    ).fetchone()
    steps = set(json.loads(program)["steps"]) if change != "gone" else set()
    held = connection.execute(
        "SELECT json_extract(v.program, '$.instructions[' || e.pc || '].step'), count(*) FROM enrollments e "
        "JOIN workflow_versions v ON v.id = e.version_id WHERE e.workflow = ? AND e.ended_at IS NULL GROUP BY 1",
        (name,),
    ).fetchall()
    return WorkflowChange(
        name=name,
        change=change,
        state=state,
        version=0 if change == "gone" else number,
        in_flight=sum(count for _, count in held),
        lost={step: count for step, count in held if step and step not in steps} if change == "changed" else {},
        enters_at_once=_at_once(connection, after.entrances[name]) if change == "new" and state == "live" else 0,
        moved={step: count for step, count in carried.moved.get(name, {}).items() if count},
        exits=carried.exited.get(name, 0),
    )


def _at_once(connection: sqlite3.Connection, entrance: dict[str, Any]) -> int:
    """Who is already inside a segment that the workflow takes people from with `existing: enroll`."""
    numbers = [trigger["segment"] for trigger in entrance["triggers"] if trigger.get("existing")]
    if not numbers:
        return 0
    places = ", ".join("?" * len(numbers))
    audience = (
        f"AND EXISTS (SELECT 1 FROM contacts c WHERE c.id = m.contact_id AND ({entrance['audience_alone']}))"
        if entrance["audience_alone"]
        else ""
    )
    query = f"SELECT count(DISTINCT m.contact_id) FROM segment_members m WHERE m.segment_id IN ({places}) {audience}"
    (count,) = connection.execute(query, numbers).fetchone()
    return int(count)


def _segments(before: _State, after: _State) -> list[SegmentChange]:
    found = []
    for name in sorted(before.segments | after.segments):
        old, new = before.segments.get(name), after.segments.get(name)
        change = "new" if old is None else "gone" if new is None else "changed" if old[0] != new[0] else "unchanged"
        found.append(SegmentChange(name=name, change=change, before=old[1] if old else 0, after=new[1] if new else 0))
    return found


def _messages(before: _State, after: _State) -> dict[str, str]:
    changed = {
        name: "changed"
        for name, digest in after.messages.items()
        if name in before.messages and before.messages[name] != digest
    }
    new = dict.fromkeys(after.messages.keys() - before.messages.keys(), "new")
    gone = dict.fromkeys(before.messages.keys() - after.messages.keys(), "gone")
    return dict(sorted({**changed, **new, **gone}.items()))
