"""`flowctl split`: a long workflow as two."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from flowctl.cli import render
from flowctl.cli.files import rewrite
from flowctl.cli.invocation import invocation
from flowctl.failure import Failure, ProblemsFound, UsageFailure

if TYPE_CHECKING:
    from pathlib import Path

EXAMPLES = """\
flowctl split onboarding                      where CPX004 says
flowctl split onboarding --at second_month    in front of that step
flowctl split onboarding --at second_month --name onboarding-later --diff
"""


def command(
    ctx: typer.Context,
    workflow: Annotated[str, typer.Argument(help="The workflow to cut.", show_default=False)],
    at: Annotated[
        str,
        typer.Option(
            "--at", metavar="STEP", help="Cut in front of this step; else where CPX004 says.", show_default=False
        ),
    ] = "",
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", help="What the new workflow is called.", show_default=False)
    ] = "",
    diff: Annotated[bool, typer.Option("--diff", help="Show what would change, write nothing.")] = False,
) -> int:
    """Cut a long workflow in two, at a step: the tail becomes a workflow of its own, which the first one starts.

    Comments and layout stay. Goal, exits and group are said in both; what the tail takes from the trigger is handed over as inputs;
    scenario tests of the workflow follow both. Refuses, and says why, where the two would mean something else.
    """
    from flowctl.lint.splitting import find_cut, split

    said = invocation(ctx)
    project = said.project()
    if project.errors:
        raise ProblemsFound(project.errors)
    if workflow not in project.workflows:
        from flowctl.language.faults import nearest

        near = nearest(workflow, project.workflows)
        message = f"there is no workflow `{workflow}`"
        raise UsageFailure(message, help=f"did you mean `{near}`?" if near else "`flowctl lint` tells which are long")
    made = split(project, find_cut(project.workflows[workflow], at), name)
    if diff:
        for path, text in made.texts.items():
            render.diff(path, project.sources.get(path), text)
    else:
        for path, text in made.texts.items():
            _write(project.root / path, text, is_new=path not in project.sources)
            said.say(f"{'wrote' if path not in project.sources else 'changed'} {path}")
    for note in made.notes:
        said.say(f"note: {note}")
    said.say(
        "nothing was written" if diff else f"look at it with {render.printable('`git diff`')}, then run `flowctl test`"
    )
    return 0


def _write(path: Path, text: str, *, is_new: bool) -> None:
    if is_new and path.exists():
        message = f"{path} is there already"
        raise UsageFailure(message, help="say another name: --name NAME")
    try:
        if is_new:
            path.write_bytes(text.encode())
        else:
            rewrite(path.resolve(), text)
    except OSError as fault:
        message = f"{path} cannot be written: {fault.strerror}"
        raise Failure(message) from None
