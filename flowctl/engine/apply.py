"""`apply`: a project's files become a release; what the engine does not run is refused where it stands."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowctl.engine import scores, scoring
from flowctl.engine.compiler import Compiler
from flowctl.engine.conditions import full_sql, probes, sql, unsupported
from flowctl.engine.conditions.scope import ENTRY, Scope
from flowctl.engine.guards import CODES
from flowctl.engine.in_flight import Carried, carry, unknown_steps
from flowctl.engine.localtime import instant, refresh_zones
from flowctl.engine.observe import judge_in_full, make_indexes, start_cursors
from flowctl.engine.refusals import refusals
from flowctl.engine.runtime import COMPILER, Judged
from flowctl.engine.segments import Probe, SegmentPlan
from flowctl.engine.steps import kind_of as step_kind
from flowctl.engine.templates import prepare
from flowctl.engine.triggers import kind_of as trigger_kind
from flowctl.failure import ProblemsFound
from flowctl.language.conditions import FieldLeaf, SegmentLeaf, leaves
from flowctl.language.durations import Duration
from flowctl.language.problem import Problem
from flowctl.language.steps import walk
from flowctl.language.survey import ANSWER_TYPES
from flowctl.program.compiling import compile_program
from flowctl.store.database import transaction
from flowctl.store.events import type_id
from flowctl.store.fields import declare
from flowctl.store.zones import zone_id

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Mapping

    from flowctl.engine.in_flight import Order
    from flowctl.language.conditions import Condition
    from flowctl.language.geofence import Geofence
    from flowctl.language.message import Message
    from flowctl.language.model import Model
    from flowctl.language.segment import Segment
    from flowctl.language.settings import Service
    from flowctl.language.workflow import Workflow
    from flowctl.program.instructions import Program
    from flowctl.project.project import Project
    from flowctl.store.database import Store

LAYOUT = 1  # counts up when the same workflow gets other positions: its contacts in flight then keep the old program
CHANNELS = ("email", "sms", "whatsapp", "push", "web_push", "in_app", "on_site")
# What follows the newest release rather than the version that somebody entered (language.md, "paused").
_UNPINNED = {"state", "active", "audience", "reentry", "exclusive_group", "priority", "triggers", "description", "owner", "learn", "lint", "preparation",
             "guards", "holdout", "move"}  # fmt: skip


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
    carried: Carried = field(default_factory=Carried)  # who does not finish the version entered


@dataclass(frozen=True, kw_only=True)
class Compiled:
    """A project compiled against one store: everything that `apply` writes."""

    runtime: dict[str, Any]
    programs: dict[str, tuple[str, dict[str, Any]]]  # workflow → (digest, program)
    entrances: dict[str, dict[str, Any]]
    segments: list[SegmentPlan]
    definitions: dict[str, str]
    problems: list[Problem] = field(default_factory=list)


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


def compile_project(connection: sqlite3.Connection, project: Project) -> Compiled:
    """Compile everything against the numbers of one store, which it extends; inside a transaction."""
    settings = project.settings
    problems = refusals(project)
    zone = zone_id(connection, settings.timezone)
    scope = Scope(
        field_types=project.field_types,
        event_types={name: type_id(connection, name) for name in settings.event_properties},
        event_properties=settings.event_properties,
        segments={name: _number(connection, "segments", name) for name in project.segments},
        messages={name: _named(connection, "message", name) for name in project.messages},
        channels={name: _named(connection, "channel", name) for name in CHANNELS},
        zone=zone,
        zone_name=settings.timezone,
        surveys={
            name: {question: ANSWER_TYPES[said.type] for question, said in survey.questions.items()}
            for name, survey in project.surveys.items()
        },
        geofences={name: _shape(geofence) for name, geofence in project.geofences.items()},
    )
    messages = {name: _message(project, message, scope, problems) for name, message in project.messages.items()}
    scope = replace(scope, survey_messages=_asking(messages))
    segments = _segments(project, scope, problems)
    everywhere = Compiler(
        project=project,
        scope=scope,
        message_ids=scope.messages,
        channel_ids=scope.channels,
        zone_name=scope.zone_name,
        problems=problems,
    )
    programs: dict[str, tuple[str, dict[str, Any]]] = {}
    entrances: dict[str, dict[str, Any]] = {}
    for name, workflow in project.workflows.items():
        zone_name = workflow.timezone or settings.timezone
        own = replace(scope, zone=zone_id(connection, zone_name), zone_name=zone_name, enrollment=True)
        compiler = Compiler(
            project=project,
            scope=own,
            message_ids=scope.messages,
            channel_ids=scope.channels,
            zone_name=zone_name,
            workflow=name,
            problems=problems,
        )
        program = _program(workflow, compiler)
        programs[name] = (_digest(workflow), program)
        entrances[name] = _entrance(workflow, compiler)
    runtime = {
        "project": settings.project,
        "timezone": settings.timezone,
        "zone": zone,
        "country": settings.country,
        "languages": settings.languages,
        "public_url": settings.public_url,
        "fields": dict(project.field_types),
        "events": settings.event_properties,
        "holdout": settings.holdout,
        "channel_ids": dict(scope.channels),
        "channels": {
            name: said.model_dump(mode="json", exclude_none=True, by_alias=True)
            for name, said in settings.channels.items()
        },
        "messages": messages,
        "segments": [plan.to_json() for plan in segments],
        "scores": [scores.compiled(score, everywhere) for score in project.scores.values()],
        "pressure": _pressure(project),
        "teams": {name: {"members": team.members, "email": team.email} for name, team in settings.teams.items()},
        "records": {
            name: {field: {"type": said.type, "values": said.values} for field, said in record.fields.items()}
            for name, record in settings.records.items()
        },
        "services": {name: _service(said) for name, said in settings.services.items()},
        "notices_from": next(([said.name, said.email] for said in settings.senders.values() if said.email), None),
        "guards": {
            name: guards for name, workflow in project.workflows.items() if (guards := _guards(project, workflow))
        },
        "no_holdout": [name for name, workflow in project.workflows.items() if not workflow.holdout],
        "priorities": {name: workflow.priority for name, workflow in project.workflows.items()},
        "moves": {name: workflow.move for name, workflow in project.workflows.items() if workflow.move},
    }
    definitions = {plan.name: _hash(plan.full) for plan in segments}
    return Compiled(
        runtime=runtime,
        programs=programs,
        entrances=entrances,
        segments=segments,
        definitions=definitions,
        problems=problems,
    )


def _shape(geofence: Geofence) -> str:
    return geofence.model_dump_json(include={"center", "radius", "polygon"}, exclude_none=True)


def _asking(messages: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[int, ...]]:
    """Survey → the messages that link to it: when one of them left, the survey was sent."""
    found: dict[str, tuple[int, ...]] = {}
    for said in messages.values():
        for survey in said.get("surveys", ()):
            found[survey] = (*found.get(survey, ()), said["id"])
    return found


def _declared_fields(project: Project) -> dict[str, Any]:
    tiers = {f"{score.name}_tier": {"type": "text"} for score in project.scores.values() if score.tiers}
    return tiers | {
        name: said.model_dump(mode="json", exclude_none=True, exclude={"description"})
        for name, said in project.settings.contacts.fields.items()
    }


def _number(connection: sqlite3.Connection, table: str, name: str) -> int:
    connection.execute(f"INSERT INTO {table} (name, definition) VALUES (?, '') ON CONFLICT (name) DO NOTHING", (name,))
    (number,) = connection.execute(f"SELECT id FROM {table} WHERE name = ?", (name,)).fetchone()
    return int(number)


def _named(connection: sqlite3.Connection, kind: str, name: str) -> int:
    connection.execute("INSERT INTO names (kind, name) VALUES (?, ?) ON CONFLICT (kind, name) DO NOTHING", (kind, name))
    (number,) = connection.execute("SELECT id FROM names WHERE kind = ? AND name = ?", (kind, name)).fetchone()
    return int(number)


def _segments(project: Project, scope: Scope, problems: list[Problem]) -> list[SegmentPlan]:
    """Plans in topological order; a segment that asks about another comes after it."""
    plans: list[SegmentPlan] = []
    for order, segment in enumerate(in_order(project.segments.values())):
        faults = unsupported(segment.match, scope)
        if faults:
            compiler = Compiler(
                project=project,
                scope=scope,
                message_ids={},
                channel_ids={},
                zone_name=scope.zone_name,
                problems=problems,
            )
            for model, message in faults:
                compiler.refuse(model, message)
            continue
        plans.append(
            SegmentPlan(
                id=scope.segments[segment.name],
                name=segment.name,
                check=sql(segment.match, scope),
                full=full_sql(segment.match, scope),
                probes=tuple(probes(segment.match, scope)),
                order=order,
            )
        )
    return plans


def in_order(segments: Iterable[Segment]) -> list[Segment]:
    """Segments with those they ask about first; a cycle, which validation refuses, ends anywhere."""
    by_name = {segment.name: segment for segment in segments}
    done: dict[str, Segment] = {}

    def visit(segment: Segment, above: frozenset[str]) -> None:
        for leaf in leaves(segment.match):
            if isinstance(leaf, SegmentLeaf) and leaf.segment in by_name and leaf.segment not in above | set(done):
                visit(by_name[leaf.segment], above | {segment.name})
        done.setdefault(segment.name, segment)

    for segment in by_name.values():
        visit(segment, frozenset({segment.name}))
    return list(done.values())


def _message(project: Project, message: Message, scope: Scope, problems: list[Problem]) -> dict[str, Any]:
    once = message.once
    try:
        snapshot = prepare(
            message, senders=project.settings.senders, languages=project.settings.languages, read=project.bodies.get
        )
        problems.extend(_calls(project, message, snapshot))
    except ProblemsFound as found:
        problems.extend(found.problems)
        snapshot = {}
    return {
        **snapshot,
        "id": scope.messages[message.name],
        "topic": message.topic,
        "once_ms": None
        if once is None
        else (1 << 53 if once == "ever" else once.elapsed_ms),  # ever: longer than all time
    }


def _calls(project: Project, message: Message, snapshot: Mapping[str, Any]) -> Iterator[Problem]:
    """Surveys and events that a message's templates call for and that are not there, and survey links that would lead nowhere."""
    unknown = [
        *(("survey", name) for name in snapshot["surveys"] if name not in project.surveys),
        *(("event", name) for name in snapshot["events"] if name not in project.settings.event_properties),
    ]
    for kind, name in unknown:
        text = f"message {message.name}: there is no {kind} `{name}`"
        yield Problem(
            code="REF001",
            slug="unknown-reference",
            message=text,
            place=message.place,
            help=f"declare the {kind}, or mend its name",
        )
    if snapshot["surveys"] and not project.settings.public_url:
        text = f"message {message.name}: `survey_url` makes a link, and flowctl.yaml has no `public_url:` for it"
        help_ = "set `public_url:` to where answers are received"
        yield Problem(code="RUN003", slug="no-survey-url", message=text, place=message.place, help=help_)


def _program(workflow: Workflow, compiler: Compiler) -> dict[str, Any]:
    program = compile_program(workflow)
    instructions = []
    for instruction in program.instructions:
        kind = step_kind(instruction.op)
        said: dict[str, Any] = {
            "op": instruction.op,
            "step": instruction.name,
            "line": instruction.place.line,
            "column": instruction.place.column,
            "targets": instruction.targets,
        }
        if kind is None:
            if instruction.step is not None:
                compiler.refuse(instruction.step, f"the step `{instruction.op}` does not run yet", instruction.op)
        else:
            said |= kind.compiled(instruction, compiler)
        instructions.append(said)
    return {
        "instructions": instructions,
        "zone": compiler.scope.zone,
        "priority": workflow.priority,
        "goal": _goal(workflow, compiler),
        "exits": [
            *_outside(workflow, compiler),
            *(_exit(workflow, condition, compiler) for condition in workflow.exit_when),
        ],
        "secondary": [
            _judged(condition, compiler, name, workflow, "secondary_goals")
            for name, condition in workflow.secondary_goals.items()
        ],
        "on_goal": program.on_goal,
        "steps": program.step_positions,
        "marked": _marked(program),
    }


def _judged(
    condition: Condition, compiler: Compiler, reason: str, model: Model, key: str, **said: Any
) -> dict[str, Any]:
    judged = Judged(
        sql=compiler.condition(condition, since=ENTRY),
        probes=compiler.probes(condition),
        reason=reason,
        at=compiler.exact_time(condition, since=ENTRY, until=":now"),
        line=model.place_of(key).line,
        state_only=all(isinstance(leaf, FieldLeaf | SegmentLeaf) for leaf in leaves(condition)),
        **said,
    )
    return judged.to_json()


def _goal(workflow: Workflow, compiler: Compiler) -> dict[str, Any] | None:
    goal = workflow.goal
    if goal is None:
        return None
    within = goal.within.elapsed_ms if goal.within else None
    return _judged(goal.condition, compiler, "goal", workflow, "goal", within_ms=within, ends=goal.ends)


def _exit(workflow: Workflow, condition: Condition, compiler: Compiler) -> dict[str, Any]:
    first = next(leaves(condition))
    named = getattr(first, first.subject, None)
    return _judged(
        condition, compiler, f"exit_when {named}" if isinstance(named, str) else "exit_when", workflow, "exit_when"
    )


def _outside(workflow: Workflow, compiler: Compiler) -> Iterator[dict[str, Any]]:
    """`leave_when_outside`: the audience no longer holds."""
    if workflow.leave_when_outside and workflow.audience is not None:
        sql, probes = compiler.condition(workflow.audience), compiler.probes(workflow.audience)
        yield Judged(
            sql=f"({sql}) IS NOT TRUE",
            probes=probes,
            reason="outside",
            line=workflow.place_of("leave_when_outside").line,
        ).to_json()


def _guards(project: Project, workflow: Workflow) -> list[dict[str, Any]]:
    """The workflow's own guards and the project's."""
    return [
        {
            "shares": {word: share for word in CODES if (share := getattr(guard, word)) is not None},
            "over_ms": guard.over.elapsed_ms,
            "over": str(guard.over),
            "at_least": guard.at_least,
            "then": guard.then,
            "notify": guard.notify,
        }
        for guard in [*workflow.guards, *project.settings.guards]
    ]


def _marked(program: Program) -> list[str]:
    """The steps that some condition's `since` names."""
    conditions = [instruction.condition for instruction in program.instructions if instruction.condition is not None]
    conditions += [instruction.step.wait_for for instruction in program.instructions if instruction.op == "wait_for"]  # type: ignore[union-attr]
    conditions += program.workflow.exit_when
    if program.workflow.goal:
        conditions.append(program.workflow.goal.condition)
    said = {getattr(leaf, "since", None) for condition in conditions for leaf in leaves(condition)}
    names = {since for since in said if isinstance(since, str)} - {"ever", "entry"}
    return sorted(names & {step.name for step in walk([*program.workflow.steps, *program.workflow.on_goal])})


def _entrance(workflow: Workflow, compiler: Compiler) -> dict[str, Any]:
    triggers = []
    for index, trigger in enumerate(workflow.triggers):
        kind = trigger_kind(trigger.kind)
        if kind is None:
            compiler.refuse(trigger, f"the trigger `{trigger.kind}` does not run yet", trigger.kind)
        else:
            triggers.append({"kind": trigger.kind, **kind.compiled(trigger, compiler, index)})
    reentry, active = workflow.reentry, workflow.active
    alone = replace(compiler, scope=replace(compiler.scope, enrollment=False))
    asks_everybody = any(trigger.kind in ("moment", "schedule") for trigger in workflow.triggers)
    day = timedelta(days=1)
    return {
        "workflow": workflow.name,
        "zone": compiler.scope.zone,
        "triggers": triggers,
        "audience": compiler.condition(workflow.audience) if workflow.audience is not None else None,
        "audience_alone": alone.condition(workflow.audience)
        if workflow.audience is not None and asks_everybody
        else None,
        "after_ms": reentry.after.elapsed_ms if isinstance(reentry.after, Duration) else None,
        "since_exit": reentry.since == "exit",
        "while_active": reentry.while_active,
        "key": compiler.value_of(reentry.key) if reentry.key else None,
        "priority": workflow.priority,
        "group": workflow.exclusive_group,
        "from_at": instant(_midnight(active.from_), compiler.zone_name) if active and active.from_ else None,
        "until_at": instant(_midnight(active.until + day), compiler.zone_name) if active and active.until else None,
        "at_end_exit": bool(active and active.at_end == "exit"),
    }


def _midnight(day: Any) -> Any:
    from datetime import datetime, time  # noqa: PLC0415 - only workflows with `active`

    return datetime.combine(day, time())


def _service(said: Service) -> dict[str, Any]:
    """A service as a tick asks it; its secrets stay names of variables."""
    return {
        "url": said.url,
        "headers": said.headers,
        "timeout_ms": said.timeout.elapsed_ms,
        "retries": said.retries,
        "private": said.private,
    }


def _pressure(project: Project) -> dict[str, Any]:
    pressure = project.settings.pressure
    if pressure is None:
        return {"windows": {}, "on_cap": "defer"}
    windows = {
        name: [[rate.count, rate.per.elapsed_ms] for rate in pressure.of(name)]
        for name in (*CHANNELS, "all")
        if pressure.of(name)
    }
    return {"windows": windows, "on_cap": pressure.on_cap}


def _digest(workflow: Workflow) -> str:
    """Of what is pinned: what the workflow says but for what follows the newest release, and how it is laid out."""
    return _hash(json.dumps([workflow.model_dump_json(by_alias=True, exclude=_UNPINNED), LAYOUT]))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def digest_of(files: Mapping[str, str]) -> str:
    """What a release is known by: SHA-256 of its texts by path."""
    return _hash(json.dumps(files, sort_keys=True))


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
        'SELECT id, digest, compiler, "commit" FROM releases ORDER BY id DESC LIMIT 1'
    ).fetchone()
    if newest and newest[1] == digest and newest[2] == COMPILER and not in_flight:
        return Release(
            id=newest[0], commit=newest[3], new=(), changed=(), unchanged=tuple(project.workflows), gone=(), same=True
        )
    (release_id,) = connection.execute("SELECT coalesce(max(id), 0) + 1 FROM releases").fetchone()
    row = (release_id, now, commit, digest, json.dumps(files), "{}", COMPILER)
    connection.execute(
        'INSERT INTO releases (id, applied_at, "commit", digest, files, runtime, compiler) VALUES (?, ?, ?, ?, ?, ?, ?)',
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
        compiled.entrances[name]["version_id"] = version_id
        connection.execute(
            "INSERT INTO workflow_states (workflow, version_id, state, first_at) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (workflow) DO UPDATE SET version_id = excluded.version_id, state = excluded.state",
            (name, version_id, workflow.state, now),
        )
    return new, changed, unchanged


def _late_goals(connection: sqlite3.Connection) -> list[int]:
    """Versions whose goal has a `within`: it may be met after the journey ended."""
    rows = connection.execute(
        "SELECT id FROM workflow_versions WHERE json_extract(program, '$.goal.within_ms') IS NOT NULL"
    )
    return [version_id for (version_id,) in rows]


def recompile(connection: sqlite3.Connection) -> None:
    """Compile the newest release and the versions in flight anew from their stored files: another flowctl had compiled them.

    Raises:
        ProblemsFound: this flowctl no longer takes the files.
    """
    with transaction(connection):
        release_id, files = connection.execute("SELECT id, files FROM releases ORDER BY id DESC LIMIT 1").fetchone()
        compiled = _compiled_again(connection, files)
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
            "SELECT v.id, v.workflow, r.files FROM workflow_versions v JOIN releases r ON r.id = v.release_id "
            "WHERE v.id IN (SELECT version_id FROM enrollments WHERE ended_at IS NULL) AND v.release_id != ?",
            (release_id,),
        ).fetchall()
        for version_id, workflow, texts in older:
            program = _compiled_again(connection, texts).programs[workflow][1]
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


def _compiled_again(connection: sqlite3.Connection, files: str) -> Compiled:
    from flowctl.project.load import load_texts  # noqa: PLC0415 - reading files is not what an apply of a read project needs

    project = load_texts(json.loads(files), Path())
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
