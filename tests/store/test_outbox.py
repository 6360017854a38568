"""What the schema says of messages, and what it costs them."""

import sqlite3

import pytest

from flowctl.engine.claims import OPEN
from flowctl.store.database import open_store


def opcodes(connection, sql):
    return [row[1] for row in connection.execute(f"EXPLAIN {sql}")]


def test_a_message_changes_state_without_a_table_made_for_its_checks_or_an_index_touched(tmp_path):
    connection = open_store(tmp_path / "s.db", create=True).connection
    marked = opcodes(connection, "UPDATE outbox SET state = 2 WHERE id = 1 AND state = 1")
    assert "Insert" in marked
    assert not {"OpenEphemeral", "IdxDelete", "IdxInsert"} & set(marked)
    posted = opcodes(
        connection,
        "INSERT INTO outbox (contact_id, enrollment_id, version_id, pc, visit, channel, message, recipient, marketing, priority, arrived_at, expires_at, "
        "ready_at) VALUES (1, 1, 1, 1, 1, 1, 1, 'a', 1, 1, 1, 1, 1)",
    )
    assert "OpenEphemeral" not in posted
    (plan,) = connection.execute(f"EXPLAIN QUERY PLAN SELECT count(*) FROM outbox WHERE {OPEN}").fetchall()
    assert "outbox_open" in plan[3]


@pytest.mark.parametrize(
    ("state", "counted_at", "key", "holds"),
    [(state, at, key, state in (4, 6, 7) or None not in (at, key)) for state in range(1, 8) for at in (None, 5) for key in (None, "k")],
)  # fmt: skip
def test_what_is_claimed_or_may_have_left_has_a_key_and_counts(store, state, counted_at, key, holds):
    connection = store.connection
    connection.execute("PRAGMA foreign_keys = OFF")
    settled_at = 9 if state >= 3 else None
    row = (1, 1, 1, 1, 1, 1, 1, "a", 1, 1, 1, 1, state, counted_at, key, settled_at)
    sql = (
        "INSERT INTO outbox (contact_id, enrollment_id, version_id, pc, visit, channel, message, recipient, marketing, priority, arrived_at, "
        "expires_at, state, counted_at, key, settled_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    )
    if holds:
        connection.execute(sql, row)
    else:
        with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
            connection.execute(sql, row)
