"""`flowctl plan`: what applying the files would do."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from flowctl import clock
from flowctl.cli import render
from flowctl.cli.invocation import invocation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowctl.engine.plan import Plan
    from flowctl.lint.worst import WorstChange
    from flowctl.project.project import Project
    from flowctl.store.database import Store

Format = Literal["text", "json", "markdown"]
EXAMPLES = """\
flowctl plan
flowctl plan --format markdown >> "$GITHUB_STEP_SUMMARY"
flowctl plan --format json | jq '.workflows[] | select(.change == "changed")'
flowctl plan --out plan.json && flowctl apply plan.json
flowctl plan --state state.json      without the store; see `flowctl state export`
"""
IN_FLIGHT_HELP = "What becomes of contacts in older versions: WORKFLOW=exit or WORKFLOW=finish; may be said again."


def command(
    ctx: typer.Context,
    style: Annotated[Format, typer.Option("--format", help="How to show it.")] = "text",
    in_flight: Annotated[
        list[str] | None,
        typer.Option("--in-flight", metavar="WORKFLOW=exit|finish", help=IN_FLIGHT_HELP, show_default=False),
    ] = None,
    out: Annotated[
        str,
        typer.Option("--out", metavar="FILE", help="Also write it to a file that `apply` takes.", show_default=False),
    ] = "",
    state: Annotated[
        str,
        typer.Option(
            "--state", metavar="FILE", help="Plan against this `state export` instead of the store.", show_default=False
        ),
    ] = "",
) -> int:
    """Show what applying the files would do, to contacts in flight too.

    Nothing is changed: it is applied and taken back in one transaction. Shows too how the most messages that a workflow
    can send one contact within a week change.
    """
    from flowctl.cli import reviewed
    from flowctl.cli.store import planned
    from flowctl.engine.in_flight import parse_orders

    said = invocation(ctx)
    orders = parse_orders(in_flight or [])
    project = said.project()
    if state:
        found, worst = reviewed.planned_on_state(said, project, state, orders, out=out)
    else:
        with planned(said) as store:
            from flowctl.engine.plan import plan
            from flowctl.project.commit import commit_of

            found = plan(store, project, now=clock.now(), in_flight=orders, commit=str(commit_of(project)))
            worst = worst_of(store, project, said.environment)
            if out:
                reviewed.write(store, project, said, orders, out)
    draw(found, worst, style)
    return 0


def draw(found: Plan, worst: Sequence[WorstChange], style: Format) -> None:
    """Print a plan in a format."""
    from flowctl.cli import plan_shown

    match style:
        case "json":
            render.document("plan", {**asdict(found), "worst_case": [asdict(each) for each in worst]})
        case "markdown":
            print(plan_shown.markdown(found, worst))
        case "text":
            plan_shown.show(found, worst)


def worst_of(store: Store, project: Project, environment: str) -> list[WorstChange]:
    """How the worst-case pressure changes from the newest release to a project."""
    from flowctl.lint.worst import worst_changes
    from flowctl.project.load import load_from
    from flowctl.project.origins import TextFiles
    from flowctl.report.releases import newest

    release = newest(store)
    before = load_from(TextFiles(release.files), project.root, environment=environment) if release else None
    return worst_changes(before, project)
