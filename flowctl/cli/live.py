"""What a store, or its exported state, says beside the files: for `lint` and `pressure`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flowctl.cli.invocation import Invocation
    from flowctl.lint.live import Live
    from flowctl.project.project import Project


def from_store(said: Invocation) -> Live:
    """Who is inside now, and which versions hold them.

    Raises:
        Failure: there is no store, or it cannot serve.
    """
    from flowctl.cli.store import opened
    from flowctl.lint.live import InFlight, Live
    from flowctl.report.pressure import applied_files, open_versions, together

    with opened(said) as store:
        inside, versions, newest = together(store), open_versions(store), applied_files(store)
    projects = {id(one.files): _project(said, one.files) for one in versions}
    return Live(
        together=inside,
        in_flight=tuple(
            InFlight(workflow=one.workflow, version=one.number, steps=one.steps, release=projects[id(one.files)])
            for one in versions
        ),
        applied=_project(said, newest) if newest is not None else None,
    )


def from_state(said: Invocation, file: str) -> Live:
    """The same from a `state export`, which holds counts and the newest release alone: of older versions the text is not known.

    Raises:
        UsageFailure: the file cannot be read, or is no state.
    """
    from flowctl.cli.reviewed import read_file
    from flowctl.lint.live import InFlight, Live

    state = read_file(file, "state", "`flowctl state export` writes one")
    release = _project(said, state["files"])
    found: list[InFlight] = []
    for name, workflow in state["workflows"].items():
        held: dict[int, dict[str, int]] = {}
        for row in workflow["in_flight"]:
            held.setdefault(row["version"], {})[row["step"] or ""] = row["contacts"]
        found += [
            InFlight(
                workflow=name,
                version=number,
                steps=steps,
                release=release if number == workflow["version"] else None,
            )
            for number, steps in sorted(held.items())
        ]
    return Live(in_flight=tuple(found), applied=release)


def _project(said: Invocation, files: dict[str, str]) -> Project:
    from flowctl.project.load import load_from
    from flowctl.project.origins import TextFiles

    return load_from(TextFiles(files), said.root(), environment=said.environment)
