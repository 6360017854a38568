"""Plans and states as files: written, read and checked, so that what was reviewed is what is applied."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowctl import clock
from flowctl.cli.files import write_private
from flowctl.cli.render import SCHEMA_VERSION
from flowctl.failure import Failure, UsageFailure
from flowctl.project.commit import commit_of
from flowctl.project.load import load_from
from flowctl.project.origins import TextFiles

if TYPE_CHECKING:
    from flowctl.cli.invocation import Invocation
    from flowctl.engine.in_flight import Orders
    from flowctl.engine.plan import Plan
    from flowctl.lint.worst import WorstChange
    from flowctl.project.project import Project
    from flowctl.store.database import Store

NOTHING = {"id": 0, "digest": ""}  # the release of a store to which nothing was applied


@dataclass(frozen=True, kw_only=True, slots=True)
class Reviewed:
    """A plan as it was reviewed: the files it applies, and the release it was made against."""

    project: Project
    commit: str
    dirty: tuple[str, ...]
    in_flight: Orders
    base: dict[str, Any]


def write(store: Store, project: Project, said: Invocation, orders: Orders, file: str) -> None:
    """Write what `apply` needs to do exactly what the plan shows."""
    from flowctl.report.releases import newest

    release = newest(store)
    _write(project, said, orders, file, {"id": release.id, "digest": release.digest} if release else NOTHING)


def read(file: str, said: Invocation) -> Reviewed:
    """A plan from its file.

    Raises:
        UsageFailure: it cannot be read, is none, was changed, or is for another environment.
    """
    from flowctl.engine.apply import digest_of

    found = read_file(file, "reviewed_plan", "`flowctl plan --out` writes one")
    if found["environment"] != said.environment:
        message = f"{file} was planned for {found['environment'] or 'no environment'}"
        raise UsageFailure(message, help="name the same --env, or plan again")
    if digest_of(found["files"]) != found["digest"]:
        message = f"{file} was changed since it was planned"
        raise UsageFailure(message, help="plan again")
    project = load_from(TextFiles(found["files"]), said.root(), environment=said.environment)
    return Reviewed(
        project=project,
        commit=found["commit"],
        dirty=tuple(found["dirty"]),
        in_flight=found["in_flight"],
        base=found["base"],
    )


def check_base(store: Store, plan: Reviewed) -> None:
    """Refuse a plan that was made against another release than the newest. Contacts may have moved meanwhile.

    Raises:
        Failure: something was applied since, or it was made for another store.
    """
    from flowctl.report.releases import newest

    release = newest(store)
    if plan.base != ({"id": release.id, "digest": release.digest} if release else NOTHING):
        current = f"release {release.id} ({release.commit})" if release else "nothing"
        was = f"release {plan.base['id']}" if plan.base["id"] else "an empty store"
        message = f"the plan was made against {was}, and {current} is applied now: nothing was changed"
        raise Failure(message, help="plan again, and have that reviewed")


def planned_on_state(
    said: Invocation, project: Project, file: str, orders: Orders, *, out: str
) -> tuple[Plan, list[WorstChange]]:
    """The plan against a `state export`, and how the worst-case pressure changes; `out` writes it for `apply`.

    Raises:
        UsageFailure: the state cannot be read, or is none.
    """
    from flowctl.engine.stateless import plan_on
    from flowctl.lint.worst import worst_changes

    state = read_file(file, "state", "`flowctl state export` writes one")
    found = plan_on(
        state, project, now=clock.now(), in_flight=orders, environment=said.environment, commit=str(commit_of(project))
    )
    before = load_from(TextFiles(state["files"]), said.root(), environment=said.environment)
    if out:
        _write(project, said, orders, out, {"id": state["release"]["id"], "digest": state["release"]["digest"]})
    return found, worst_changes(before, project)


def read_file(file: str, kind: str, help_: str) -> dict[str, Any]:
    """A versioned JSON file of a kind.

    Raises:
        UsageFailure: it cannot be read, or is something else.
    """
    try:
        found = json.loads(Path(file).read_text(encoding="utf-8"))
    except (OSError, ValueError) as fault:
        message = f"{file} cannot be read: {getattr(fault, 'strerror', None) or 'it is no JSON'}"
        raise UsageFailure(message, help=help_) from None
    if not isinstance(found, dict) or found.get("kind") != kind or found.get("schema_version") != SCHEMA_VERSION:
        message = f"{file} is no {kind.replace('_', ' ')} of this flowctl"
        raise UsageFailure(message, help=help_)
    return found


def write_file(file: str, kind: str, content: dict[str, Any]) -> None:
    """Write versioned JSON to a file.

    Raises:
        UsageFailure: it cannot be written.
    """
    text = json.dumps({"schema_version": SCHEMA_VERSION, "kind": kind, **content}, ensure_ascii=False, indent=2)
    try:
        write_private(Path(file), text + "\n")
    except OSError as fault:
        message = f"{file} cannot be written: {fault.strerror}"
        raise UsageFailure(message) from None


def _write(project: Project, said: Invocation, orders: Orders, file: str, base: dict[str, Any]) -> None:
    from flowctl.engine.apply import digest_of

    head = commit_of(project)
    files = {**project.sources, **project.bodies}
    content = {
        "base": base, "environment": said.environment, "commit": str(head), "dirty": head.dirty, "in_flight": orders,
        "digest": digest_of(files), "files": files,
    }  # fmt: skip
    write_file(file, "reviewed_plan", content)
    said.say(f"{file} holds this plan; `flowctl apply {file}` does it, unless something else is applied before")
