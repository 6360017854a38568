"""`flowctl explain`: why somebody got what they got."""

from __future__ import annotations

from shutil import get_terminal_size
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

WHEN_COLUMNS = 18
_WORDS = {
    "event": "{subject}",
    "joined": "joined segment {subject}",
    "left": "left segment {subject}",
    "changed": "{subject} changed",
    "created": "contact {subject}",
    "consented": "consented to {subject}",
    "withdrew": "withdrew consent to {subject}",
    "suppressed": "suppressed on {subject}",
    "entered": "entered {workflow} v{version}",
    "refused": "did not enter {workflow}",
    "waiting": "waits",
    "woken": "wait is over: it happened",
    "timed_out": "wait is over: time-out",
    "send": "queued {subject}",
    "sent": "sent {subject}",
    "held": "held back {subject}",
    "skipped": "skipped {subject}",
    "in_doubt": "{subject} may have left: nobody knows",
    "set": "set {field}",
    "added": "added to {field}",
    "tagged": "tagged {field}",
    "untagged": "untagged {field}",
    "exited": "left {workflow}",
    "moved": "carried over to {workflow} v{version}",
    "completed": "completed {workflow}",
    "goal": "met the goal of {workflow}",
    "secondary_goal": "met a secondary goal of {workflow}",
    "scored": "scored for {subject}",
    "cancelled": "called back {subject}",
    "resolved": "doubt settled",
    "assigned": "assigned to an owner",
    "recorded": "made a record",
    "notified": "told the own people",
    "task": "asked a person to act",
    "fetched": "asked a service",
    "advertised": "changed an advertising audience",
}

# Of the whole workflow rather than of a step of it; and values that the sentence tells already.
_OF_WORKFLOWS = frozenset({"entered", "exited", "completed", "goal", "secondary_goal", "refused"})
_OF_MESSAGES = frozenset({"send", "sent", "held", "skipped", "in_doubt", "cancelled"})
_TOLD = frozenset({"at", "cause", "field", "workflow", "segment", "event", "way"})


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
    """Print a timeline: the person on stderr; lines for people on a terminal, TSV with UTC times elsewhere."""
    say(f"{story.key or f'#{story.contact_id}'}  {story.email or ''}  times in {story.zone}")
    if render.is_terminal():
        _draw(story)
        return
    rows = [
        (iso(each.at), sentence(each), values(each), each.step.where if each.step else "") for each in story.entries
    ]
    rows += [(iso(each.due_at) or "now", *_waiting(each)) for each in story.pending]
    render.table(["when", "what", "seen", "where"], rows)


def _draw(story: Timeline) -> None:
    columns = get_terminal_size().columns
    before = ""
    lines = [
        (local(each.at, story.zone), sentence(each), values(each), each.step.where if each.step else "")
        for each in story.entries
    ]
    lines += [(local(each.due_at, story.zone) or "now", *_waiting(each)) for each in story.pending]
    room = columns - WHEN_COLUMNS - max((len(where) for *_, where in lines), default=0) - 2
    for when, what, seen, where in lines:
        text = render.printable(f"{what}: {seen}" if seen else what)
        moment = when if when != before else ""
        before = when
        if len(text) <= room:
            print(f"{moment:<{WHEN_COLUMNS}}{text:<{max(room, 0)}}  {_dim(where)}".rstrip())
        else:
            print(f"{moment:<{WHEN_COLUMNS}}{text}")
            if where:
                print(f"{'':<{WHEN_COLUMNS + max(room, 0)}}  {_dim(where)}")


def _dim(text: str) -> str:
    return f"\033[2m{text}\033[0m" if text and render.colour() else text


def sentence(entry: Entry) -> str:
    """What happened, in words."""
    step = entry.step
    words = _branch(entry) if entry.kind == "branch" else _WORDS.get(entry.kind, f"{entry.kind} {{subject}}")
    subject = entry.subject or ("a message" if entry.kind in _OF_MESSAGES else "")
    said = {"subject": subject, "field": entry.detail.get("field", "a field")}
    said |= {
        "workflow": step.workflow if step else entry.detail.get("workflow", ""),
        "version": str(step.version) if step else "",
    }
    text = words.format(**said).strip()
    about = entry.subject if entry.subject and entry.subject not in text else ""
    name = step.name if step and step.name not in ("", entry.subject) and entry.kind not in _OF_WORKFLOWS else ""
    return ": ".join(part for part in (name, text) if part) + (f" ({about})" if about else "")


def _branch(entry: Entry) -> str:
    way = entry.detail.get("way")
    if entry.step is not None and entry.step.op == "split":
        return f"drawn to path {way}"
    if entry.step is not None and entry.step.op == "repeat":
        return "another turn begins" if way == "turn" else "the last turn is over"
    holds = way == "then"
    if entry.step is not None and entry.step.role == "when":
        return "let through by its `when`" if holds else "passed over by its `when`"
    return "the condition holds" if holds else "the condition does not hold"


def values(entry: Entry) -> str:
    """The values seen, as `name value, name value`; a change as `old → new`."""
    told = _TOLD | {"to"} if entry.kind == "sent" else _TOLD
    said = {name: value for name, value in entry.detail.items() if name not in told}
    if "new" in said:
        old, new = said.pop("old", None), said.pop("new")
        change = f"{'unknown' if old is None else old} → {'unknown' if new is None else new}"
        return ", ".join([change, *_flat(said)])
    if entry.kind == "goal" and said.get("reason") == "goal":
        said.pop("reason")
    return ", ".join(_flat(said))


def _flat(said: dict[str, Any]) -> list[str]:
    found: list[str] = []
    for name, value in said.items():
        if isinstance(value, dict):
            found += _flat({inner: each for inner, each in value.items() if inner not in _TOLD})
        elif name == "until" and isinstance(value, int):
            found.append(f"until {iso(value)}")
        elif value is not None:
            found.append(f"{name} {value}")
    return found


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
