"""Draws a plan: text for a terminal, Markdown for a pull request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowctl.cli import render

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from flowctl.engine.plan import Plan, SegmentChange, WorkflowChange
    from flowctl.lint.worst import WorstChange

SIGNS = {"new": ("+", "32"), "changed": ("~", "33"), "gone": ("-", "31"), "unchanged": (" ", "")}


def show(plan: Plan, worst: Sequence[WorstChange] = ()) -> None:
    """Print a plan for people."""
    if plan.same and not any(workflow.exits for workflow in plan.workflows):
        print(_unchanged(plan))
        return
    for change, what, detail in _rows(plan):
        line(change, what, detail)
    for each in worst:
        line("changed", f"worst case of {each}")
    print(f"\nPlan: {summary(plan)}.")


def markdown(plan: Plan, worst: Sequence[WorstChange] = ()) -> str:
    """A plan as Markdown, to put under a pull request."""
    if plan.same and not any(workflow.exits for workflow in plan.workflows):
        return f"### flowctl plan\n\n{_unchanged(plan)}"
    rows = [
        f"| {change} | {cell(what)} | {cell(detail)} |"
        for change, what, detail in _rows(plan)
        if change != "unchanged" or detail
    ]
    lines = [f"### flowctl plan: {summary(plan)}", "", "| | what | effect |", "|---|---|---|", *rows]
    if worst:
        lines += ["", "**Worst-case pressure on one contact**", "", *(f"- {each}" for each in worst)]
    return "\n".join(lines)


def _unchanged(plan: Plan) -> str:
    if plan.commit:
        return f"Only the commit changes: the files of the newest release are committed now, as {plan.commit}."
    return "No changes: the files are those of the newest release."


def summary(plan: Plan) -> str:
    """`1 new, 2 changed`."""
    counts = {
        change: sum(each.change == change for each in plan.workflows)
        for change in ("new", "changed", "gone", "unchanged")
    }
    return ", ".join(f"{count} {change}" for change, count in counts.items() if count) or "no workflows"


def line(change: str, what: str, detail: str = "") -> None:
    """Print one row with its sign, coloured on a terminal."""
    sign, shade = SIGNS[change]
    text = f"{sign} {what}"
    if shade and render.colour():
        text = f"\033[{shade}m{text}\033[0m"
    print(f"{text}{'  ' + detail if detail else ''}")


def cell(text: str) -> str:
    """Text that cannot break a Markdown table."""
    return render.printable(text).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")


def _rows(plan: Plan) -> Iterator[tuple[str, str, str]]:
    yield from (("new", f"field {name}", "") for name in plan.fields)
    yield from (
        (each.change, f"segment {each.name}", _members(each)) for each in plan.segments if each.change != "unchanged"
    )
    yield from ((change, f"message {name}", "") for name, change in plan.messages.items())
    yield from ((each.change, f"workflow {each.name}", "; ".join(_of_workflow(each))) for each in plan.workflows)


def _members(segment: SegmentChange) -> str:
    after = "unknown without the store" if segment.after is None else render.plural(segment.after, "contact")
    return f"{segment.before} → {after}"


def _of_workflow(workflow: WorkflowChange) -> Iterator[str]:
    carried = workflow.exits + sum(workflow.moved.values())
    if workflow.change == "unchanged" and not workflow.in_flight and not carried:
        return
    if workflow.version:
        yield f"version {workflow.version}, {workflow.state}"
    if workflow.exits:
        yield f"{_who(workflow.exits, 'in flight leave')} at once (--in-flight)"
    for step, count in workflow.moved.items():
        yield f"{_who(count, f'on {step} move')} to the new version"
    finishing = workflow.in_flight - sum(workflow.moved.values())
    if workflow.change in ("changed", "gone"):
        if finishing or not carried:
            yield f"{_who(finishing, 'in flight finish', 'in flight finishes')} the version they entered"
    elif workflow.in_flight:
        yield f"{workflow.in_flight} in flight"
    for step, count in workflow.lost.items():
        yield f"step {step} disappears, {render.plural(count, 'contact')} on it"
    if workflow.enters_at_once is None:
        yield "who is inside its segment enters at once (existing: enroll): unknown without the store how many"
    elif workflow.enters_at_once:
        yield f"{_who(workflow.enters_at_once, 'enter')} at once (existing: enroll)"


def _who(count: int, verb: str, one: str = "") -> str:
    """`1 contact enters`, `2 contacts enter`: the last word of `verb` is what they do."""
    return f"{render.plural(count, 'contact')} {(one or verb + 's') if count == 1 else verb}"
