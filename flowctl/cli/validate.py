"""`flowctl validate`: whether the project's files can run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from flowctl.cli import render
from flowctl.cli.invocation import invocation

if TYPE_CHECKING:
    from flowctl.language.problem import Problem
    from flowctl.project.project import Project

Format = Literal["text", "concise", "json"]
EXAMPLES = """\
flowctl validate                          the whole project
flowctl validate workflows/cart           only what is wrong there
flowctl validate --format json | jq .     for a program
"""


def command(
    ctx: typer.Context,
    paths: Annotated[
        list[str] | None,
        typer.Argument(metavar="PATHS", help="Show only what is wrong in these files and folders.", show_default=False),
    ] = None,
    style: Annotated[Format, typer.Option("--format", help="How to show the faults.")] = "text",
) -> int:
    """Say whether the files can run: syntax, values, names.

    The whole project is always read, since names cross files; PATHS only choose what is shown. Exits 1 on any error.
    """
    said = invocation(ctx)
    project = said.project()
    wanted = [said.inside(path) for path in paths or []]
    shown = [
        problem
        for problem in project.problems
        if not wanted or any(_below(problem.place.path, path) for path in wanted)
    ]
    errors = sum(problem.severity == "error" for problem in shown)
    if style == "json":
        render.document(
            "problems", {"problems": [render.as_data(problem) for problem in shown], "summary": _counts(project, shown)}
        )
        return 1 if errors else 0
    render.problems(shown, project.sources, style)
    said.say(_summary(project, shown))
    return 1 if errors else 0


def _below(path: str, folder: str) -> bool:
    return folder in (".", path) or path.startswith(f"{folder}/")


def _counts(project: Project, shown: list[Problem]) -> dict[str, Any]:
    return {
        "files": len({*project.sources, *(problem.place.path for problem in project.problems)}),
        "workflows": len(project.declared.get("workflow", {})),
        "errors": sum(problem.severity == "error" for problem in shown),
        "warnings": sum(problem.severity == "warning" for problem in shown),
    }


def _summary(project: Project, shown: list[Problem]) -> str:
    from flowctl.project.find import misnamed

    counts = _counts(project, shown)
    verdict = render.plural(counts["errors"], "error") if counts["errors"] else "no errors"
    if counts["warnings"]:
        verdict += f", {render.plural(counts['warnings'], 'warning')}"
    checked = (
        f"checked {render.plural(counts['files'], 'file')}, {render.plural(counts['workflows'], 'workflow')}: {verdict}"
    )
    if odd := misnamed(project.root, project.settings.exclude):
        checked = f"not read: {odd[0]}{' …' if len(odd) > 1 else ''}: flowctl reads .yaml, not .yml\n{checked}"
    return checked
