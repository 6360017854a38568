"""A small world for tests of the engine: a project from YAML texts, contacts, facts, ticks at chosen times, and what left.

Times are UTC milliseconds; `at("2h")` counts from T0, a Monday at 10:00 UTC, 11:00 in Paris.
"""

from __future__ import annotations

import json
from pathlib import Path

from flowctl.channels.recording import RecordingChannel
from flowctl.clock import parse
from flowctl.engine.apply import apply
from flowctl.engine.compiled import CHANNELS
from flowctl.engine.tick import tick
from flowctl.failure import ProblemsFound
from flowctl.language.durations import parse as parse_duration
from flowctl.project.load import load_texts
from flowctl.report.audit import audit
from flowctl.store import consents, contacts, suppressions
from flowctl.store.database import open_store, transaction

T0 = parse("2026-03-02T10:00:00Z")
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000

SETTINGS = """
project: world
store: sqlite:///flowctl.db
timezone: Europe/Paris
languages: [en]
contacts:
  fields:
    first_name: text
    engagement: {type: number, default: 0}
    visits: integer
    interests: {type: tags, values: [books, toys, vegetarian]}
    stage: {type: choice, values: [lead, customer, loyal]}
    due_date: date
    push: text
events:
  signup:
  cart_updated: {properties: {items: number, cart_id: text}}
  purchase: {properties: {amount: number, cart_id: text}}
senders: {shop: {name: Shop, email: shop@example.com, sms: Shop}}
channels:
  email: {adapter: maildir, path: mail}
  sms: {adapter: maildir, path: sms}
  push: {adapter: maildir, path: push}
public_url: https://news.example.com
"""

MESSAGES = """
messages:
  hello:
    email: {from: shop, subject: Hello, text: Hello}
    sms: {text: Hello}
    push: {title: Hello, text: Hello}
  bye:
    email: {from: shop, subject: Bye, text: Bye}
  again:
    email: {from: shop, subject: Again, text: Again}
  receipt:
    purpose: transactional
    email: {from: shop, subject: Receipt, text: Receipt}
    sms: {text: Receipt}
"""


def at(offset: str | int = 0) -> int:
    """T0 plus a duration such as "1d", "1h30" or "-2h"; a whole time is taken as it is."""
    if isinstance(offset, int):
        return T0 + offset
    if "T" in offset:
        return parse(offset)
    sign, text = (-1, offset[1:]) if offset.startswith("-") else (1, offset)
    return T0 + sign * parse_duration(text).elapsed_ms


def project(*texts: str, settings: str = SETTINGS, messages: str = MESSAGES):
    files = {"flowctl.yaml": settings, "messages.yaml": messages}
    files |= {f"file{number}.yaml": text for number, text in enumerate(texts)}
    return load_texts(files, Path("/"))


class World:
    """One store with a project applied to it at T0."""

    def __init__(self, *texts: str, path=":memory:", channel=None, now: int = T0, **said: str) -> None:
        self.store = open_store(path, create=True)
        self.connection = self.store.connection
        self.channel = channel or RecordingChannel()
        self.now = now
        self.apply(*texts, now=now, **said)

    def apply(self, *texts: str, now: int | None = None, **said: str):
        """Apply; problems become an AssertionError that shows them, RUN codes stay ProblemsFound."""
        made = project(*texts, **said)
        assert not made.errors, [(problem.place, problem.message) for problem in made.errors]
        return apply(self.store, made, commit="abc1234", now=self.now if now is None else now)

    def snapshot(self, channel=None) -> World:
        """A copy that goes its own way."""
        copy = object.__new__(World)
        copy.store = self.store.snapshot()
        copy.connection = copy.store.connection
        copy.channel = channel or RecordingChannel()
        copy.now = self.now
        return copy

    # ------------------------------------------------------------------------------------------------------------- facts

    def contact(self, key: str, *, consent=("email", "sms"), origin: int = 1, when: int | None = None, **values) -> int:
        """A contact with an address of every channel it consents to, unless the values say otherwise."""
        when = self.now if when is None else when
        row = {"key": key, "email": f"{key}@example.com" if "email" in consent else None, **values}
        with transaction(self.connection):
            number = contacts.create(self.connection, row, origin=origin, now=when)
            said = [
                consents.Statement(contact_id=number, channel=name, granted=True, at=when, source="test")
                for name in consent
            ]
            consents.record(self.connection, said, now=when, first_new_id=number)
        return number

    def id_of(self, key: str) -> int:
        (number,) = self.connection.execute("SELECT id FROM contacts WHERE key = ?", (key,)).fetchone()
        return number

    def event(self, key: str, name: str, when: int, **props) -> int:
        with transaction(self.connection):
            return self.connection.execute(
                "INSERT INTO events (contact_id, type, at, props) VALUES (?, (SELECT id FROM event_types WHERE name = ?), ?, ?)",
                (self.id_of(key), name, when, json.dumps(props) if props else None),
            ).lastrowid

    def set(self, key: str, when: int, **values) -> None:
        with transaction(self.connection):
            contacts.change(self.connection, self.id_of(key), values, now=when)

    def withdraw(self, key: str, channel: str, when: int) -> None:
        with transaction(self.connection):
            said = consents.Statement(
                contact_id=self.id_of(key), channel=channel, granted=False, at=when, source="test"
            )
            consents.record(self.connection, [said], now=when)

    def suppress(self, address: str, when: int, channel: str = "email", reason="manual") -> None:
        with transaction(self.connection):
            suppressions.suppress(self.connection, channel, [address], reason=reason, source="test", at=when, now=when)

    def enroll(self, workflow: str, key: str, when: int, *, forced: bool = False) -> None:
        with transaction(self.connection):
            self.connection.execute(
                "INSERT INTO entries (contact_id, workflow, at, cause, forced) VALUES (?, ?, ?, ?, ?)",
                (self.id_of(key), workflow, when, f"manual:{when}", int(forced)),
            )

    # -------------------------------------------------------------------------------------------------------------- ticks

    def tick(self, now: int, **more):
        self.now = max(now, self.now)
        report = tick(self.store, now=now, channels=dict.fromkeys(CHANNELS, self.channel), **more)
        assert audit(self.store, now=now).differences == ()
        return report

    def ticks(self, *offsets: str | int) -> None:
        for offset in offsets:
            self.tick(at(offset))

    def every(self, step: str, until: str) -> None:
        """Ticks on time: at T0 plus every multiple of `step`, up to and at `until`."""
        for now in range(T0 + (at(step) - T0), at(until) + 1, at(step) - T0):
            self.tick(now)

    # ----------------------------------------------------------------------------------------------------- what came of it

    def sent(self, key: str | None = None) -> list:
        """(message, channel, minutes after T0) of what the channel took, in order; with the contact's key first unless it is given."""
        found = []
        for letter in self.channel.transmitted:
            who, message, when = self.connection.execute(
                "SELECT c.key, n.name, o.counted_at FROM outbox o JOIN contacts c ON c.id = o.contact_id JOIN names n ON n.id = o.message "
                "WHERE o.key = ?",
                (letter.key,),
            ).fetchone()
            row = (message, letter.channel, None if when is None else (when - T0) / MINUTE)
            if key is None:
                found.append((who, *row))
            elif who == key:
                found.append(row)
        return found

    def messages(self, key: str) -> list[str]:
        return [row[0] for row in self.sent(key)]

    def states(self, workflow: str | None = None, key: str | None = None) -> list[tuple[str, str | None]]:
        """State and reason of each enrollment, in order of entry."""
        return self.connection.execute(
            "SELECT r.state, r.reason FROM enrollments_readable r JOIN enrollments e ON e.id = r.id "
            "WHERE r.workflow = coalesce(?1, r.workflow) AND r.contact IS coalesce(?2, r.contact) ORDER BY e.entered_at, e.id",
            (workflow, key),
        ).fetchall()

    def entered(self, workflow: str | None = None) -> list[tuple[str, float]]:
        """Contact and minutes after T0 of each entry."""
        rows = self.connection.execute(
            "SELECT c.key, e.entered_at FROM enrollments e JOIN contacts c ON c.id = e.contact_id "
            "WHERE e.workflow = coalesce(?, e.workflow) ORDER BY e.entered_at, c.key, e.id",
            (workflow,),
        )
        return [(key, (when - T0) / MINUTE) for key, when in rows]

    def ended(self, key: str) -> list[tuple[str, str | None, float | None]]:
        """State, reason, minutes after T0 of the end."""
        rows = self.connection.execute(
            "SELECT r.state, r.reason, e.ended_at FROM enrollments_readable r JOIN enrollments e ON e.id = r.id WHERE r.contact = ? "
            "ORDER BY e.entered_at, e.id",
            (key,),
        )
        return [(state, reason, None if when is None else (when - T0) / MINUTE) for state, reason, when in rows]

    def outbox(self, key: str | None = None) -> list[tuple[str, str, str, str | None]]:
        """Message, channel, state, reason."""
        return self.connection.execute(
            "SELECT message, channel, state, reason FROM outbox_readable WHERE contact IS coalesce(?1, contact) ORDER BY id",
            (key,),
        ).fetchall()

    def value(self, key: str, field: str):
        return self.connection.execute(f'SELECT "{field}" FROM contacts WHERE key = ?', (key,)).fetchone()[0]

    def journal(self, key: str) -> list[tuple[str, dict]]:
        rows = self.connection.execute(
            "SELECT kind, detail FROM journal_readable WHERE contact = ? ORDER BY id", (key,)
        )
        return [(kind, json.loads(detail) if detail else {}) for kind, detail in rows]

    def books(self) -> tuple:
        """Everything that ticks write, to compare two worlds or two moments."""
        return tuple(
            self.connection.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall()
            for table in (
                "enrollments",
                "outbox",
                "journal",
                "message_events",
                "transitions",
                "entries",
                "contact_changes",
            )
        )


def refusals(*texts: str, **said: str) -> list[str]:
    """What apply refuses."""
    try:
        World(*texts, **said)
    except ProblemsFound as refused:
        return [problem.message for problem in refused.problems]
    return []


def workflow(name: str, *, steps: str, triggers: str = "[{event: signup}]", **keys: str) -> str:
    """A workflow's text; `steps` is an indented YAML list."""
    lines = [
        f"workflow: {name}",
        *(f"{key}: {value}" for key, value in keys.items()),
        f"triggers: {triggers}",
        "steps:",
    ]
    return "\n".join(lines) + "\n" + "\n".join("  " + line for line in steps.strip("\n").splitlines()) + "\n"
