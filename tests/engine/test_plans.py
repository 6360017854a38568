"""No statement of a tick reads a whole table of the store, whatever the statistics say: captured from real ticks, then explained."""

from __future__ import annotations

import re
from unittest.mock import patch

import pytest

from flowctl.engine import quiet_hours
from flowctl.engine.compiled import CHANNELS
from flowctl.engine.tick import tick
from flowctl.store.database import transaction
from tests.engine.world import SETTINGS, T0, World, at

BIG = {
    "contacts", "consents", "consent_log", "suppressions", "events", "contact_changes", "segment_members", "transitions", "enrollments", "entries",
    "marks", "turns", "journal", "outbox", "outbox_letters", "message_events",
}  # fmt: skip
# Small by nature, and read through an index that holds only what is in flight.
SMALL_INDEXES = ("outbox_open", "outbox_turn")

SETTINGS_MORE = """
pressure: {email: [1 per 16h, 3 per 7d], all: [2 per 24h]}
quiet_hours: {email: {FR: {between: ["09:00", "11:04"], holidays: false}, default: {between: ["08:00", "21:00"]}}}
"""
SEGMENTS = """
segments:
  engaged: {match: {field: engagement, gte: 50}}
  buyers: {match: {event: purchase, since: 30d}}
  spenders: {match: {event: purchase, since: 90d, sum: {amount: {gte: 100}}}}
  lapsed: {match: {all: [{event: purchase, since: ever}, {not: {event: purchase, since: 60d}}]}}
  writable: {match: {all: [{reachable: email}, {segment: engaged}]}}
  opened: {match: {message: hello, status: sent, since: 30d}}
"""
WORKFLOWS = (
    """
workflow: first
description: d
owner: o
type: follow-up
goal: {event: purchase, within: 7d}
triggers: [{event: signup}, {enters: engaged}, {field: stage, changes: true}]
audience: {reachable: email}
reentry: {after: 1h, while_active: restart}
exit_when: [{segment: lapsed}, {event: cart_updated, where: {items: 0}}]
steps:
  - send: hello
  - if: {all: [{field: engagement, gte: 10}, {event: purchase, since: 30d}, {segment: writable}]}
    then: [{set: {stage: customer}}]
    else: [{add: {engagement: 60}}, {tag: {interests: [toys]}}]
  - wait_for: {event: purchase, where: {amount: {gte: 100}}}
    timeout: 1d
    on_timeout: [{send: bye}]
  - {send: receipt, via: {all: [email, sms]}}
  - split: {a: 50, b: 50}
    paths: {a: [{send: again}], b: []}
""",
    """
workflow: second
description: d
owner: o
type: follow-up
triggers: [{event: cart_updated, unless: {event: purchase, within: 60m}}, {exits: engaged}]
reentry: {after: 1h, while_active: parallel}
steps:
  - {wait: 1d, time: "09:00"}
  - repeat: {every: 1d, max: 2}
    steps: [{send: again, when: {not: {event: purchase, since: entry}}}]
  - consent: {withdraw: email, purpose: marketing, source: x}
""",
)


@pytest.fixture(scope="module")
def captured():
    with patch.object(quiet_hours, "FEW", 5):  # so that what quiet hours held leaves in turns
        return capture()


def capture():
    """A world, and the statements that its ticks ran, in their last shape."""
    world = World(SEGMENTS, *WORKFLOWS, settings=SETTINGS + SETTINGS_MORE)
    for number in range(60):
        world.contact(
            f"c{number}",
            phone=f"+3361234{number:04}",
            engagement=number * 2,
            timezone="America/New_York" if number % 3 else None,
        )
    statements: list[str] = []
    world.connection.set_trace_callback(statements.append)
    for minute in range(6):
        for number in range(minute, 60, 6):
            world.event(f"c{number}", "signup", T0 + minute * 60_000)
            world.event(f"c{number}", "cart_updated", T0 + minute * 60_000, items=number % 2)
            if number % 4 == 0:
                world.event(f"c{number}", "purchase", T0 + minute * 60_000 + 1000, amount=150)
            world.set(f"c{number}", T0 + minute * 60_000, stage="lead")
        _tick(world, T0 + (minute + 1) * 60_000)
    for offset in ("2h", "1d", "1d1m", "1d2m", "1d23h", "2d", "4d", "8d"):
        _tick(world, at(offset))
    world.connection.set_trace_callback(None)
    kinds = {
        row[0]
        for row in world.connection.execute(
            "SELECT DISTINCT k.name FROM journal j JOIN journal_kinds k ON k.id = j.kind"
        )
    }
    assert {
        "entered",
        "branch",
        "send",
        "set",
        "added",
        "tagged",
        "goal",
        "timed_out",
        "completed",
        "exited",
        "held",
    } <= kinds, kinds
    reasons = {
        row[0] for row in world.connection.execute("SELECT DISTINCT detail ->> 'reason' FROM journal WHERE kind = 9")
    }
    assert {"quiet_hours", "turn", "cap"} <= reasons, reasons
    return world, statements


def _tick(world, now):
    """Without the audit that `World.tick` adds, which may read everything."""
    tick(world.store, now=now, channels=dict.fromkeys(CHANNELS, world.channel))
    world.now = now


def shapes(statements):
    """One statement of each shape that reads or writes the store."""
    found = {}
    for statement in statements:
        text = statement.strip()
        if re.match(r"(?i)(select|insert|update|delete|with)\b", text):
            found.setdefault(re.sub(r"'(?:[^']|'')*'|\b\d+(\.\d+)?\b", "?", text), text)
    return found.values()


def plan(connection, statement):
    return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}")]


def faults(connection, statement):
    """Steps of a plan that read all of a table, or all of its index, or build a filter from it."""
    names = {
        alias.lower(): table.lower()
        for table, alias in re.findall(r"(?i)\b(?:from|join|update|,)\s*(\w+)\s+(?:as\s+)?(\w+)\b", statement)
    }
    for step in plan(connection, statement):
        match = re.match(r"(?:SCAN|BLOOM FILTER ON) (\w+)(.*)", step)
        if (
            match
            and names.get(match[1].lower(), match[1].lower()) in BIG
            and not any(index in match[2] for index in SMALL_INDEXES)
        ):
            yield step


# Read whole, and meant so: who waits at the door is consumed in the same tick; the first look at `existing: enroll`.
MEANT = (
    "DISTINCT workflow FROM entries",
    "count(*) FROM entries",
    "EXISTS (SELECT 1 FROM entries)",
)


def check(world, statements):
    bad = {}
    for statement in shapes(statements):
        if any(text in statement for text in MEANT):
            continue
        found = list(faults(world.connection, statement))
        if found:
            bad[statement] = found
    assert not bad, "\n\n".join(f"{found}\n{statement}" for statement, found in bad.items())


def test_without_statistics(captured):
    world, statements = captured
    check(world, statements)


def test_with_statistics_of_a_small_store(captured):
    world, statements = captured
    with transaction(world.connection):
        world.connection.execute("ANALYZE")
    check(world, statements)


def test_with_statistics_of_a_large_store(captured):
    """As ANALYZE would have it at a million contacts."""
    world, statements = captured
    with transaction(world.connection):
        world.connection.execute("ANALYZE")
        rows = world.connection.execute("SELECT rowid, stat FROM sqlite_stat1 WHERE stat IS NOT NULL").fetchall()
        for rowid, stat in rows:
            first, *rest = stat.split()
            grown = " ".join([str(int(first) * 20_000), *rest])
            world.connection.execute("UPDATE sqlite_stat1 SET stat = ? WHERE rowid = ?", (grown, rowid))
        world.connection.execute("ANALYZE sqlite_schema")
    check(world, statements)
