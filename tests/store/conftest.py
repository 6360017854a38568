"""A real store with some declared fields, and a project around one."""

import json
from zoneinfo import ZoneInfo

import pytest

from flowctl.store import fields
from flowctl.store.casting import Reading
from flowctl.store.database import open_store, transaction

NOW = 1_790_000_000_000  # 2026-09-21
FIELDS = {
    "first_name": {"type": "text"},
    "amount": {"type": "number"},
    "visits": {"type": "integer", "default": 0},
    "vip": {"type": "boolean", "default": False},
    "birthday": {"type": "date"},
    "seen_at": {"type": "datetime"},
    "lifecycle": {"type": "choice", "values": ["lead", "customer"]},
    "interests": {"type": "tags", "values": ["cookbooks", "toys"]},
}
EVENTS = {"purchase": {"amount": "number", "product": "text", "gift": "boolean"}, "visit": {"page": "text"}}


@pytest.fixture
def store(tmp_path):
    opened = open_store(tmp_path / "flowctl.db", create=True)
    fields.declare(opened.connection, FIELDS, now=NOW)
    yield opened
    opened.close()


@pytest.fixture
def rows(store):
    """A function that runs a query."""
    return lambda query, *values: store.connection.execute(query, values).fetchall()


@pytest.fixture
def paris():
    return Reading(zone=ZoneInfo("Europe/Paris"), region="FR")


@pytest.fixture
def outbox(store):
    """A function that puts a message into the outbox, as an engine would have left it; returns its id."""

    def put(
        contact_id, *, message="welcome", channel="email", recipient="ana@example.com", state=3, key="k1", at=NOW - 1000
    ):
        connection = store.connection
        with transaction(connection):
            connection.execute(
                "INSERT OR IGNORE INTO names (kind, name) VALUES ('channel', ?), ('message', ?)", (channel, message)
            )
            names = dict(connection.execute("SELECT name, id FROM names"))
            connection.execute(
                "INSERT OR IGNORE INTO releases (id, applied_at, \"commit\", digest, files, runtime, compiler) VALUES (1, 1, 'c', 'd', '{}', ?, 1)",
                (json.dumps({"events": EVENTS}),),
            )
            connection.execute("INSERT OR IGNORE INTO workflow_versions VALUES (1, 'w', 1, 1, 'd', 'w.yaml', '{}')")
            (enrollment,) = connection.execute(
                "INSERT INTO enrollments (contact_id, workflow, version_id, cause, rkey, entered_at, pc, at) VALUES (?, 'w', 1, ?, ?, 1, 0, 1) RETURNING id",
                (contact_id, f"manual:{key}", key),
            ).fetchone()
            (outbox_id,) = connection.execute(
                "INSERT INTO outbox (contact_id, enrollment_id, version_id, pc, visit, channel, message, recipient, marketing, priority, "
                "arrived_at, expires_at, state, counted_at, settled_at, key) VALUES (?, ?, 1, 0, 0, ?, ?, ?, 1, 50, 1, 2, ?, ?, ?, ?) RETURNING id",
                (
                    contact_id,
                    enrollment,
                    names[channel],
                    names[message],
                    recipient,
                    state,
                    at,
                    at if state >= 3 else None,
                    key,
                ),
            ).fetchone()
        return outbox_id

    return put
