"""A project compiled against one store: everything that a release holds for its ticks."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from flowctl.engine import only_to, quiet_rules, scores
from flowctl.engine.attachments import files_of, keep
from flowctl.engine.called import Wanted
from flowctl.engine.compiler import Compiler
from flowctl.engine.conditions import full_sql, probes, sql, unsupported
from flowctl.engine.conditions.scope import Scope
from flowctl.engine.programs import entrance_of, guards_of, program_of
from flowctl.engine.refusals import refusals
from flowctl.engine.segments import SegmentPlan
from flowctl.engine.templates import prepare
from flowctl.engine.variants import experiment
from flowctl.failure import ProblemsFound
from flowctl.language.conditions import SegmentLeaf, leaves
from flowctl.language.survey import ANSWER_TYPES
from flowctl.project.providers import provider_of
from flowctl.project.time_scale import at_its_pace
from flowctl.store.events import type_id
from flowctl.store.zones import zone_id

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping

    from flowctl.language.geofence import Geofence
    from flowctl.language.message import Message
    from flowctl.language.problem import Problem
    from flowctl.language.segment import Segment
    from flowctl.language.settings import ChannelSettings, Service
    from flowctl.language.workflow import Workflow
    from flowctl.project.project import Project

LAYOUT = 1  # counts up when the same workflow gets other positions: its contacts in flight then keep the old program
CHANNELS = ("email", "sms", "whatsapp", "push", "web_push", "in_app", "on_site")
# What follows the newest release rather than the version that somebody entered (language.md, "paused").
_UNPINNED = {"state", "active", "audience", "reentry", "exclusive_group", "priority", "triggers", "description", "owner", "learn", "lint", "preparation",
             "guards", "holdout", "move"}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Compiled:
    """A project compiled against one store: everything that `apply` writes."""

    runtime: dict[str, Any]
    programs: dict[str, tuple[str, dict[str, Any]]]  # workflow → (digest, program)
    entrances: dict[str, dict[str, Any]]
    segments: list[SegmentPlan]
    definitions: dict[str, str]
    problems: list[Problem] = field(default_factory=list)


def compile_project(connection: sqlite3.Connection, project: Project) -> Compiled:
    """Compile everything against the numbers of one store, which it extends; inside a transaction."""
    project = at_its_pace(project)
    problems = refusals(project)
    scope = _scope(connection, project)
    messages = {name: _message(project, message, scope, problems) for name, message in project.messages.items()}
    keep(connection, files_of(messages.values(), project.bodies))
    scope = replace(scope, survey_messages=_asking(messages))
    segments = _segments(project, scope, problems)
    everywhere = _compiler(project, scope, problems)
    programs: dict[str, tuple[str, dict[str, Any]]] = {}
    entrances: dict[str, dict[str, Any]] = {}
    for name, workflow in project.workflows.items():
        zone_name = workflow.timezone or project.settings.timezone
        own = replace(scope, zone=zone_id(connection, zone_name), zone_name=zone_name, enrollment=True)
        compiler = _compiler(project, own, problems, workflow=name)
        programs[name] = (_digest(workflow), program_of(workflow, compiler))
        entrances[name] = entrance_of(workflow, compiler)
    runtime = {
        **_settings(project, scope),
        **_resources(project),
        "messages": messages,
        "quiet_hours": quiet_rules.compiled(project, scope.channels, problems),
        "only_to": only_to.patterns(project),
        "segments": [plan.to_json() for plan in segments],
        "scores": [scores.compiled(score, everywhere) for score in project.scores.values()],
    }
    return Compiled(
        runtime=runtime,
        programs=programs,
        entrances=entrances,
        segments=segments,
        definitions={plan.name: hash_of(plan.full) for plan in segments},
        problems=problems,
    )


def _scope(connection: sqlite3.Connection, project: Project) -> Scope:
    """Every name of the project with the number it has in the store."""
    settings = project.settings
    return Scope(
        field_types=project.field_types,
        event_types={name: type_id(connection, name) for name in settings.event_properties},
        event_properties=settings.event_properties,
        segments={name: _number(connection, "segments", name) for name in project.segments},
        messages={name: _named(connection, "message", name) for name in project.messages},
        channels={name: _named(connection, "channel", name) for name in CHANNELS},
        zone=zone_id(connection, settings.timezone),
        zone_name=settings.timezone,
        surveys={
            name: {question: ANSWER_TYPES[said.type] for question, said in survey.questions.items()}
            for name, survey in project.surveys.items()
        },
        geofences={name: _shape(geofence) for name, geofence in project.geofences.items()},
    )


def _compiler(project: Project, scope: Scope, problems: list[Problem], *, workflow: str = "") -> Compiler:
    return Compiler(
        project=project,
        scope=scope,
        message_ids=scope.messages,
        channel_ids=scope.channels,
        zone_name=scope.zone_name,
        workflow=workflow,
        problems=problems,
    )


def _settings(project: Project, scope: Scope) -> dict[str, Any]:
    """What a tick needs of flowctl.yaml."""
    settings = project.settings
    return {
        "project": settings.project,
        "timezone": settings.timezone,
        "zone": scope.zone,
        "country": settings.country,
        "languages": settings.languages,
        "public_url": settings.public_url,
        "fields": dict(project.field_types),
        "events": settings.event_properties,
        "holdout": settings.holdout,
        "channel_ids": dict(scope.channels),
        **channels_of(project),
        "pressure": _pressure(project),
        "teams": {
            name: {"members": team.members, "email": team.email}
            | ({"alert": team.alert, "private": team.private} if team.alert else {})
            for name, team in settings.teams.items()
        },
        "pushes": {
            name: {"service": record.service, "path": record.path or f"/{name}"}
            for name, record in settings.records.items()
            if record.service
        },
        "records": {
            name: {field: {"type": said.type, "values": said.values} for field, said in record.fields.items()}
            for name, record in settings.records.items()
        },
        "services": {name: _service(said) for name, said in settings.services.items()},
        "notices_from": next(([said.name, said.email] for said in settings.senders.values() if said.email), None),
    }


def channels_of(project: Project) -> dict[str, Any]:
    """The channels of a project, with what is signed and how providers are spoken to; secrets stay names of variables."""
    settings = project.settings
    return {
        "channels": {
            name: said.model_dump(mode="json", exclude_none=True, by_alias=True) | _described(project, said)
            for name, said in settings.channels.items()
        },
        "dkim": {
            said.email.lower(): said.dkim.model_dump(exclude_none=True)
            for said in settings.senders.values()
            if said.email and said.dkim
        },
    }


def _described(project: Project, said: ChannelSettings) -> dict[str, Any]:
    """The description of the provider that a channel speaks to: a tick reads no file."""
    provider = provider_of(project, said.provider) if said.provider else None
    return {"description": provider.model_dump(mode="json", exclude_none=True, by_alias=True)} if provider else {}


def _resources(project: Project) -> dict[str, Any]:
    """What follows the newest release of each workflow, besides how people come in."""
    workflows = project.workflows
    return {
        "guards": {name: guards for name, workflow in workflows.items() if (guards := guards_of(project, workflow))},
        "no_holdout": [name for name, workflow in workflows.items() if not workflow.holdout],
        "priorities": {name: workflow.priority for name, workflow in workflows.items()},
        "moves": {name: workflow.move for name, workflow in workflows.items() if workflow.move},
    }


def _shape(geofence: Geofence) -> str:
    return geofence.model_dump_json(include={"center", "radius", "polygon"}, exclude_none=True)


def _asking(messages: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[int, ...]]:
    """Survey → the messages that link to it: when one of them left, the survey was sent."""
    found: dict[str, tuple[int, ...]] = {}
    for said in messages.values():
        for survey in said.get("surveys", ()):
            found[survey] = (*found.get(survey, ()), said["id"])
    return found


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
            message,
            senders=project.settings.senders,
            languages=project.settings.languages,
            read=project.bodies.get,
            project=project.settings.project,
        )
        wanted = Wanted(surveys=set(snapshot["surveys"]), events=snapshot["events"])
        problems.extend(wanted.faults(project, message.place, about=f"message {message.name}: "))
    except ProblemsFound as found:
        problems.extend(found.problems)
        snapshot = {}
    return {
        **snapshot,
        "experiment": experiment(snapshot, scope.channels) if snapshot else None,
        "attaches": any(part.email and part.email.attach for part in (message, *message.variants.values())),
        "id": scope.messages[message.name],
        "topic": message.topic,
        "once_ms": None
        if once is None
        else (1 << 53 if once == "ever" else once.elapsed_ms),  # ever: longer than all time
    }


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
    return hash_of(json.dumps([workflow.model_dump_json(by_alias=True, exclude=_UNPINNED), LAYOUT]))


def hash_of(text: str) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(text.encode()).hexdigest()
