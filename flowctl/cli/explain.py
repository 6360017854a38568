"""`flowctl explain`: why somebody got what they got."""

from __future__ import annotations

from shutil import get_terminal_size
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowctl import clock
from flowctl.cli import render
from flowctl.cli.invocation import invocation
from flowctl.cli.times import iso, local

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowctl.report.admission import Admission
    from flowctl.report.timeline import Entry, Pending, Timeline

EXAMPLES = """\
flowctl explain amy@example.com
flowctl explain 00071 --workflow reactivation
flowctl explain 00071 --message voucher
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
    "passed_by": "{subject} did not start {workflow}",
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

# Why somebody did not enter, was passed by, or got no message.
_REASONS = {
    "closed": "nobody enters it",
    "inactive": "outside its `active` days",
    "audience": "the audience does not hold",
    "active": "inside already",
    "once": "was in it before, and `reentry` lets nobody in again",
    "too_soon": "too soon after the last time, by `reentry`",
    "where": "the trigger's `where` does not hold",
    "unless": "what its `unless` names came in time",
    "before_apply": "it happened before the workflow was first applied",
    "pending": "what its `unless` names may still come",
    "late": "older than `max_event_age` when it arrived, or the workflow was not live then",
    "unreachable": "not reachable",
    "cap": "the pressure cap is full",
    "expired": "its `expire_after` was over",
    "once per": "had it within `once`",
    "topic": "opted out of its topic",
    "holdout": "in the group that gets no marketing",
    "suppressed": "the address is suppressed",
    "when": "its `when` does not hold",
    "paused": "the workflow is paused",
    "provider": "the provider refuses everything now",
    "quiet_hours": "quiet hours",
    "turn": "many wait for the end of quiet hours, it has its turn",
    "only_to": "its address is none that `only_to` of this environment allows",
}
# Of the whole workflow rather than of a step of it; and values that the sentence tells already.
_OF_WORKFLOWS = frozenset({"entered", "exited", "completed", "goal", "secondary_goal", "refused", "passed_by"})
_GIVEN = frozenset({"refused", "passed_by", "held", "skipped"})  # kinds whose reason is part of the sentence
_OF_MESSAGES = frozenset({"send", "sent", "held", "skipped", "in_doubt", "cancelled"})
_ASKED = frozenset({"branch", "woken", "timed_out", "exited", "goal", "secondary_goal"})
_TIMED_OUT = frozenset({"wait", "wait_until", "wait_for", "again", "task"})
_FOR = {"send": "its message to leave", "task": "a person to act", "fetch": "an answer"}
_TOLD = frozenset({"at", "cause", "field", "workflow", "segment", "event", "way"})


def command(
    ctx: typer.Context,
    contact: Annotated[str, typer.Argument(help="Key, e-mail address, phone number or #id.")],
    workflow: Annotated[
        str, typer.Option("--workflow", "-w", metavar="NAME", help="Only what this workflow did.")
    ] = "",
    message: Annotated[
        str,
        typer.Option(
            "--message", "-m", metavar="NAME", help="Only what led to this message, or did not.", show_default=False
        ),
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Write versioned JSON.")] = False,
) -> int:
    """Tell one contact's story: every send, hold and skip, and why.

    Each line of it names what was seen and the `file:line@commit` that made it so. Times are the contact's own.
    With a workflow or a message: also which facts started nothing, and whether the contact would enter now.
    """
    from flowctl.cli.store import opened
    from flowctl.report.timeline import timeline

    said = invocation(ctx)
    with opened(said) as store:
        story = timeline(store, contact, workflow=workflow or None, message=message or None, now=clock.now())
    if as_json:
        render.document("timeline", as_data(story))
        return 0
    show(story, said.say)
    return 0


def show(story: Timeline, say: Callable[[str], None]) -> None:
    """Print a timeline: the person on stderr; lines for people on a terminal, TSV with UTC times elsewhere."""
    if render.is_terminal():
        say(head(story))
        print("\n".join(drawn(story, get_terminal_size().columns)))
        return
    say(f"{_person(story)}  times in UTC")
    rows = [
        (iso(each.at), sentence(each, story.zone), values(each), each.step.where if each.step else "")
        for each in story.entries
    ]
    rows += [(iso(each.due_at) or "now", *_waiting(each, story.zone)) for each in story.pending]
    rows += [("now", *_would(each), "") for each in story.admissions]
    render.table(["when", "what", "seen", "where"], rows)


def head(story: Timeline) -> str:
    """Whose story it is, and whose clocks it is told by."""
    return f"{_person(story)}  times in {story.zone}"


def _person(story: Timeline) -> str:
    return render.printable(f"{story.key or f'#{story.contact_id}'}  {story.email or ''}")


def drawn(story: Timeline, columns: int) -> list[str]:
    """Lines for people, in local times: when, what, and flush behind it where it stands in the files."""
    found = []
    before = ""
    lines = [
        (local(each.at, story.zone), sentence(each, story.zone), values(each), each.step.where if each.step else "")
        for each in story.entries
    ]
    lines += [(local(each.due_at, story.zone) or "now", *_waiting(each, story.zone)) for each in story.pending]
    lines += [("now", *_would(each), "") for each in story.admissions]
    room = columns - WHEN_COLUMNS - max((len(where) for *_, where in lines), default=0) - 2
    for when, what, seen, where in lines:
        text = render.printable(f"{what}: {seen}" if seen else what)
        moment = when if when != before else ""
        before = when
        if len(text) <= room:
            found.append(f"{moment:<{WHEN_COLUMNS}}{text:<{max(room, 0)}}  {_dim(where)}".rstrip())
            continue
        found.append(f"{moment:<{WHEN_COLUMNS}}{text}")
        if where:
            found.append(f"{'':<{WHEN_COLUMNS + max(room, 0)}}  {_dim(where)}")
    return found


def _dim(text: str) -> str:
    return f"\033[2m{text}\033[0m" if text and render.colour() else text


def sentence(entry: Entry, zone: str) -> str:
    """What happened, in words; until when something is held in local time of `zone`, which is named."""
    step = entry.step
    words = _branch(entry) if entry.kind == "branch" else _WORDS.get(entry.kind, f"{entry.kind} {{subject}}")
    subject = entry.subject or ("a message" if entry.kind in _OF_MESSAGES else "")
    said = {"subject": subject, "field": entry.detail.get("field", "a field")}
    said |= {
        "workflow": step.workflow if step else entry.detail.get("workflow", ""),
        "version": str(step.version) if step else "",
    }
    text = words.format(**said).strip()
    if entry.kind in _GIVEN and entry.detail.get("reason"):
        text += f": {_reason(entry)}"
        until = entry.detail.get("until")
        text += f" until {local(until, zone)} {zone}" if isinstance(until, int) else ""
    about = entry.subject if entry.subject and entry.subject not in text else ""
    name = step.name if step and step.name not in ("", entry.subject) and entry.kind not in _OF_WORKFLOWS else ""
    return ": ".join(part for part in (name, text) if part) + (f" ({about})" if about else "")


def _reason(entry: Entry) -> str:
    said = str(entry.detail["reason"])
    if said.startswith("exclusive: "):
        return f"{said.removeprefix('exclusive: ')} of the same exclusive group holds the contact"
    if said == "once" and entry.kind in _OF_MESSAGES:
        said = "once per"
    why = entry.detail.get("because")
    return f"{_REASONS.get(said, said)}{f' ({why})' if why else ''}"


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
    if entry.kind in _GIVEN:
        told = told | {"reason", "because", "until"}
    said = {name: value for name, value in entry.detail.items() if name not in told}
    asks = said.pop("asks", "") or (entry.step.asks if entry.step and entry.kind in _ASKED else "")
    if "new" in said:
        old, new = said.pop("old", None), said.pop("new")
        change = f"{'unknown' if old is None else old} → {'unknown' if new is None else new}"
        return _with(asks, [change, *_flat(said)])
    if entry.kind == "branch":
        return _with(asks, _flat(said, unknown=True))
    if entry.kind == "goal" and said.get("reason") == "goal":
        said.pop("reason")
    return _with(asks, _flat(said))


def _with(asks: str, seen: list[str]) -> str:
    """The values, and what was asked of them."""
    return "; ".join(part for part in (", ".join(seen), f"asks {asks}" if asks else "") if part)


def _flat(said: dict[str, Any], *, unknown: bool = False) -> list[str]:
    """`name value`; a value that is not known is only worth a word where something was asked of it."""
    found: list[str] = []
    for name, value in said.items():
        if isinstance(value, dict):
            inside = {inner: each for inner, each in value.items() if inner not in _TOLD}
            found += _flat(inside, unknown=unknown or name == "seen")
        elif name == "until" and isinstance(value, int):
            found.append(f"until {iso(value)}")
        elif isinstance(value, bool):
            found.append(f"{name} {'yes' if value else 'no'}")
        elif value is not None or unknown:
            found.append(f"{name} {_plain(value)}")
    return found


def _plain(value: Any) -> str:
    if value is None:
        return "unknown"
    return f"{value:.0f}" if isinstance(value, float) and value.is_integer() else str(value)


def _waiting(pending: Pending, zone: str) -> tuple[str, str, str]:
    step = pending.step
    if step is None:
        return "→ stands on a step", _held(pending, zone), ""
    text = f"→ {step.workflow} stands on {step.label}"
    until = pending.until_at if step.op in _TIMED_OUT else pending.due_at
    if step.op == "wait_for":
        text += f", waits for {step.asks}"
    elif step.op in _FOR:
        text += f", waits for {_FOR[step.op]}"
    if until is not None:
        text += f", until {local(until, zone)}"
    if pending.standstill:
        text += f"; the workflow is {pending.standstill}"
    return text, _held(pending, zone), step.where


def _held(pending: Pending, zone: str) -> str:
    """The messages that an enrollment waits for, and when the gate looks at those again that it holds."""
    told = "; ".join(pending.messages)
    return f"{told}, looked at again {local(pending.again_at, zone)}" if pending.again_at is not None else told


def _would(found: Admission) -> tuple[str, str]:
    """Whether a fact of now would let the contact in, and by which values; what starts it at all."""
    asks = f"asks {found.asks}" if found.asks else ""
    seen = "; ".join(part for part in (", ".join(_flat(found.seen, unknown=True)), asks) if part)
    if found.reason is None:
        told = f"→ would enter {found.workflow} on {' or '.join(found.triggers)}"
        return told + (", and get no marketing: in the holdout" if found.holdout else ""), seen
    state = f" ({found.state})" if found.reason == "closed" else ""
    word = "exclusive: "
    reason = (
        f"{found.reason.removeprefix(word)} of the same exclusive group holds the contact"
        if found.reason.startswith(word)
        else _REASONS.get(found.reason, found.reason)
    )
    return f"→ would not enter {found.workflow}: {reason}{state}", seen


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
                "asks": entry.step.asks if entry.step and entry.kind in _ASKED else None,
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
                "until": iso(each.until_at),
                "asks": each.step.asks or None if each.step else None,
                "standstill": each.standstill or None,
                "messages": list(each.messages),
                "again_at": iso(each.again_at),
            }
            for each in story.pending
        ],
        "admissions": [
            {
                "workflow": each.workflow,
                "state": each.state,
                "would_enter": each.reason is None,
                "reason": each.reason,
                "asks": each.asks or None,
                "seen": each.seen,
                "triggers": list(each.triggers),
                "holdout": each.holdout,
            }
            for each in story.admissions
        ],
    }
