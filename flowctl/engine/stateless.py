"""What a store says of itself in counts alone, and a plan made from that: for CI, which must not see contacts."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowctl.engine.apply import apply
from flowctl.engine.plan import Plan, SegmentChange, WorkflowChange, plan
from flowctl.failure import UsageFailure
from flowctl.program.compiling import compile_program
from flowctl.project.commit import UNCOMMITTED
from flowctl.project.load import load_from
from flowctl.project.origins import TextFiles
from flowctl.store.database import open_store, transaction

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flowctl.engine.in_flight import Order
    from flowctl.project.project import Project
    from flowctl.store.database import Store

State = dict[str, Any]


def export(store: Store) -> State:
    """The newest release with its files, and how many contacts are on each step of each version and in each segment.

    Raises:
        UsageFailure: nothing was applied yet.
    """
    connection = store.connection
    release = connection.execute('SELECT id, "commit", digest, files FROM releases ORDER BY id DESC LIMIT 1').fetchone()
    if release is None:
        message = "nothing was applied yet"
        raise UsageFailure(message, help="`flowctl plan` needs no state for the first apply")
    numbers = connection.execute("SELECT workflow, max(number) FROM workflow_versions GROUP BY 1 ORDER BY 1").fetchall()
    held = connection.execute(
        "SELECT e.workflow, v.number, json_extract(v.program, '$.instructions[' || e.pc || '].step'), count(*) FROM enrollments e "
        "JOIN workflow_versions v ON v.id = e.version_id WHERE e.ended_at IS NULL GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
    ).fetchall()
    segments = connection.execute(
        "SELECT s.name, (SELECT count(*) FROM segment_members m WHERE m.segment_id = s.id) FROM segments s WHERE s.retired_at IS NULL ORDER BY 1"
    )
    return {
        "release": {"id": release[0], "commit": release[1], "digest": release[2]},
        "workflows": {
            name: {
                "version": number,
                "in_flight": [
                    {"version": row[1], "step": row[2], "contacts": row[3]} for row in held if row[0] == name
                ],
            }
            for name, number in numbers
        },
        "segments": dict(segments.fetchall()),
        "files": json.loads(release[3]),
    }


def plan_on(
    state: State,
    project: Project,
    *,
    now: int,
    in_flight: Mapping[str, Order],
    environment: str = "",
    commit: str = UNCOMMITTED,
) -> Plan:
    """The plan for a store of which only its state is known. `now` is UTC ms.

    Raises:
        ProblemsFound: the files have errors, or say what the engine does not run; or this flowctl no longer takes the release's.
    """
    with closing(open_store(":memory:", create=True)) as store:
        before = load_from(TextFiles(state["files"]), Path(), environment=environment)
        apply(store, before, commit=state["release"]["commit"], now=now)
        with transaction(store.connection):
            for name, said in state["workflows"].items():
                # One that is gone has no place in the release's files, but its contacts drain.
                store.connection.execute(
                    "UPDATE workflow_versions SET number = ? WHERE workflow = ?", (said["version"], name)
                )
        orders = {
            name: order
            for name, order in in_flight.items()
            if name not in state["workflows"] or name in before.workflows
        }
        found = plan(store, project, now=now, in_flight=orders, commit=commit)
    return replace(
        found,
        workflows=tuple(_counted(each, state, project, in_flight) for each in found.workflows),
        segments=tuple(_members(each, state) for each in found.segments),
    )


def _counted(
    workflow: WorkflowChange, state: State, project: Project, in_flight: Mapping[str, Order]
) -> WorkflowChange:
    rows: list[dict[str, Any]] = state["workflows"].get(workflow.name, {}).get("in_flight", [])
    older = [row for row in rows if row["version"] != workflow.version]
    order = in_flight.get(workflow.name)
    exits = sum(row["contacts"] for row in older) if order == "exit" else 0
    said = project.workflows.get(workflow.name)
    moves = said.move if said and order is None else {}
    lost: dict[str, int] = {}
    moved: dict[str, int] = {}
    known = compile_program(said).step_positions if said else {}
    for row in older if order != "exit" else []:
        step = row["step"]
        if step in moves:
            moved[step] = moved.get(step, 0) + row["contacts"]
        elif step and step not in known and workflow.change == "changed":
            lost[step] = lost.get(step, 0) + row["contacts"]
    inside = sum(row["contacts"] for row in rows) - exits
    at_once = (
        None
        if workflow.change == "new"
        and said
        and any(getattr(trigger, "existing", None) == "enroll" for trigger in said.triggers)
        else 0
    )
    return replace(workflow, in_flight=inside, lost=lost, moved=moved, exits=exits, enters_at_once=at_once)


def _members(segment: SegmentChange, state: State) -> SegmentChange:
    before = state["segments"].get(segment.name, 0)
    after = {"unchanged": before, "gone": 0}.get(segment.change)
    return replace(segment, before=before, after=after)
