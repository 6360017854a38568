"""How a workflow does: who entered, how far they came, who converted, what was sent."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist
from typing import TYPE_CHECKING

from flowctl.language.arm import DEFAULT_ARM
from flowctl.report.costs import by_message
from flowctl.report.flow import flow
from flowctl.report.places import Steps

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from flowctl.store.database import Store

CONFIDENCE = 0.95
_STATES = ("active", "completed", "exited", "failed", "goal")
_COMPARED = (1, 2, 3, 7)  # delivered, opened, clicked, unsubscribed
_OUTBOX = ("ready", "claimed", "transmitting", "sent", "failed", "in_doubt", "skipped", "cancelled")


@dataclass(frozen=True, kw_only=True, slots=True)
class Share:
    """`hits` of `total`, with its 95 % Wilson interval; `of` and the bounds are None where there is nothing to divide."""

    hits: int
    total: int

    @property
    def of(self) -> float | None:
        """Hits / total."""
        return self.hits / self.total if self.total else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Wilson's score interval: Wilson 1927; better than the normal one for few and for rare hits."""
        if not self.total:
            return None
        z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
        share, n = self.hits / self.total, self.total
        centre = (share + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
        return max(0.0, centre - half), min(1.0, centre + half)


@dataclass(frozen=True, kw_only=True, slots=True)
class StepCount:
    """A step: how many enrollments reached it, how many stand on it now."""

    step: str
    op: str
    where: str
    reached: int
    here: int


@dataclass(frozen=True, kw_only=True, slots=True)
class VariantCount:
    """One arm of a message's A/B test on a channel; `default` is the message as written. Shares are of what was sent."""

    variant: str
    sent: int
    delivered: Share
    opened: Share
    clicked: Share
    unsubscribed: Share


@dataclass(frozen=True, kw_only=True, slots=True)
class MessageCount:
    """A message on a channel: what became of its outbox rows and of the messages that left. `skipped` is by reason."""

    message: str
    channel: str
    waiting: int
    sent: int
    skipped: dict[str, int]
    failed: int
    in_doubt: int
    cancelled: int
    opened: int
    clicked: int
    bounced: int
    complained: int
    unsubscribed: int
    variants: tuple[VariantCount, ...] = ()
    segments: int = 0  # of SMS, sent or in doubt
    cost: str = ""  # of all of them, where the channel says a `cost:`


@dataclass(frozen=True, kw_only=True, slots=True)
class Funnel:
    """One workflow, or one version of it. `exits` and `failures` count reasons; `already` met the goal when they entered.

    `secondary` tells, by name, how many of all enrollments met a secondary goal.
    """

    workflow: str
    versions: tuple[int, ...]
    entered: int
    active: int
    completed: int
    exited: int
    failed: int
    goal: int
    already: int
    exits: dict[str, int]
    failures: dict[str, int]
    secondary: dict[str, Share]
    conversion: Share
    steps: tuple[StepCount, ...]
    messages: tuple[MessageCount, ...]


def workflow_names(store: Store) -> list[str]:
    """Every workflow that was ever applied."""
    return [
        name
        for (name,) in store.connection.execute("SELECT DISTINCT workflow FROM workflow_versions ORDER BY workflow")
    ]


def funnel(store: Store, workflow: str, *, version: int | None = None) -> Funnel:
    """The funnel of a workflow, all versions together unless one is said. An unknown workflow gives an empty one."""
    connection = store.connection
    rows = connection.execute(
        "SELECT id, number FROM workflow_versions WHERE workflow = ? ORDER BY number", (workflow,)
    ).fetchall()
    versions = {version_id: number for version_id, number in rows if version in (None, number)}
    counts, exits, failures, goals = _enrollments(connection, versions)
    already = exits.pop("already", 0)
    entered = sum(counts.values())
    return Funnel(
        workflow=workflow,
        versions=tuple(versions.values()),
        entered=entered,
        active=counts["active"],
        completed=counts["completed"],
        exited=counts["exited"],
        failed=counts["failed"],
        goal=goals,
        already=already,
        exits=dict(exits.most_common()),
        failures=dict(failures.most_common()),
        secondary={name: Share(hits=met, total=entered) for name, met in _secondary(connection, versions).items()},
        conversion=Share(hits=goals, total=entered - already),
        steps=tuple(_steps(connection, versions)),
        messages=tuple(_messages(connection, versions)),
    )


def _marks(versions: Iterable[int]) -> str:
    return f"({', '.join(str(int(version_id)) for version_id in versions) or 'NULL'})"


def _enrollments(
    connection: sqlite3.Connection, versions: dict[int, int]
) -> tuple[Counter[str], Counter[str], Counter[str], int]:
    """Enrollments by state, exits and failures by reason, and how many met the goal: also those who met it after the journey."""
    counts: Counter[str] = Counter()
    exits: Counter[str] = Counter()
    failures: Counter[str] = Counter()
    goals = 0
    rows = connection.execute(
        f"SELECT state, coalesce(reason, ''), count(*), sum(goal_at IS NOT NULL AND reason IS NOT 'already') FROM enrollments "
        f"WHERE version_id IN {_marks(versions)} GROUP BY 1, 2"
    )
    for state, reason, count, met in rows:
        counts[_STATES[state]] += count
        goals += met
        if _STATES[state] == "failed":
            failures[reason or "failed"] += count
        elif _STATES[state] == "exited" or reason == "already":
            exits[reason or "exited"] += count
    return counts, exits, failures, goals


def _secondary(connection: sqlite3.Connection, versions: dict[int, int]) -> dict[str, int]:
    """Secondary goals of these versions, in the order written, each with how many enrollments met it."""
    declared = connection.execute(
        f"SELECT s.value ->> 'reason' FROM workflow_versions v, json_each(v.program, '$.secondary') s WHERE v.id IN {_marks(versions)} "
        "ORDER BY v.id, s.key"
    )
    found = dict.fromkeys((name for (name,) in declared), 0)
    met = connection.execute(
        f"SELECT g.name, count(*) FROM secondary_goals g JOIN enrollments e ON e.id = g.enrollment_id WHERE e.version_id IN {_marks(versions)} "
        "GROUP BY g.name"
    )
    return found | dict(met.fetchall())


def _steps(connection: sqlite3.Connection, versions: dict[int, int]) -> list[StepCount]:
    """Named steps in the order of the newest version; versions share a step that kept its name."""
    places = Steps(connection)
    found: dict[str, StepCount] = {}
    for version_id in sorted(versions, reverse=True):
        through = flow(connection, version_id)
        for name, positions in _named(places, version_id).items():
            first = places.at(version_id, positions[0])
            if first is None:
                continue
            before = found.get(name)
            found[name] = StepCount(
                step=name,
                op=before.op if before else first.op,
                where=before.where if before else first.where,
                reached=through.reached.get(positions[0], 0) + (before.reached if before else 0),
                here=sum(through.here.get(pc, 0) for pc in positions) + (before.here if before else 0),
            )
    return list(found.values())


def _named(places: Steps, version_id: int) -> dict[str, list[int]]:
    """Positions by step name: a step with `when` or several options has more than one."""
    found: dict[str, list[int]] = {}
    for pc, step in places.of(version_id):
        if step.name:
            found.setdefault(step.name, []).append(pc)
    return found


def _messages(connection: sqlite3.Connection, versions: dict[int, int]) -> list[MessageCount]:
    marks = _marks(versions)
    states: dict[tuple[str, str], Counter[str]] = {}
    skipped: dict[tuple[str, str], Counter[str]] = {}
    rows = connection.execute(
        "SELECT m.name, c.name, o.state, coalesce(o.reason, ''), count(*) FROM outbox o JOIN names m ON m.id = o.message "
        f"JOIN names c ON c.id = o.channel WHERE o.version_id IN {marks} GROUP BY 1, 2, 3, 4 ORDER BY min(o.pc), 1, 2"
    )
    for message, channel, state, reason, count in rows:
        states.setdefault((message, channel), Counter())[_OUTBOX[state]] += count
        if _OUTBOX[state] == "skipped":
            skipped.setdefault((message, channel), Counter())[reason] += count
    answers = _answers(connection, marks)
    variants = _variants(connection, marks)
    costs = by_message(connection, versions)
    return [
        MessageCount(
            message=message,
            channel=channel,
            waiting=counts["ready"] + counts["claimed"] + counts["transmitting"],
            sent=counts["sent"],
            skipped=dict(skipped.get((message, channel), Counter())),
            failed=counts["failed"],
            in_doubt=counts["in_doubt"],
            cancelled=counts["cancelled"],
            opened=answers[message, channel, 2],
            clicked=answers[message, channel, 3],
            bounced=answers[message, channel, 5],
            complained=answers[message, channel, 6],
            unsubscribed=answers[message, channel, 7],
            variants=tuple(variants.get((message, channel), ())),
            segments=costs.get((message, channel), (0, ""))[0],
            cost=costs.get((message, channel), (0, ""))[1],
        )
        for (message, channel), counts in states.items()
    ]


def _answers(connection: sqlite3.Connection, marks: str) -> Counter[tuple[str, str, int]]:
    """Messages that were answered at least once, by message, channel and status."""
    rows = connection.execute(
        "SELECT m.name, c.name, e.status, count(DISTINCT o.id) FROM message_events e JOIN outbox o ON o.id = e.outbox_id "
        f"JOIN names m ON m.id = o.message JOIN names c ON c.id = o.channel WHERE o.version_id IN {marks} AND e.status > 0 GROUP BY 1, 2, 3"
    )
    return Counter({(message, channel, status): count for message, channel, status, count in rows})


def _variants(connection: sqlite3.Connection, marks: str) -> dict[tuple[str, str], list[VariantCount]]:
    """The arms of messages that are tested against their variants, `default` first; by message and channel."""
    rows = connection.execute(
        "SELECT m.name, c.name, o.variant, count(*), "
        + ", ".join(
            f"sum(EXISTS (SELECT 1 FROM message_events e WHERE e.contact_id = o.contact_id AND e.message = o.message AND e.status = {status} "
            "AND e.outbox_id = o.id))"
            for status in _COMPARED
        )
        + " FROM outbox o JOIN names m ON m.id = o.message JOIN names c ON c.id = o.channel "
        f"WHERE o.version_id IN {marks} AND o.variant IS NOT NULL AND o.state = 3 "
        f"GROUP BY 1, 2, 3 ORDER BY 1, 2, o.variant != '{DEFAULT_ARM}', 3"
    )
    found: dict[tuple[str, str], list[VariantCount]] = {}
    for message, channel, variant, sent, *hits in rows:
        delivered, opened, clicked, unsubscribed = (Share(hits=each, total=sent) for each in hits)
        found.setdefault((message, channel), []).append(
            VariantCount(
                variant=variant,
                sent=sent,
                delivered=delivered,
                opened=opened,
                clicked=clicked,
                unsubscribed=unsubscribed,
            )
        )
    return found
