"""Stores for the benchmarks: a real project, applied, then filled by bulk SQL with made-up people and what they did."""

from __future__ import annotations

import shutil
import time
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from flowctl.engine.apply import apply
from flowctl.project.load import load
from flowctl.store.database import open_store, transaction
from flowctl.store.events import type_id
from flowctl.store.fields import declare

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator

NOW = 1_772_445_600_000  # 2026-03-02T10:00Z, a Monday
DAY_MS = 86_400_000
HISTORY_DAYS = 300
WORKFLOWS = 20
_NUMBERS = "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < :last)"

SETTINGS = """\
project: bench
store: sqlite:///flowctl.db
timezone: Europe/Paris
languages: [en]
contacts:
  fields:
    first_name: text
    plan: {type: choice, values: [free, silver, gold]}
    engagement: {type: number, default: 0}
events:
  signup:
  visit: {properties: {page: text}}
  purchase: {properties: {amount: number}}
senders: {shop: {name: Shop, email: shop@example.com}}
channels:
  email: {adapter: maildir, path: mail}
pressure: {email: [1 per 16h, 3 per 7d], all: [2 per 24h]}
public_url: https://news.example.com
"""
SEGMENTS = """\
segments:
  engaged: {match: {field: engagement, gte: 50}}
  buyers: {match: {event: purchase, since: 30d}}
  big-spenders: {match: {event: purchase, since: 90d, sum: {amount: {gte: 500}}}}
  gone-quiet: {match: {all: [{event: visit, since: ever}, {not: {event: visit, since: 200d}}]}}
  golden: {match: {all: [{field: plan, is: gold}, {segment: engaged}]}}
"""
MESSAGES = """\
messages:
  offer:
    email: {from: shop, subject: "An offer", text: "Hello {{ contact.first_name|default('you') }}"}
  reminder:
    email: {from: shop, subject: "A reminder", text: "Hello {{ contact.first_name|default('you') }}"}
"""
WORKFLOW = """\
workflow: journey-{number:02}
description: One of many.
owner: bench
type: follow-up
goal: {{event: purchase, within: 30d, where: {{amount: {{gte: {goal}}}}}}}
triggers:
  - {trigger}
reentry: {{after: 30d}}
steps:
  - wait: 2d
  - if:
      all:
        - {{field: plan, in: [silver, gold]}}
        - {{field: engagement, gte: {level}}}
        - {{event: purchase, since: 30d, where: {{amount: {{gte: {amount}}}}}}}
    then: [{{send: offer}}]
    else: [{{send: reminder}}]
  - wait: 5d
"""
TRIGGERS = ("{event: signup}", "{enters: engaged}", "{enters: gone-quiet}", "{event: visit, where: {page: cart}}")


def build(
    folder: Path,
    *,
    contacts: int,
    events: int,
    enrollments: int = 0,
    due_at: int = NOW - 60_000,
    write: Callable[[Path], None] | None = None,
) -> Path:
    """A project with its store: so many contacts, events spread over them and, waiting at the first step, enrollments due at `due_at`.

    The project is the one of `write_project`, unless `write` makes another in the folder. Everything else is history by then. Returns the path of the store.
    """
    folder.mkdir(parents=True)
    (write or write_project)(folder)
    project = load(folder)
    path = folder / "flowctl.db"
    store = open_store(path, create=True)
    connection = store.connection
    # Nobody minds losing what is half built, and sorting once beats inserting in order into five indexes.
    for pragma in ("synchronous = OFF", "foreign_keys = OFF", "cache_size = -400000"):
        connection.execute(f"PRAGMA {pragma}")
    with transaction(connection):
        declare(
            connection,
            {
                name: said.model_dump(mode="json", exclude_none=True)
                for name, said in project.settings.contacts.fields.items()
            },
            now=1,
        )
        _people(connection, contacts)
        _facts(connection, contacts, events)
    apply(store, project, commit="bench", now=NOW - 60_000)
    if enrollments:
        with transaction(connection):
            _enroll(connection, contacts, enrollments, due_at)
            _send(connection)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    store.close()
    return path


@contextmanager
def copied(*, contacts: int, events: int) -> Iterator[Path]:
    """A copy to write to of a store that is built once a run; a fifth of the contacts wait in a workflow. It is gone afterwards."""
    path = _built(contacts, events)
    copy = path.with_name(f"copy-{time.monotonic_ns()}.db")
    shutil.copyfile(path, copy)
    try:
        yield copy
    finally:
        for left in copy.parent.glob(f"{copy.name}*"):
            left.unlink()


@cache
def _built(contacts: int, events: int) -> Path:
    return build(
        Path(_folder().name) / f"{contacts}-{events}",
        contacts=contacts,
        events=events,
        enrollments=contacts // 5,
        due_at=NOW + DAY_MS,
    )


@cache
def _folder() -> TemporaryDirectory[str]:
    return TemporaryDirectory(prefix="flowctl-bench-")


def write_project(folder: Path) -> None:
    """The files: twenty workflows that differ in their numbers, five segments, two messages."""
    (folder / "flowctl.yaml").write_text(SETTINGS, encoding="utf-8")
    (folder / "segments.yaml").write_text(SEGMENTS, encoding="utf-8")
    (folder / "messages.yaml").write_text(MESSAGES, encoding="utf-8")
    for number in range(WORKFLOWS):
        numbers = {"goal": 900 + number, "level": 20 + number, "amount": 40 + number}
        text = WORKFLOW.format(number=number, trigger=TRIGGERS[number % len(TRIGGERS)], **numbers)
        (folder / f"journey-{number:02}.yaml").write_text(text, encoding="utf-8")


def _drawn(salt: int, below: int) -> str:
    """SQL of a number under `below` that looks drawn at random and is the same for each `n`: Knuth's multiplicative hash."""
    return f"((n * 2654435761 + {salt * 1_013_904_223}) % 4294967296 / 4096 % {below})"


def _people(connection: sqlite3.Connection, contacts: int) -> None:
    with _without_indexes(connection, "contacts"):
        connection.execute(
            f"{_NUMBERS} INSERT INTO contacts (id, key, email, first_name, plan, engagement, language, created_at, _seed, _origin) "
            "SELECT n, 'c' || n, 'person' || n || '@example.com', 'First' || (n % 1000), "
            f"CASE {_drawn(1, 3)} WHEN 0 THEN 'free' WHEN 1 THEN 'silver' ELSE 'gold' END, {_drawn(2, 100)}, 'en', :at, "
            "n * 48271 % 2147483647, 0 FROM numbers",
            {"last": contacts, "at": NOW - HISTORY_DAYS * DAY_MS},
        )
    connection.execute(
        "INSERT INTO consents (contact_id, channel, purpose, granted, at, source) SELECT id, 'email', 'marketing', 1, created_at, 'bench' FROM contacts"
    )


def _facts(connection: sqlite3.Connection, contacts: int, events: int) -> None:
    """Signups, visits and purchases of the last months; by contact, as one would load them.

    None lies within an hour after the time of day of `NOW`: during a benchmark no window of whole days moves past one.
    """
    types = [type_id(connection, name) for name in ("signup", "visit", "purchase")]
    with _without_indexes(connection, "events"):
        connection.execute(
            f"{_NUMBERS} INSERT INTO events (contact_id, type, at, props) "
            "SELECT 1 + (n - 1) * :contacts / :last, CASE n % 5 WHEN 0 THEN :signup WHEN 1 THEN :purchase WHEN 3 THEN :purchase ELSE :visit END, "
            f":now - 3600000 - {_drawn(3, HISTORY_DAYS)} * 86400000 - {_drawn(4, 36_000)} * 1000, "
            f"CASE n % 5 WHEN 0 THEN NULL WHEN 1 THEN json_object('amount', {_amount(5)}) WHEN 3 THEN json_object('amount', {_amount(6)}) "
            f"ELSE json_object('page', 'p' || {_drawn(7, 50)}) END FROM numbers",
            {
                "last": events, "contacts": contacts, "now": NOW,
                "signup": types[0], "visit": types[1], "purchase": types[2],
            },
        )  # fmt: skip


def _amount(salt: int) -> str:
    """SQL of what a purchase is worth: up to 300, and 500 more for one in twenty, so that some three people in a hundred spend much in a quarter."""
    return f"({_drawn(salt, 300)} + 500 * ({_drawn(salt + 3, 20)} = 0))"


def _enroll(connection: sqlite3.Connection, contacts: int, enrollments: int, due_at: int) -> None:
    """Two days ago, by workflows in turn; each contact is in `enrollments / contacts` of them."""
    versions = connection.execute("SELECT id, workflow FROM workflow_versions ORDER BY id").fetchall()
    connection.execute("CREATE TEMP TABLE turn (place INTEGER PRIMARY KEY, version INTEGER, workflow TEXT)")
    connection.executemany("INSERT INTO turn VALUES (?, ?, ?)", ((n, *version) for n, version in enumerate(versions)))
    with _without_indexes(connection, "enrollments"):
        connection.execute(
            f"{_NUMBERS} INSERT INTO enrollments (contact_id, workflow, version_id, cause, trigger, entered_at, pc, at, due_at, until_at) "
            "SELECT 1 + (n - 1) % :contacts, t.workflow, t.version, 'event:' || n, json_object('at', :entered + n % 1000), :entered + n % 1000, "
            "0, :entered + n % 1000, :due + n % 1000, :due + n % 1000 FROM numbers JOIN turn t ON t.place = n % :turns",
            {
                "last": enrollments, "contacts": contacts, "entered": due_at - 2 * DAY_MS, "due": due_at, "turns": len(versions),
            },
        )  # fmt: skip


def _send(connection: sqlite3.Connection) -> None:
    """What was sent long ago, a message for every other enrollment, so that the outbox is as long as in a store that has lived."""
    names = dict(connection.execute("SELECT name, id FROM names"))
    with _without_indexes(connection, "outbox"):
        connection.execute(
            "INSERT INTO outbox (contact_id, enrollment_id, version_id, pc, visit, channel, message, recipient, marketing, priority, arrived_at, "
            "expires_at, state, counted_at, settled_at, attempts, key) SELECT e.contact_id, e.id, e.version_id, 1000, 0, :channel, :message, "
            "'person' || e.contact_id || '@example.com', 1, 50, :at, :at, 3, :at, :at, 1, 'bench-' || e.id FROM enrollments e WHERE e.id % 2",
            {"channel": names["email"], "message": names["offer"], "at": NOW - 90 * DAY_MS},
        )


@contextmanager
def _without_indexes(connection: sqlite3.Connection, table: str) -> Iterator[None]:
    """Indexes made by hand are dropped and made again."""
    made = connection.execute(
        "SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND tbl_name = ? AND sql IS NOT NULL", (table,)
    ).fetchall()
    for name, _ in made:
        connection.execute(f"DROP INDEX {name}")
    yield
    for _, sql in made:
        connection.execute(sql)
