"""What contacts were really sent: how much in which time, per segment, and whether they tire of it; who is in several workflows now."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flowctl.store.database import Store

EVERYBODY = "everybody"
DAY_MS = 86_400_000
WINDOWS_DAYS = (1, 7, 30)
COMPLAINED_MAX = 0.001  # Google's and Yahoo's sender guidelines of 2024: keep spam complaints below 0.1 %
UNSUBSCRIBED_MAX = 0.005
SENT_MIN = 100  # fewer messages tell nothing
NORMAL_95 = 1.96  # of the two-proportion z-test, two-sided at 5 %


@dataclass(frozen=True, kw_only=True, slots=True)
class Answers:
    """Marketing messages that left, and how many of them were answered how."""

    sent: int = 0
    opened: int = 0
    clicked: int = 0
    complained: int = 0
    unsubscribed: int = 0

    def share(self, name: str) -> float | None:
        """The share of what was sent; None where nothing was."""
        count: int = getattr(self, name)
        return count / self.sent if self.sent else None


@dataclass(frozen=True, kw_only=True, slots=True)
class SentPressure:
    """What the members of a segment (as of now) were sent in a period; `everybody` is no segment.

    `most`: by window in days, the most that one contact got in any window of that length; `earlier` and `later`: the halves of the
    period; `signs`: of fatigue, in words.
    """

    segment: str
    contacts: int  # who got something
    most: dict[int, int]
    earlier: Answers
    later: Answers
    signs: tuple[str, ...]

    @property
    def sent(self) -> int:
        """Messages in the whole period."""
        return self.earlier.sent + self.later.sent

    def share(self, name: str) -> float | None:
        """The share over the whole period."""
        return (getattr(self.earlier, name) + getattr(self.later, name)) / self.sent if self.sent else None


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenVersion:
    """A version of a workflow with contacts inside, on which steps they are ('' where one has no name), and the files of the release that brought it."""

    workflow: str
    number: int
    steps: dict[str, int]
    files: dict[str, str]

    @property
    def contacts(self) -> int:
        """How many are inside."""
        return sum(self.steps.values())


def really_sent(store: Store, *, now: int, period_ms: int) -> list[SentPressure]:
    """What was sent in the period up to `now` (UTC ms), to everybody and to the members of each segment, those with most first."""
    begin = now - period_ms
    halves = _answers(store, begin=begin, middle=now - period_ms // 2, now=now)
    most = _most(store, begin=begin, now=now)
    contacts = _contacts(store, begin=begin, now=now)
    found = [
        SentPressure(
            segment=name,
            contacts=contacts[name],
            most=most[name],
            earlier=earlier,
            later=later,
            signs=tuple(_signs(earlier, later)),
        )
        for name, (earlier, later) in halves.items()
    ]
    return sorted(found, key=lambda one: (one.segment != EVERYBODY, -one.sent / max(1, one.contacts), one.segment))


def together(store: Store) -> dict[frozenset[str], int]:
    """How many contacts are inside exactly these two workflows or more, now."""
    rows = store.connection.execute(
        "SELECT workflows, count(*) FROM (SELECT json_group_array(workflow) AS workflows FROM "
        "(SELECT DISTINCT contact_id, workflow FROM enrollments WHERE ended_at IS NULL ORDER BY contact_id, workflow) "
        "GROUP BY contact_id HAVING count(*) > 1) GROUP BY workflows"
    )
    return {frozenset(json.loads(names)): count for names, count in rows}


def open_versions(store: Store) -> list[OpenVersion]:
    """Every version that holds contacts, old and new."""
    rows = store.connection.execute(
        "SELECT v.workflow, v.number, held.steps, r.files FROM (SELECT version_id, json_group_object(step, inside) AS steps FROM ("
        "SELECT e.version_id, coalesce(json_extract(v.program, '$.instructions[' || e.pc || '].step'), '') AS step, count(*) AS inside "
        "FROM enrollments e JOIN workflow_versions v ON v.id = e.version_id WHERE e.ended_at IS NULL GROUP BY 1, 2) GROUP BY 1) held "
        "JOIN workflow_versions v ON v.id = held.version_id JOIN releases r ON r.id = v.release_id ORDER BY v.workflow, v.number"
    )
    files: dict[str, dict[str, str]] = {}
    return [
        OpenVersion(
            workflow=name, number=number, steps=json.loads(steps), files=files.setdefault(text, json.loads(text))
        )
        for name, number, steps, text in rows
    ]


def applied_files(store: Store) -> dict[str, str] | None:
    """The files of the newest release; None before the first."""
    row = store.connection.execute("SELECT files FROM releases ORDER BY id DESC LIMIT 1").fetchone()
    files: dict[str, str] | None = json.loads(row[0]) if row else None
    return files


_LETTERS = (
    "SELECT o.id, o.contact_id, o.counted_at FROM outbox o "
    "WHERE o.marketing = 1 AND o.state = 3 AND o.counted_at > :begin AND o.counted_at <= :now"
)
_GROUPS = (
    "(SELECT l.contact_id AS contact_id, :everybody AS name FROM (SELECT DISTINCT contact_id FROM letters) l UNION ALL "
    "SELECT m.contact_id, s.name FROM segment_members m JOIN segments s ON s.id = m.segment_id WHERE s.retired_at IS NULL)"
)


def _answers(store: Store, *, begin: int, middle: int, now: int) -> dict[str, tuple[Answers, Answers]]:
    """By segment: what became of the messages of the first half and of the second."""
    rows = store.connection.execute(
        f"WITH letters AS ({_LETTERS}), answers AS (SELECT outbox_id, max(status = 2) AS opened, max(status = 3) AS clicked, "
        "max(status = 6) AS complained, max(status = 7) AS unsubscribed FROM message_events "
        "WHERE status IN (2, 3, 6, 7) AND outbox_id IN (SELECT id FROM letters) GROUP BY outbox_id) "
        "SELECT g.name, l.counted_at > :middle, count(*), coalesce(sum(a.opened), 0), coalesce(sum(a.clicked), 0), "
        "coalesce(sum(a.complained), 0), coalesce(sum(a.unsubscribed), 0) "
        f"FROM letters l JOIN {_GROUPS} g ON g.contact_id = l.contact_id LEFT JOIN answers a ON a.outbox_id = l.id GROUP BY 1, 2",
        {"begin": begin, "middle": middle, "now": now, "everybody": EVERYBODY},
    )
    halves: dict[str, dict[int, Answers]] = defaultdict(dict)
    for name, is_late, sent, opened, clicked, complained, unsubscribed in rows:
        halves[name][is_late] = Answers(
            sent=sent, opened=opened, clicked=clicked, complained=complained, unsubscribed=unsubscribed
        )
    return {name: (said.get(0, Answers()), said.get(1, Answers())) for name, said in halves.items()}


def _most(store: Store, *, begin: int, now: int) -> dict[str, dict[int, int]]:
    """By segment and window: the most messages that one contact got within less than it."""
    counts = ", ".join(
        f"count(*) OVER (PARTITION BY contact_id ORDER BY counted_at RANGE BETWEEN {days * DAY_MS - 1} PRECEDING AND CURRENT ROW) AS most_{days}"
        for days in WINDOWS_DAYS
    )
    columns = ", ".join(f"max(w.most_{days})" for days in WINDOWS_DAYS)
    rows = store.connection.execute(
        f"WITH letters AS ({_LETTERS}), windows AS (SELECT contact_id, {counts} FROM letters) "
        f"SELECT g.name, {columns} FROM windows w JOIN {_GROUPS} g ON g.contact_id = w.contact_id GROUP BY 1",
        {"begin": begin, "now": now, "everybody": EVERYBODY},
    )
    return {row[0]: dict(zip(WINDOWS_DAYS, row[1:], strict=True)) for row in rows}


def _contacts(store: Store, *, begin: int, now: int) -> dict[str, int]:
    """By segment: how many got something."""
    rows = store.connection.execute(
        f"WITH letters AS ({_LETTERS}) SELECT g.name, count(DISTINCT l.contact_id) FROM letters l "
        f"JOIN {_GROUPS} g ON g.contact_id = l.contact_id GROUP BY 1",
        {"begin": begin, "now": now, "everybody": EVERYBODY},
    )
    return dict(rows.fetchall())


def _signs(earlier: Answers, later: Answers) -> list[str]:
    """The signs of fatigue: shares that moved the wrong way between the halves, beyond chance, and shares over their limits."""
    signs: list[str] = []
    for name, is_bad_when_rising in (
        ("opened", False),
        ("clicked", False),
        ("unsubscribed", True),
        ("complained", True),
    ):
        score = _z(getattr(earlier, name), earlier.sent, getattr(later, name), later.sent)
        if score is not None and (score if is_bad_when_rising else -score) > NORMAL_95:
            before, after = earlier.share(name) or 0, later.share(name) or 0
            verb = "rising" if is_bad_when_rising else "falling"
            signs.append(f"{name} {verb}: {before:.2%} to {after:.2%}")
    sent = earlier.sent + later.sent
    if sent >= SENT_MIN:
        for name, limit in (("complained", COMPLAINED_MAX), ("unsubscribed", UNSUBSCRIBED_MAX)):
            share = (getattr(earlier, name) + getattr(later, name)) / sent
            if share > limit:
                signs.append(f"{name} {share:.2%}, over {limit:.1%}")
    return signs


def _z(first: int, first_of: int, second: int, second_of: int) -> float | None:
    """The two-proportion z statistic with pooled variance (Fleiss, Statistical Methods for Rates and Proportions, 2003, ch. 3).

    Above 0 where the second share is larger; None where there is too little to tell.
    """
    if min(first_of, second_of) < SENT_MIN:
        return None
    pooled = (first + second) / (first_of + second_of)
    spread = sqrt(pooled * (1 - pooled) * (1 / first_of + 1 / second_of))
    return (second / second_of - first / first_of) / spread if spread else None
