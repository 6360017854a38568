"""What happened to one contact, in order, with the values seen and where each step is written."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from flowctl.engine.backlog import backlog
from flowctl.failure import UsageFailure
from flowctl.report.admission import admission, passed_by
from flowctl.report.causes import because, unreachable
from flowctl.report.places import Step, Steps
from flowctl.report.workflows import standing
from flowctl.store import contacts

if TYPE_CHECKING:
    import sqlite3

    from flowctl.report.admission import Admission
    from flowctl.store.database import Store

# At one instant: what happened outside comes before what the engine made of it.
_CREATED, _CONSENT, _EVENT, _CHANGE, _SEGMENT, _SCORED, _JOURNAL, _ANSWER = range(8)
_PASSED = 8
_OF_MESSAGES = frozenset({"send", "held", "skipped", "failed", "in_doubt", "resolved"})
# A message that left at the instant it was queued comes behind the row that says so, before what followed from it.
_QUEUED = (
    "(SELECT max(j.id) FROM journal j WHERE j.contact_id = m.contact_id AND j.enrollment_id = m.enrollment_id AND j.pc = o.pc "
    "AND j.kind = 7 AND j.at = m.at)"
)
_STATUSES = ("sent", "delivered", "opened", "clicked", "dismissed", "bounced", "complained", "unsubscribed")


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One thing that happened. `at` is UTC milliseconds; `kind` is a word such as event, entered, sent, held.

    `subject` names what it is about (an event, a segment, a field, a message); `detail` holds the values seen.
    """

    at: int
    kind: str
    subject: str = ""
    detail: dict[str, Any] = field(default_factory=dict)
    step: Step | None = None
    enrollment_id: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Pending:
    """Where an enrollment stands now. `due_at` None means that it waits for a message to leave."""

    enrollment_id: int
    step: Step | None
    entered_at: int
    due_at: int | None
    messages: tuple[str, ...] = ()  # 'voucher by email: held (quiet hours)', …
    standstill: str = ""  # 'paused by a guard' where the workflow is, and nobody moves
    again_at: int | None = None  # when the gate looks at the first of those held again
    until_at: int | None = None  # when it goes on even if nothing happens; None: nobody knows


@dataclass(frozen=True, kw_only=True, slots=True)
class Timeline:
    """One contact's story."""

    contact_id: int
    key: str | None
    email: str | None
    zone: str  # the contact's, else the project's
    entries: tuple[Entry, ...]
    pending: tuple[Pending, ...]
    admissions: tuple[Admission, ...] = ()  # of the workflows asked about, in which the contact is not now


def timeline(
    store: Store, contact: str, *, workflow: str | None = None, message: str | None = None, now: int | None = None
) -> Timeline:
    """Everything that happened to a contact, named as `contacts.resolve` reads it; of one workflow or message only where one is said.

    `now` (UTC ms) adds whether a backlog stops its messages, and, for workflows asked about, the facts that started nothing and whether
    one would now.

    Raises:
        Failure: nobody is called so, or several are.
        UsageFailure: there is no such workflow or message.
    """
    connection = store.connection
    contact_id = contacts.resolve(connection, contact)
    person = contacts.get(connection, contact_id)
    steps = Steps(connection)
    only = _asked_about(connection, steps, workflow, message)
    found = [
        *_created(connection, contact_id),
        *_consents(connection, contact_id),
        *_events(connection, contact_id),
        *_changes(connection, contact_id),
        *_segments(connection, contact_id),
        *_scored(connection, contact_id),
        *_journal(connection, contact_id, steps),
        *_answers(connection, contact_id, steps),
        *(_passed(connection, contact_id, only, now) if only is not None and now is not None else ()),
    ]
    found.sort(key=lambda each: each[0])
    entries = [entry for _, entry in found if only is None or _concerns(entry, only, message)]
    pending = [
        each
        for each in _pending(connection, contact_id, steps, now)
        if only is None or (each.step is not None and each.step.workflow in only)
    ]
    inside = {each.step.workflow for each in pending if each.step}
    judged = [name for name in only or () if now is not None and name not in inside]
    admissions = (admission(connection, name, contact_id, now=now or 0) for name in judged)
    return Timeline(
        contact_id=contact_id,
        key=person.values["key"],
        email=person.values["email"],
        zone=person.zone or _project_zone(connection),
        entries=tuple(entries),
        pending=tuple(pending),
        admissions=tuple(each for each in admissions if each is not None),
    )


def _asked_about(
    connection: sqlite3.Connection, steps: Steps, workflow: str | None, message: str | None
) -> list[str] | None:
    """The workflows that the question is about: the one named, or those that ever sent the message; None for all."""
    if workflow is None and message is None:
        return None
    versions = connection.execute("SELECT id, workflow FROM workflow_versions ORDER BY workflow, number").fetchall()
    names = list(dict.fromkeys(name for _, name in versions))
    if workflow is not None and workflow not in names:
        raise _unknown(workflow, names)
    if message is None:
        return [workflow] if workflow else None
    known = [name for (name,) in connection.execute("SELECT name FROM names WHERE kind = 'message' ORDER BY name")]
    if message not in known:
        raise _unknown(message, known)
    senders = [name for version_id, name in versions if steps.sends(version_id, message)]
    return [name for name in dict.fromkeys(senders) if workflow in (None, name)]


def _unknown(name: str, known: list[str]) -> UsageFailure:
    near = get_close_matches(name, known, 1)
    help_ = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known) or 'none'}"
    return UsageFailure(f"nothing is called {name!r}", help=help_)


def _concerns(entry: Entry, only: list[str], message: str | None) -> bool:
    """Whether an entry is of these workflows, and of no other message than the one asked about."""
    if message is not None and (entry.kind in _OF_MESSAGES or entry.kind in _STATUSES):
        return entry.subject == message
    return (entry.step is not None and entry.step.workflow in only) or entry.detail.get("workflow") in only


def _passed(connection: sqlite3.Connection, contact_id: int, only: list[str], now: int) -> list[_Ranked]:
    """Facts that the triggers of the workflows asked about passed by."""
    found: list[_Ranked] = []
    for name in only:
        for nth, fact in enumerate(passed_by(connection, name, contact_id, now=now)):
            detail = {"workflow": name, "reason": fact.reason, "asks": fact.asks, "seen": fact.detail}
            entry = Entry(at=fact.at, kind="passed_by", subject=fact.subject, detail=detail)
            found.append(((fact.at, _PASSED, nth), entry))
    return found


def _project_zone(connection: sqlite3.Connection) -> str:
    row = connection.execute("SELECT runtime ->> 'timezone' FROM releases ORDER BY id DESC LIMIT 1").fetchone()
    return row[0] if row and row[0] else "UTC"


_Ranked = tuple[tuple[int, int, int], Entry]


def _created(connection: sqlite3.Connection, contact_id: int) -> list[_Ranked]:
    at, origin = connection.execute("SELECT created_at, _origin FROM contacts WHERE id = ?", (contact_id,)).fetchone()
    return [((at, _CREATED, 0), Entry(at=at, kind="created", subject="live" if origin else "imported"))]


def _consents(connection: sqlite3.Connection, contact_id: int) -> list[_Ranked]:
    found: list[_Ranked] = []
    rows = connection.execute(
        "SELECT id, channel, purpose, granted, at, source FROM consent_log WHERE contact_id = ?", (contact_id,)
    )
    for row_id, channel, purpose, granted, at, source in rows:
        kind = "consented" if granted else "withdrew"
        detail = {"purpose": purpose, "source": source}
        found.append(((at, _CONSENT, row_id), Entry(at=at, kind=kind, subject=channel, detail=detail)))
    suppressed = connection.execute(
        "SELECT channel, reason, at, source FROM suppressions WHERE contact_id = ?", (contact_id,)
    )
    for channel, reason, at, source in suppressed:
        entry = Entry(at=at, kind="suppressed", subject=channel, detail={"reason": reason, "source": source})
        found.append(((at, _CONSENT, 0), entry))
    return found


def _events(connection: sqlite3.Connection, contact_id: int) -> list[_Ranked]:
    rows = connection.execute(
        "SELECT e.id, t.name, e.at, e.props FROM events e JOIN event_types t ON t.id = e.type WHERE e.contact_id = ?",
        (contact_id,),
    )
    return [
        ((at, _EVENT, row_id), Entry(at=at, kind="event", subject=name, detail=json.loads(props) if props else {}))
        for row_id, name, at, props in rows
    ]


def _changes(connection: sqlite3.Connection, contact_id: int) -> list[_Ranked]:
    """Changes from outside; the engine's own are in the journal."""
    rows = connection.execute(
        "SELECT id, field, old, new, at FROM contact_changes WHERE contact_id = ? AND enrollment_id IS NULL "
        "AND field NOT LIKE 'consent.%' AND field NOT LIKE 'suppressed.%'",
        (contact_id,),
    )
    return [
        ((at, _CHANGE, row_id), Entry(at=at, kind="changed", subject=name, detail={"old": old, "new": new}))
        for row_id, name, old, new, at in rows
    ]


def _scored(connection: sqlite3.Connection, contact_id: int) -> list[_Ranked]:
    """What rules gave; what `add` steps gave is in the journal."""
    rows = connection.execute(
        "SELECT id, score, rule, points, at FROM score_ledger WHERE contact_id = ? AND rule != 'step'", (contact_id,)
    )
    return [
        ((at, _SCORED, row_id), Entry(at=at, kind="scored", subject=score, detail={"points": points, "rule": rule}))
        for row_id, score, rule, points, at in rows
    ]


def _segments(connection: sqlite3.Connection, contact_id: int) -> list[_Ranked]:
    rows = connection.execute(
        "SELECT t.id, s.name, t.entered, t.existing, t.at FROM transitions t JOIN segments s ON s.id = t.segment_id WHERE t.contact_id = ?",
        (contact_id,),
    )
    found: list[_Ranked] = []
    for row_id, name, entered, existing, at in rows:
        detail = {"existing": True} if existing else {}
        found.append(
            ((at, _SEGMENT, row_id), Entry(at=at, kind="joined" if entered else "left", subject=name, detail=detail))
        )
    return found


def _journal(connection: sqlite3.Connection, contact_id: int, steps: Steps) -> list[_Ranked]:
    rows = connection.execute(
        "SELECT j.id, j.at, k.name, j.detail, j.version_id, j.pc, j.enrollment_id, "
        "(SELECT n.name FROM outbox o JOIN names n ON n.id = o.message WHERE o.enrollment_id = j.enrollment_id AND o.pc = j.pc LIMIT 1) "
        "FROM journal j JOIN journal_kinds k ON k.id = j.kind WHERE j.contact_id = ? ORDER BY j.id",
        (contact_id,),
    )
    found: list[_Ranked] = []
    for row_id, at, kind, detail, version_id, pc, enrollment_id, message in rows:
        said = json.loads(detail) if detail else {}
        said = said if isinstance(said, dict) else {"value": said}
        # Of a wait that is over: when it was, not when it began.
        at_end = said.get("at", at) if kind in ("woken", "timed_out") else at
        step = steps.at(version_id, pc)
        if kind in ("exited", "goal", "secondary_goal") and step is not None:
            line, asks = steps.ending(version_id, said.get("reason", ""))
            step = replace(step, line=line or step.line, asks=asks)  # not of the step they happened to stand on
        entry = Entry(at=at_end, kind=kind, detail=said, step=step, enrollment_id=enrollment_id)
        subject, why = _about(connection, contact_id, steps, entry, (version_id, pc))
        entry = replace(entry, subject=message if message and kind in _OF_MESSAGES else subject, detail=said | why)
        found.append(((at_end, _JOURNAL, 2 * row_id), entry))
    return found


def _about(
    connection: sqlite3.Connection, contact_id: int, steps: Steps, entry: Entry, place: tuple[int, int]
) -> tuple[str, dict[str, str]]:
    """What a line of the journal is about, and why where the store can tell more than the line does."""
    if entry.kind in ("entered", "refused"):
        return because(connection, entry.detail.get("cause", ""), entry.detail.get("trigger")), {}
    if entry.kind not in _OF_MESSAGES or entry.step is None:
        return "", {}
    if entry.kind == "skipped" and entry.detail.get("reason") == "unreachable":
        why = unreachable(connection, contact_id, steps.channels(*place), marketing=steps.markets(*place), at=entry.at)
        return entry.step.message, {"because": why}
    return entry.step.message, {}


def _answers(connection: sqlite3.Connection, contact_id: int, steps: Steps) -> list[_Ranked]:
    """That messages left or were called back, and what was reported of them."""
    rows = connection.execute(
        "SELECT m.id, n.name, m.status, m.at, m.link, m.enrollment_id, c.name, o.recipient, o.version_id, o.pc, o.variant, "
        f"coalesce({_QUEUED}, 0), m.detail FROM message_events m "
        "JOIN names n ON n.id = m.message LEFT JOIN names c ON c.id = m.channel LEFT JOIN outbox o ON o.id = m.outbox_id "
        "WHERE m.contact_id = ?",
        (contact_id,),
    )
    found: list[_Ranked] = []
    for row_id, name, status, at, link, enrollment_id, channel, recipient, version_id, pc, variant, queued, why in rows:
        sent = status == 0
        detail = _sending(channel, recipient, variant) if sent else {"link": link} if link else {}
        detail |= json.loads(why) if why else {}
        step = steps.at(version_id, pc) if sent else None
        entry = Entry(
            at=at, kind=_STATUSES[status], subject=name, detail=detail, step=step, enrollment_id=enrollment_id
        )
        found.append(((at, _JOURNAL, 2 * queued + 1) if sent else (at, _ANSWER, row_id), entry))
    rows = connection.execute(
        "SELECT o.id, n.name, o.settled_at, o.reason, o.enrollment_id, o.version_id, o.pc FROM outbox o JOIN names n ON n.id = o.message "
        "WHERE o.contact_id = ? AND o.state = 7",
        (contact_id,),
    )
    for row_id, name, at, reason, enrollment_id, version_id, pc in rows:
        step = steps.at(version_id, pc)
        entry = Entry(
            at=at, kind="cancelled", subject=name, detail={"reason": reason}, step=step, enrollment_id=enrollment_id
        )
        found.append(((at, _JOURNAL, row_id), entry))
    return found


def _sending(channel: str, recipient: str, variant: str | None) -> dict[str, Any]:
    said = {"by": channel, "to": recipient}
    return said | {"variant": variant} if variant else said


def _pending(connection: sqlite3.Connection, contact_id: int, steps: Steps, now: int | None) -> list[Pending]:
    rows = connection.execute(
        "SELECT id, version_id, pc, entered_at, due_at, until_at FROM enrollments WHERE contact_id = ? AND ended_at IS NULL ORDER BY id",
        (contact_id,),
    ).fetchall()
    still = _standing_still(connection)
    found: list[Pending] = []
    for enrollment_id, version_id, pc, entered_at, due_at, until_at in rows:
        waiting = connection.execute(
            "SELECT r.message, r.channel, r.state, r.reason, o.ready_at, o.marketing FROM outbox o JOIN outbox_readable r ON r.id = o.id "
            "WHERE o.enrollment_id = ? AND o.state < 3 ORDER BY o.id",
            (enrollment_id,),
        ).fetchall()
        # Where far more is due than usual, the gate is asked nothing: what would leave stays ready.
        stopped = now is not None and any(row[5] for row in waiting) and backlog(connection, now) is not None
        messages = tuple(
            f"{message} by {channel}: {_why(state, reason, stopped=bool(stopped and marketing))}"
            for message, channel, state, reason, _, marketing in waiting
        )
        again = [at for _, _, _, reason, at, _ in waiting if reason and at is not None]
        step = steps.at(version_id, pc)
        found.append(
            Pending(
                enrollment_id=enrollment_id,
                step=step,
                standstill=still.get(step.workflow, "") if step else "",
                entered_at=entered_at,
                due_at=due_at,
                messages=messages,
                again_at=min(again, default=None),
                until_at=until_at,
            )
        )
    return found


def _why(state: str, reason: str | None, *, stopped: bool) -> str:
    """What keeps a message from leaving."""
    if reason:
        return f"held ({reason})".replace("_", " ")
    return "stopped, more is due than usual (`flowctl tick --confirm-backlog`)" if stopped else state


def _standing_still(connection: sqlite3.Connection) -> dict[str, str]:
    """The workflows that are paused, and by whom."""
    rows = connection.execute("SELECT workflow, state, by_hand, note FROM workflow_states")
    found = {workflow: standing(state, by_hand, note) for workflow, state, by_hand, note in rows}
    return {workflow: state for workflow, state in found.items() if state.startswith("paused")}
