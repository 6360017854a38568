"""`apply`: a project's files become a release; what the engine does not run is refused where it stands."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowctl.engine import scoring
from flowctl.engine.compiled import Compiled, compile_project, hash_of
from flowctl.engine.in_flight import Carried, carry, unknown_steps
from flowctl.engine.localtime import refresh_zones
from flowctl.engine.observe import judge_in_full, make_indexes, start_cursors
from flowctl.engine.runtime import COMPILER
from flowctl.engine.segments import Probe
from flowctl.failure import ProblemsFound
from flowctl.project.commit import is_clean
from flowctl.store.database import transaction
from flowctl.store.fields import declare

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from flowctl.engine.in_flight import Order
    from flowctl.project.project import Project
    from flowctl.store.database import Store


@dataclass(frozen=True, kw_only=True, slots=True)
class Release:
    """What an apply did."""

    id: int
    commit: str
    new: tuple[str, ...]
    changed: tuple[str, ...]
    unchanged: tuple[str, ...]
    gone: tuple[str, ...]
    same: bool = False  # nothing differs from the newest release
    only_commit: bool = False  # nothing but that its files are committed now
    carried: Carried = field(default_factory=Carried)  # who does not finish the version entered


def apply(
    store: Store,
    project: Project,
    *,
    commit: str,
    now: int,
    in_flight: Mapping[str, Order] | None = None,
    rollback: int | None = None,
) -> Release:
    """Store a project as the newest release, in one transaction. `now` is UTC ms.

    `in_flight` says of workflows what becomes of contacts in their older versions, `rollback` which release this brings back; both are kept.

    Raises:
        ProblemsFound: the files have errors, or say what the engine does not run; nothing was changed.
        UsageFailure: `in_flight` names a workflow that is not there.
        Failure: a declared field contradicts its column.
    """
    if project.errors:
        raise ProblemsFound(project.errors)
    connection = store.connection
    with transaction(connection):
        declare(connection, _declared_fields(project), now=now)
        compiled = compile_project(connection, project)
        problems = [*compiled.problems, *unknown_steps(connection, project)]
        if problems:
            raise ProblemsFound(sorted(problems, key=lambda problem: problem.place))
        return _write(connection, project, compiled, commit, now, in_flight or {}, rollback)


def _declared_fields(project: Project) -> dict[str, Any]:
    tiers = {f"{score.name}_tier": {"type": "text"} for score in project.scores.values() if score.tiers}
    return tiers | {
        name: said.model_dump(mode="json", exclude_none=True, exclude={"description"})
        for name, said in project.settings.contacts.fields.items()
    }


def digest_of(files: Mapping[str, str]) -> str:
    """What a release is known by: SHA-256 of its texts by path."""
    return hash_of(json.dumps(files, sort_keys=True))


def _write(
    connection: sqlite3.Connection,
    project: Project,
    compiled: Compiled,
    commit: str,
    now: int,
    in_flight: Mapping[str, Order],
    rollback: int | None,
) -> Release:
    files = {**project.sources, **project.bodies}
    digest = digest_of(files)
    newest = connection.execute(
        'SELECT id, digest, compiler, "commit", environment FROM releases ORDER BY id DESC LIMIT 1'
    ).fetchone()
    known = (digest, COMPILER, project.environment)
    same = bool(newest) and (newest[1], newest[2], newest[4]) == known and not in_flight
    only_commit = same and is_clean(commit) and not is_clean(newest[3])
    if same and not only_commit:
        return Release(
            id=newest[0], commit=newest[3], new=(), changed=(), unchanged=tuple(project.workflows), gone=(), same=True
        )
    (release_id,) = connection.execute("SELECT coalesce(max(id), 0) + 1 FROM releases").fetchone()
    row = (release_id, now, commit, digest, json.dumps(files), "{}", COMPILER, project.environment)
    connection.execute(
        'INSERT INTO releases (id, applied_at, "commit", digest, files, runtime, compiler, environment) VALUES (?, ?, ?, ?, ?, ?, ?, ?)',
        row,
    )
    new, changed, unchanged = _write_versions(connection, project, compiled, release_id, now)
    gone = [
        name
        for (name,) in connection.execute("SELECT workflow FROM workflow_states WHERE version_id IS NOT NULL")
        if name not in project.workflows
    ]
    for name in gone:
        connection.execute(
            "UPDATE workflow_states SET version_id = NULL, state = 'draining' WHERE workflow = ?", (name,)
        )
    carried = carry(
        connection, project, {name: said["version_id"] for name, said in compiled.entrances.items()}, in_flight, now
    )
    orders = {"in_flight": dict(in_flight), "exited": carried.exited, "moved": carried.moved, "rollback": rollback}
    runtime = {
        **compiled.runtime,
        "entrances": list(compiled.entrances.values()),
        "late_goals": _late_goals(connection),
    }
    connection.execute("UPDATE releases SET runtime = ? WHERE id = ?", (json.dumps(runtime), release_id))
    if kept := {name: said for name, said in orders.items() if said}:
        connection.execute(
            "INSERT INTO release_orders (release_id, orders) VALUES (?, ?)", (release_id, json.dumps(kept))
        )
    scoring.begin(connection, compiled.runtime["scores"], now)
    _judge_segments(connection, project, compiled, now)
    for _, program in compiled.programs.values():
        asked = [
            *(one for one in (program["goal"], *program["exits"], *program["secondary"]) if one),
            *program["instructions"],
        ]
        make_indexes(connection, [Probe.from_json(probe) for one in asked for probe in one.get("probes", ())])
    if newest is None:
        start_cursors(connection, now)
        connection.execute("INSERT INTO cursors (name, value) VALUES ('tick', ?)", (now,))
    return Release(
        id=release_id,
        commit=commit,
        new=tuple(new),
        changed=tuple(changed),
        unchanged=tuple(unchanged),
        gone=tuple(gone),
        only_commit=only_commit,
        carried=carried,
    )


def _write_versions(
    connection: sqlite3.Connection, project: Project, compiled: Compiled, release_id: int, now: int
) -> tuple[list[str], list[str], list[str]]:
    new: list[str] = []
    changed: list[str] = []
    unchanged: list[str] = []
    for name, (digest, program) in compiled.programs.items():
        workflow = project.workflows[name]
        last = connection.execute(
            "SELECT id, number, digest FROM workflow_versions WHERE workflow = ? ORDER BY number DESC LIMIT 1", (name,)
        ).fetchone()
        if last and last[2] == digest:
            version_id = last[0]
            unchanged.append(name)
            # The same program may stand on other lines now, and speak of newer addresses.
            # Its places are those of this release's files, so it names this release's commit.
            moved = (json.dumps(program), workflow.place.path, release_id, version_id)
            connection.execute("UPDATE workflow_versions SET program = ?, path = ?, release_id = ? WHERE id = ?", moved)
        else:
            (new if last is None else changed).append(name)
            (version_id,) = connection.execute(
                "INSERT INTO workflow_versions (workflow, number, release_id, digest, path, program) VALUES (?, ?, ?, ?, ?, ?) RETURNING id",
                (name, last[1] + 1 if last else 1, release_id, digest, workflow.place.path, json.dumps(program)),
            ).fetchone()
            connection.execute(
                "INSERT INTO version_origins (version_id, release_id) VALUES (?, ?)", (version_id, release_id)
            )
        compiled.entrances[name]["version_id"] = version_id
        connection.execute(
            "INSERT INTO workflow_states (workflow, version_id, state, first_at) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (workflow) DO UPDATE SET version_id = excluded.version_id, state = excluded.state",
            (name, version_id, workflow.state, now),
        )
    return new, changed, unchanged


def _late_goals(connection: sqlite3.Connection) -> list[int]:
    """Versions of which something may be recorded after the journey ended: a goal with `within`, a secondary goal met by the ending fact."""
    rows = connection.execute(
        "SELECT id FROM workflow_versions WHERE json_extract(program, '$.goal.within_ms') IS NOT NULL "
        "OR json_array_length(program, '$.secondary') > 0"
    )
    return [version_id for (version_id,) in rows]


def recompile(connection: sqlite3.Connection) -> None:
    """Compile the newest release and the versions in flight anew from their stored files: another flowctl had compiled them.

    Raises:
        ProblemsFound: this flowctl no longer takes the files.
    """
    with transaction(connection):
        release_id, files, environment = connection.execute(
            "SELECT id, files, environment FROM releases ORDER BY id DESC LIMIT 1"
        ).fetchone()
        compiled = _compiled_again(connection, files, environment)
        newest = dict(
            connection.execute("SELECT workflow, version_id FROM workflow_states WHERE version_id IS NOT NULL")
        )
        for name, entrance in compiled.entrances.items():
            entrance["version_id"] = newest[name]
            connection.execute(
                "UPDATE workflow_versions SET program = ? WHERE id = ?",
                (json.dumps(compiled.programs[name][1]), newest[name]),
            )
        older = connection.execute(
            "SELECT v.id, v.workflow, r.files, r.environment FROM workflow_versions v JOIN releases r ON r.id = v.release_id "
            "WHERE v.id IN (SELECT version_id FROM enrollments WHERE ended_at IS NULL) AND v.release_id != ?",
            (release_id,),
        ).fetchall()
        for version_id, workflow, texts, applied_for in older:
            program = _compiled_again(connection, texts, applied_for).programs[workflow][1]
            connection.execute(
                "UPDATE workflow_versions SET program = ? WHERE id = ?", (json.dumps(program), version_id)
            )
        runtime = {
            **compiled.runtime,
            "entrances": list(compiled.entrances.values()),
            "late_goals": _late_goals(connection),
        }
        connection.execute(
            "UPDATE releases SET runtime = ?, compiler = ? WHERE id = ?", (json.dumps(runtime), COMPILER, release_id)
        )


def _compiled_again(connection: sqlite3.Connection, files: str, environment: str) -> Compiled:
    from flowctl.project.load import load_from  # noqa: PLC0415 - reading files is not what an apply of a read project needs
    from flowctl.project.origins import TextFiles  # noqa: PLC0415 - reading files is not what an apply of a read project needs

    project = load_from(TextFiles(json.loads(files)), Path(), environment=environment)
    compiled = compile_project(connection, project)
    faults = [*project.errors, *compiled.problems]
    if faults:
        raise ProblemsFound(faults)
    return compiled


def _judge_segments(connection: sqlite3.Connection, project: Project, compiled: Compiled, now: int) -> None:
    """Judge new and changed segments in full; what is found is existing. Segments that are gone lose their members."""
    refresh_zones(connection, now)
    for plan in compiled.segments:
        definition = compiled.definitions[plan.name]
        known = connection.execute("SELECT definition, retired_at FROM segments WHERE id = ?", (plan.id,)).fetchone()
        if known != (definition, None):
            judge_in_full(connection, plan, now)
            connection.execute(
                "UPDATE segments SET definition = ?, retired_at = NULL WHERE id = ?", (definition, plan.id)
            )
    for segment_id, name in connection.execute("SELECT id, name FROM segments WHERE retired_at IS NULL").fetchall():
        if name not in project.segments:
            connection.execute("DELETE FROM segment_members WHERE segment_id = ?", (segment_id,))
            connection.execute("UPDATE segments SET retired_at = ?, definition = '' WHERE id = ?", (now, segment_id))
