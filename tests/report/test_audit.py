"""The audit: balanced after a real run, and every check sees what it is for."""

import pytest

from flowctl.report.audit import _CHECKS, audit
from flowctl.store.database import transaction

# What would be wrong → the harm that makes it so.
HARM = {
    "enrollment-lost": "UPDATE enrollments SET due_at = NULL, state = 0, ended_at = NULL, rkey = 'x' WHERE id = 1",
    "enrollment-without-entry": "DELETE FROM journal WHERE kind = 1 AND enrollment_id = 1",
    "enrollment-without-end": "DELETE FROM journal WHERE kind IN (16, 17, 18) AND enrollment_id = 1",
    "message-without-owner": "UPDATE outbox SET state = 0, ready_at = 1, settled_at = NULL WHERE id = 1",
    "message-without-arrival": "DELETE FROM journal WHERE kind = 7 AND enrollment_id = 1",
    "sent-without-status": "DELETE FROM message_events WHERE outbox_id = 1",
    "status-without-sent": "UPDATE outbox SET state = 4 WHERE id = 1",
    "member-without-transition": "INSERT INTO segment_members (segment_id, contact_id, since) VALUES ({segment}, 1, 1)",
    "transition-without-member": "INSERT INTO transitions (contact_id, segment_id, entered, existing, at) VALUES (1, {segment}, 1, 0, 1)",
    "erasure-unfinished": "INSERT INTO cursors (name, value) VALUES ('forgetting', 1)",
    "broken-reference": "DELETE FROM event_types WHERE name = 'bought'",
}


def test_a_real_run_balances(shop):
    found = audit(shop.store, now=shop.now)
    assert found.differences == ()
    assert found.balanced
    assert sum(found.enrollments.values()) == 5
    assert sum(found.messages.values()) == shop.connection.execute("SELECT count(*) FROM outbox").fetchone()[0]


@pytest.mark.parametrize("check", HARM)
def test_every_check_sees_what_it_is_for(shop, check):
    shop.connection.execute("INSERT INTO segments (name, definition) VALUES ('made-up', '')")
    (segment,) = shop.connection.execute("SELECT id FROM segments WHERE name = 'made-up'").fetchone()
    shop.connection.execute("PRAGMA foreign_keys = OFF")
    with transaction(shop.connection):
        assert shop.connection.execute(HARM[check].format(segment=segment)).rowcount > 0
    found = audit(shop.store, now=shop.now)
    assert not found.balanced
    difference = next(each for each in found.differences if each.check == check)
    assert difference.count == len(difference.examples) or difference.count > 5


def test_every_check_is_tested():
    assert set(HARM) | {"damaged-file"} == set(_CHECKS)


def test_an_audit_leaves_no_transaction_open(shop):
    audit(shop.store, now=shop.now)
    assert not shop.connection.in_transaction
