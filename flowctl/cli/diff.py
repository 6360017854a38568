"""`flowctl diff`: what a change in git means."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from flowctl.cli import render
from flowctl.cli.invocation import invocation
from flowctl.failure import ProblemsFound

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowctl.lint.worst import WorstChange
    from flowctl.project.changes import Change

Format = Literal["text", "json", "markdown"]
EXAMPLES = """\
flowctl diff                           the folder against the last commit
flowctl diff main                      against a branch
flowctl diff v1.4 --format markdown    for a pull request
"""


def command(
    ctx: typer.Context,
    revision: Annotated[
        str, typer.Argument(metavar="[REV]", help="A commit, branch or tag to compare the files with.")
    ] = "HEAD",
    style: Annotated[Format, typer.Option("--format", help="How to show it.")] = "text",
) -> int:
    """Tell what a change in git means: steps, waits, audience, messages, pressure; not which lines moved.

    Needs no store. `flowctl plan` tells what it would do to contacts.
    """
    from flowctl.lint.worst import worst_changes
    from flowctl.project.changes import changes
    from flowctl.project.revision import load_revision

    said = invocation(ctx)
    after = said.project()
    if after.errors:
        raise ProblemsFound(after.errors)
    before = load_revision(after.root, revision, environment=said.environment)
    if before.errors:
        said.say(f"the files have errors at {revision}; what cannot be read there counts as new")
    found, worst = changes(before, after), worst_changes(before, after)
    match style:
        case "json":
            render.document(
                "diff",
                {
                    "revision": revision,
                    "changes": [asdict(each) for each in found],
                    "worst_case": [asdict(each) for each in worst],
                },
            )
        case "markdown":
            print(_markdown(found, worst, revision))
        case "text":
            _show(found, worst, revision)
    return 0


def _show(found: Sequence[Change], worst: Sequence[WorstChange], revision: str) -> None:
    from flowctl.cli.plan_shown import line

    if not found:
        print(f"The files mean what they mean at {revision}.")
    for change in found:
        line(change.change, f"{change.kind} {change.name}")
        for detail in change.details:
            print(f"    {render.printable(detail)}")
    for each in worst:
        line("changed", f"worst case of {each}")


def _markdown(found: Sequence[Change], worst: Sequence[WorstChange], revision: str) -> str:
    from flowctl.cli.plan_shown import cell

    lines = [f"### What changes since {cell(revision)}", ""]
    for change in found:
        lines.append(f"- **{change.kind} {cell(change.name)}**: {change.change}")
        lines += [f"  - {cell(detail)}" for detail in change.details]
    if not found:
        lines.append("Nothing: the files mean the same.")
    if worst:
        lines += ["", "**Worst-case pressure on one contact**", "", *(f"- {each}" for each in worst)]
    return "\n".join(lines)
