"""`fetch`: JSON from a service into `data`; the contact waits outside any transaction while `fetching` asks."""

from __future__ import annotations

import json
import posixpath
from typing import TYPE_CHECKING, Any

from flowctl.engine.conditions.literal import literal
from flowctl.engine.rendering import Templates, fill
from flowctl.engine.runtime import EXITED
from flowctl.engine.work import HERE
from flowctl.language.steps import FetchStep

if TYPE_CHECKING:
    from flowctl.engine.compiler import Compiler
    from flowctl.engine.runtime import Version
    from flowctl.engine.work import Batch
    from flowctl.program.instructions import Instruction

NEVER = 1 << 60  # a deadline that marks the row as one that comes back
ANSWERED, FAILED = 1, 2
_MINE = "f.enrollment_id = w.eid AND f.pc = w.pc AND f.at = w.at"


def compiled(instruction: Instruction, compiler: Compiler) -> dict[str, Any]:
    """The service, SQL of the path asked for, the name of the answer, the sample's text for tests and simulations."""
    step = instruction.step
    assert isinstance(step, FetchStep)  # noqa: S101 - the op says so
    said = step.fetch
    if said.save_as == "input":
        compiler.refuse(said, "`data.input` is taken by what `start` hands over", "save_as")
    if not said.path.startswith("/"):
        compiler.refuse(said, f"a path starts with /; found `{said.path}`", "path")
    templates = Templates(compiler=compiler)
    return {
        "service": said.service,
        "path_sql": templates.text(said, said.path, "path", quoted=True),
        "save_as": said.save_as,
        "sample": _sample(step, compiler),
        "exits": said.on_error == "exit",
        "templates": templates.found,
    }


def _sample(step: FetchStep, compiler: Compiler) -> str | None:
    said = step.fetch
    if said.sample is None:
        return None
    folder = posixpath.dirname(said.place.path)
    text = compiler.project.bodies.get(posixpath.normpath(posixpath.join(folder, said.sample)))
    if text is None:
        return None  # validation says so
    try:
        return json.dumps(json.loads(text))
    except ValueError as error:
        compiler.refuse(said, f"the sample `{said.sample}` is no JSON: {error}", "sample")
        return None


def run(batch: Batch, version: Version, pc: int, said: dict[str, Any]) -> None:
    """Who was answered goes on; new rows ask and park, or take the sample where there is no network."""
    _go_on(batch, version, pc, said)
    fill(batch, version, pc, said["templates"], where=" AND w.woken = 0")
    if batch.runtime.experiment is not None:
        _take_sample(batch, version, pc, said)
        return
    here = batch.here(version, pc)
    batch.execute(
        "INSERT INTO fetches (contact_id, enrollment_id, version_id, pc, at, service, path, save_as, ready_at) "
        f"SELECT w.contact_id, w.eid, w.version, w.pc, w.at, :service, {said['path_sql']}, :save_as, :now FROM work w "
        f"WHERE {HERE} AND w.woken = 0 ORDER BY w.eid ON CONFLICT (enrollment_id, pc, at) DO NOTHING",
        service=said["service"],
        save_as=said["save_as"],
        **here,
    )
    batch.execute(f"UPDATE work AS w SET parked = 1, due_at = NULL, until_at = {NEVER} WHERE {HERE}", **here)


def _go_on(batch: Batch, version: Version, pc: int, said: dict[str, Any]) -> None:
    here = batch.here(version, pc)
    back = batch.execute(
        "UPDATE work AS w SET way = f.state, found_at = max(w.at, f.settled_at) FROM fetches f "
        f"WHERE {_MINE} AND {HERE} AND w.woken = 1 AND f.state IN ({ANSWERED}, {FAILED})",
        **here,
    )
    if not back:
        return
    batch.execute(
        f"UPDATE work AS w SET data = (SELECT e.data FROM enrollments e WHERE e.id = w.eid) WHERE {HERE} AND w.way = {ANSWERED}",
        **here,
    )
    batch.note(
        version, pc, "fetched", "json_object('service', f.service, 'path', f.path, 'failed', f.reason)",
        source=f"work w JOIN fetches f ON {_MINE}", where=" AND w.woken = 1 AND w.way IS NOT NULL",
    )  # fmt: skip
    _part(
        batch, version, pc, said, f" AND w.woken = 1 AND w.way = {ANSWERED}", f" AND w.woken = 1 AND w.way = {FAILED}"
    )


def _part(batch: Batch, version: Version, pc: int, said: dict[str, Any], answered: str, failed: str) -> None:
    """Those answered go on; the others as `on_error` says."""
    later = ", at = coalesce(w.found_at, w.at)"
    batch.move(version, pc, said["targets"]["next"], answered, later)
    if said["exits"]:
        batch.execute(
            f"UPDATE work AS w SET at = coalesce(w.found_at, w.at) WHERE {HERE}{failed}", **batch.here(version, pc)
        )
        batch.end(version, pc, EXITED, f"fetch {said['save_as']}", failed)
    else:
        batch.move(version, pc, said["targets"]["next"], failed, later)


def _take_sample(batch: Batch, version: Version, pc: int, said: dict[str, Any]) -> None:
    assert batch.runtime.experiment is not None  # noqa: S101 - the caller's condition
    own = batch.runtime.experiment.fetches
    answer = said["sample"]
    if said["service"] in own:
        answer = None if own[said["service"]] is None else json.dumps(own[said["service"]])
    failed = None if answer is not None else "the service fails in this test" if said["service"] in own else "no sample"
    here = batch.here(version, pc)
    if answer is not None:
        path = literal(f'$."{said["save_as"]}"')
        new = f"json_set(coalesce(data, '{{}}'), {path}, json(:answer))"
        batch.execute(
            f"UPDATE enrollments SET data = {new} WHERE id IN (SELECT w.eid FROM work w WHERE {HERE})",
            answer=answer,
            **here,
        )
        batch.execute(f"UPDATE work AS w SET data = {new} WHERE {HERE}", answer=answer, **here)
    detail = f"json_object('service', :service, 'path', {said['path_sql']}, 'failed', :failed)"
    batch.note(version, pc, "fetched", detail, service=said["service"], failed=failed)
    nobody, everybody = " AND 0", ""
    _part(batch, version, pc, said, *((everybody, nobody) if answer is not None else (nobody, everybody)))
