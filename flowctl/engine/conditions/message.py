"""`message` leaves: what became of a message."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowctl.engine.conditions import window
from flowctl.engine.conditions.comparison import opposite
from flowctl.engine.conditions.literal import literal
from flowctl.engine.segments import Probe
from flowctl.language.durations import Duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.engine.conditions.scope import Frame
    from flowctl.language.conditions import MessageLeaf

# The numbers of message_events.status.
STATUSES = {
    name: number
    for number, name in enumerate(
        ("sent", "delivered", "opened", "clicked", "dismissed", "bounced", "complained", "unsubscribed")
    )
}
ANY = "any"


def sql(leaf: MessageLeaf, frame: Frame, *, negated: bool) -> str:
    """Those of the enrollment, unless a duration or `ever` says whose."""
    rows = found(leaf, frame)
    if leaf.count is None:
        return f"{'NOT ' if negated else ''}EXISTS (SELECT 1 {rows})"
    text = window.counted(rows, leaf.count.bounds(), frame)
    there = window.never_there(leaf.since)
    return opposite(f"({there} AND {text})" if there else text, negated=negated)


def found(leaf: MessageLeaf, frame: Frame, *, until: str = ":now") -> str:
    """`FROM … WHERE …` of the statuses of one contact that it asks for, as alias `m`."""
    return f"FROM message_events m WHERE m.contact_id = c.id AND {_which(leaf, frame, until)}"


def probes(leaf: MessageLeaf, frame: Frame) -> Iterator[Probe]:
    """New statuses; statuses that grow older than the window."""
    ids = () if leaf.message == ANY else (frame.scope.messages[leaf.message],)
    codes = (STATUSES[leaf.status],)
    yield Probe(kind="status", ids=ids, codes=codes)
    for edge_ms in window.edges(leaf.since, None):
        yield Probe(kind="status_window", ids=ids, codes=codes, edge_ms=edge_ms)


def unsupported(leaf: MessageLeaf, frame: Frame) -> str | None:
    """Why the engine does not run it; None where it does."""
    if not frame.scope.enrollment and (leaf.since is None or window.needs_enrollment(leaf.since)):
        return "a message outside a workflow needs `since:`, a duration or `ever`"
    return None


def _which(leaf: MessageLeaf, frame: Frame, until: str) -> str:
    status = f"m.status = {STATUSES[leaf.status]:d}"
    tests = [status] if leaf.message == ANY else [f"m.message = {frame.scope.messages[leaf.message]:d}", status]
    tests += [f"m.at <= {until}", *window.since_bounds(leaf.since, frame.scope, "m", events=False)]
    if frame.scope.enrollment and not isinstance(leaf.since, Duration) and leaf.since != "ever":
        tests.append("m.enrollment_id = w.eid")
    if leaf.link is not None:
        tests.append(f"m.link = {literal(leaf.link)}")
    return " AND ".join(tests)
