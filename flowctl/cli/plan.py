"""`flowctl plan`: what applying the files would do."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from flowctl import clock
from flowctl.cli import render
from flowctl.cli.invocation import invocation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.engine.plan import Plan, WorkflowChange

Format = Literal["text", "json"]
EXAMPLES = """\
flowctl plan
flowctl plan --format json | jq '.workflows[] | select(.change == "changed")'
"""
_SIGNS = {"new": ("+", "32"), "changed": ("~", "33"), "gone": ("-", "31"), "unchanged": (" ", "")}


def command(
    ctx: typer.Context, style: Annotated[Format, typer.Option("--format", help="How to show it.")] = "text"
) -> int:
    """Show what applying the files would do, to contacts in flight too.

    Nothing is changed: it is applied and taken back in one transaction.
    """
    from flowctl.cli.store import planned

    said = invocation(ctx)
    with planned(said) as store:
        from flowctl.engine.plan import plan

        found = plan(store, said.project(), now=clock.now())
    if style == "json":
        render.document("plan", asdict(found))
    else:
        show(found)
    return 0


def show(plan: Plan) -> None:
    """Print a plan for people."""
    if plan.same:
        print("No changes: the files are those of the newest release.")
        return
    for name in plan.fields:
        _line("new", f"field {name}")
    for segment in plan.segments:
        if segment.change != "unchanged":
            _line(segment.change, f"segment {segment.name}", f"{segment.before} → {render.plural(segment.after, 'contact')}")
    for name, change in plan.messages.items():
        _line(change, f"message {name}")
    for workflow in plan.workflows:
        _line(workflow.change, f"workflow {workflow.name}", "; ".join(_of_workflow(workflow)))
    counts = {change: sum(each.change == change for each in plan.workflows) for change in ("new", "changed", "gone", "unchanged")}
    print(f"\nPlan: {', '.join(f'{count} {change}' for change, count in counts.items() if count) or 'no workflows'}.")


def _of_workflow(workflow: WorkflowChange) -> Iterator[str]:
    if workflow.change == "unchanged" and not workflow.in_flight:
        return
    if workflow.version:
        yield f"version {workflow.version}, {workflow.state}"
    if workflow.change in ("changed", "gone"):
        yield f"{render.plural(workflow.in_flight, 'contact')} in flight finish the version they entered"
    elif workflow.in_flight:
        yield f"{workflow.in_flight} in flight"
    for step, count in workflow.lost.items():
        yield f"step {step} disappears, {render.plural(count, 'contact')} on it"
    if workflow.enters_at_once:
        yield f"{render.plural(workflow.enters_at_once, 'contact')} enter at once (existing: enroll)"


def _line(change: str, what: str, detail: str = "") -> None:
    sign, shade = _SIGNS[change]
    text = f"{sign} {what}"
    if shade and render.colour():
        text = f"\033[{shade}m{text}\033[0m"
    print(f"{text}{'  ' + detail if detail else ''}")
