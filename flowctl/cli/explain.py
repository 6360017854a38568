"""`flowctl explain`: why somebody got what they got."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowctl.cli import render
from flowctl.cli.invocation import invocation
from flowctl.cli.times import iso, local

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowctl.report.timeline import Entry, Pending, Timeline

EXAMPLES = """\
flowctl explain amy@example.com
flowctl explain 00071 --workflow reactivation
flowctl explain '#12' --json | jq '.entries[] | select(.kind == "held")'
"""

_WORDS = {
    "event": "{subject}",
    "joined": "joined segment {subject}",
    "left": "left segment {subject}",
    "changed": "{subject} changed",
    "created": "contact {subject}",
    "consented": "consented to {subject}",
    "withdrew": "withdrew consent to {subject}",
    "suppressed": "suppressed on {subject}",
    "entered": "entered {workflow} (version {version})",
    "refused": "did not enter",
    "branch": "branched",
    "waiting": "waits",
    "woken": "wait is over: it happened",
    "timed_out": "wait is over: time-out",
    "send": "message queued",
    "sent": "message sent",
    "held": "message held back",
    "skipped": "message skipped",
    "in_doubt": "message may have left: nobody knows",
    "set": "field set",
    "added": "number added to field",
    "tagged": "tagged",
    "untagged": "untagged",
    "exited": "left {workflow}",
    "completed": "completed {workflow}",
    "goal": "met the goal of {workflow}",
    "cancelled": "message cancelled",
    "resolved": "doubt settled",
}


def command(
    ctx: typer.Context,
    contact: Annotated[str, typer.Argument(help="Key, e-mail address, phone number or #id.")],
    workflow: Annotated[
        str, typer.Option("--workflow", "-w", metavar="NAME", help="Only what this workflow did.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Write versioned JSON.")] = False,
) -> int:
    """Tell one contact's story: every send, hold and skip, and why.

    Each line of it names what was seen and the `file:line@commit` that made it so. Times are the contact's own.
    """
    from flowctl.cli.store import opened
    from flowctl.report.timeline import timeline

    said = invocation(ctx)
    with opened(said) as store:
        story = timeline(store, contact, workflow=workflow or None)
    if as_json:
        render.document("timeline", as_data(story))
        return 0
    show(story, said.say)
    return 0


def show(story: Timeline, say: Callable[[str], None]) -> None:
    """Print a timeline: the person on stderr, what happened as a table."""
    zone = story.zone or "UTC"
    say(f"{story.key or f'#{story.contact_id}'}  {story.email or ''}  times in {zone}")
    at = (lambda entry: local(entry, zone)) if render.is_terminal() else iso
    rows = [
        (at(entry.at), sentence(entry), values(entry.detail), entry.step.where if entry.step else "")
        for entry in story.entries
    ]
    rows += [(at(each.due_at) if each.due_at is not None else "now", *_waiting(each)) for each in story.pending]
    render.table(["when", "what", "seen", "where"], rows)


def sentence(entry: Entry) -> str:
    """What happened, in words."""
    step = entry.step
    words = _WORDS.get(entry.kind, f"{entry.kind} {entry.subject}")
    text = words.format(
        subject=entry.subject, workflow=step.workflow if step else "", version=step.version if step else ""
    ).strip()
    about = entry.subject if entry.subject and entry.subject not in text else ""
    name = (
        step.name
        if step and step.name and step.name != about and entry.kind not in {"entered", "exited", "completed", "goal"}
        else ""
    )
    return ": ".join(part for part in (name, text) if part) + (f" ({about})" if about else "")


def values(detail: object) -> str:
    """The values seen, as `name value, name value`."""
    if not isinstance(detail, dict):
        return "" if detail is None else str(detail)
    flat: list[str] = []
    for name, value in detail.items():
        if isinstance(value, dict):
            flat.append(values(value))
        elif value is not None:
            flat.append(f"{name} {value}")
    return ", ".join(part for part in flat if part)


def _waiting(pending: Pending) -> tuple[str, str, str]:
    step = pending.step
    where = step.where if step else ""
    text = f"→ {step.workflow if step else ''} stands on {step.label if step else 'a step'}"
    return text, "; ".join(pending.messages), where


def as_data(story: Timeline) -> dict[str, Any]:
    """A timeline for JSON."""
    return {
        "contact": {"id": story.contact_id, "key": story.key, "email": story.email, "timezone": story.zone},
        "entries": [
            {
                "at": iso(entry.at),
                "kind": entry.kind,
                "subject": entry.subject,
                "detail": entry.detail,
                "workflow": entry.step.workflow if entry.step else None,
                "version": entry.step.version if entry.step else None,
                "step": entry.step.name if entry.step else None,
                "where": entry.step.where if entry.step else None,
                "enrollment": entry.enrollment_id,
            }
            for entry in story.entries
        ],
        "pending": [
            {
                "workflow": each.step.workflow if each.step else None,
                "step": each.step.name if each.step else None,
                "where": each.step.where if each.step else None,
                "entered_at": iso(each.entered_at),
                "due_at": iso(each.due_at),
                "messages": list(each.messages),
            }
            for each in story.pending
        ],
    }
