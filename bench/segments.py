"""Judging everybody for new segments, as `apply` does, against set algebra by hand that writes the same members and transitions.

Measured is processor time: both sides wait for the same disk.
"""

from __future__ import annotations

import sqlite3
import statistics
import time
from typing import TYPE_CHECKING

from bench.ratio import Ratio
from bench.stores import DAY_MS, NOW, copied
from flowctl.engine.observe import judge_in_full
from flowctl.engine.runtime import load
from flowctl.store.database import PRAGMAS, open_store, transaction

if TYPE_CHECKING:
    from pathlib import Path

GOAL = 2.0
TURNS = 3
CONTACTS, EVENTS_EACH = 1_000_000, 5  # the store of `ticks`, which is built once a run
_TYPE = "(SELECT id FROM event_types WHERE name = '{0}')"
_PURCHASE, _VISIT = _TYPE.format("purchase"), _TYPE.format("visit")
_OF = "SELECT contact_id FROM segment_members WHERE segment_id = (SELECT id FROM segments WHERE name = '{0}')"
# The segments of bench/stores.py as one would write them for all at once, each in the fastest of the forms tried: in the order of contacts,
# by the index that has all that is asked. By type and time first, then EXCEPT, takes ten times as long for `gone-quiet`.
_EVENTS = "events INDEXED BY events_contact"
BY_HAND = {
    "engaged": "SELECT id FROM contacts WHERE engagement >= 50",
    "buyers": f"SELECT DISTINCT contact_id FROM {_EVENTS} WHERE type = {_PURCHASE} AND at > {NOW - 30 * DAY_MS} AND at <= {NOW}",
    "big-spenders": (
        f"SELECT contact_id FROM {_EVENTS} WHERE type = {_PURCHASE} AND at > {NOW - 90 * DAY_MS} AND at <= {NOW} "
        "GROUP BY contact_id HAVING total(props ->> 'amount') >= 500"
    ),
    "gone-quiet": (
        f"SELECT contact_id FROM {_EVENTS} WHERE type = {_VISIT} AND at <= {NOW} "
        f"GROUP BY contact_id HAVING max(at) <= {NOW - 200 * DAY_MS}"
    ),
    "golden": f"SELECT id FROM contacts WHERE plan = 'gold' AND id IN ({_OF.format('engaged')})",
}


def run(*, quick: bool = False) -> list[Ratio]:
    """Five segments, both ways in turns on one store; the median of each."""
    contacts = CONTACTS // 10 if quick else CONTACTS
    took: dict[str, list[float]] = {"engine": [], "hand": []}
    with copied(contacts=contacts, events=contacts * EVENTS_EACH) as path:
        for _ in range(TURNS):
            members = {side: (_engine if side == "engine" else _by_hand)(path, times) for side, times in took.items()}
            assert members["engine"] == members["hand"], members
            assert all(count for _, count in members["engine"]), members  # an empty segment measures nothing
    typical_s = {side: statistics.median(times) for side, times in took.items()}
    detail = f"{len(BY_HAND)} segments of {contacts:,} contacts: {typical_s['engine']:.2f} s, the same set algebra tuned by hand {typical_s['hand']:.2f} s"
    return [Ratio(name="full-segments", value=typical_s["engine"] / typical_s["hand"], goal=GOAL, detail=detail)]


def _forget(connection: sqlite3.Connection) -> None:
    for table in ("segment_members", "transitions"):
        connection.execute(f"DELETE FROM {table}")


def _counted(connection: sqlite3.Connection) -> list[tuple[str, int]]:
    """Members of each segment, as also transitions have them."""
    rows = connection.execute(
        "SELECT s.name, (SELECT count(*) FROM segment_members m WHERE m.segment_id = s.id), "
        "(SELECT count(*) FROM transitions t WHERE t.segment_id = s.id) FROM segments s ORDER BY s.name"
    ).fetchall()
    assert all(members == entered for _, members, entered in rows), rows
    return [(name, members) for name, members, _ in rows]


def _engine(path: Path, times: list[float]) -> list[tuple[str, int]]:
    store = open_store(path, create=False)
    runtime = load(store.connection)
    assert runtime is not None
    plans = sorted(runtime.segments, key=lambda plan: plan.order)
    _forget(store.connection)
    begin = time.process_time()
    with transaction(store.connection):
        for plan in plans:
            judge_in_full(store.connection, plan, NOW)
    times.append(time.process_time() - begin)
    found = _counted(store.connection)
    store.close()
    return found


def _by_hand(path: Path, times: list[float]) -> list[tuple[str, int]]:
    connection = sqlite3.connect(path, isolation_level=None)
    for pragma in PRAGMAS:
        connection.execute(pragma)
    _forget(connection)
    begin = time.process_time()
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("CREATE TEMP TABLE members (contact_id INTEGER PRIMARY KEY)")
    for name, query in BY_HAND.items():
        connection.execute("DELETE FROM members")
        connection.execute(f"INSERT OR IGNORE INTO members {query}")
        mine = {"name": name, "now": NOW}
        segment = "(SELECT id FROM segments WHERE name = :name)"
        connection.execute(
            "INSERT INTO transitions (contact_id, segment_id, entered, existing, at) "
            f"SELECT contact_id, {segment}, 1, 1, :now FROM members",
            mine,
        )
        connection.execute(
            f"INSERT INTO segment_members (segment_id, contact_id, since) SELECT {segment}, contact_id, :now FROM members",
            mine,
        )
    connection.execute("COMMIT")
    times.append(time.process_time() - begin)
    found = _counted(connection)
    connection.close()
    return found
