"""A step of every kind, each against the bare writes of the very rows that it made.

Each workflow of the project holds one kind behind a wait that is due. The engine advances all of them; a second program then writes the
same rows into a copy of the store as it was: `INSERT … SELECT` and `UPDATE … FROM` in batches of the engine's size, from tables that
hold the values ready, so that nothing is judged, drawn, rendered or looked up. No program that stores what the engine stores can be
faster on SQLite. Both stores must hold the same rows in the end. What is measured is the processor time of either side, commits included:
both wait for the same disk, and other programs of the machine would decide about the rest.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest import mock

from bench.advance import peak_mib
from bench.ratio import Ratio
from bench.stores import DAY_MS, NOW, build
from flowctl.engine.advance import BATCH_ROWS, advance
from flowctl.engine.localtime import refresh_zones
from flowctl.engine.runtime import load
from flowctl.engine.steps import kind_of
from flowctl.store.database import PRAGMAS, open_store

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from flowctl.engine.runtime import Version
    from flowctl.engine.work import Batch

SPEED, MEMORY = "mix-speed", "mix-memory-mib"
SPEED_GOAL, MEMORY_GOAL_MIB = 0.4, 250.0
TURNS = 3
NAMED = 6  # of the slowest kinds

SETTINGS = """\
project: mix
store: sqlite:///flowctl.db
timezone: Europe/Paris
languages: [en]
contacts:
  fields:
    first_name: text
    plan: {type: choice, values: [free, silver, gold]}
    engagement: {type: number, default: 0}
    interests: {type: tags, values: [books, toys]}
    due_date: date
    push: text
events:
  signup:
  visit: {properties: {page: text}}
  purchase: {properties: {amount: number}}
senders: {shop: {name: Shop, email: shop@example.com, sms: Shop}}
channels:
  email: {adapter: maildir, path: mail}
  sms: {adapter: maildir, path: sms}
  push: {adapter: maildir, path: push}
teams: {sales: {members: [lea, tom, zoe], email: sales@example.com}}
records: {ticket: {fields: {subject: text, points: number}}}
services: {shop: {url: "https://shop.example.com"}}
public_url: https://news.example.com
"""
MESSAGES = """\
messages:
  offer:
    email: {from: shop, subject: "An offer", text: "Hello"}
    sms: {text: Hello}
    push: {title: Hello, text: Hello}
"""
# Kind → the steps behind the due wait; most then wait again, so that what is measured is a step and a parking.
KINDS: Mapping[str, str] = {
    "send": "{send: offer}",
    "send-one": "{send: offer, via: [sms, email]}",
    "send-all": "{send: offer, via: {all: [email, push]}}",
    "send-same": "{send: offer, via: {same_as: first}}",
    "wait": "{wait: 36h}",
    "wait-days": "{wait: 3d}",
    "wait-time": '{wait: 3d, time: "09:00"}',
    "wait-between": "{wait: {between: [1h, 3h]}}",
    "until-date": "{wait_until: {date: 2026-12-24T09:00}}",
    "until-field": '{wait_until: {from: contact.due_date, minus: 10d, time: "09:00", on_missing: continue, on_past: continue}}',
    "until-slot": '{wait_until: {slot: {days: tue-fri, between: ["09:00", "17:00"]}}}',
    "until-best": "{wait_until: {best_time: {channel: email, within: 24h}}}",
    "wait-event": "{wait_for: {event: visit}, timeout: 3d, then: [{exit: came}], on_timeout: [{exit: stayed-away}]}",
    "wait-field": "{wait_for: {field: plan, is: gold}, timeout: 3d, then: [{exit: golden}], on_timeout: [{exit: not-golden}]}",
    "if": "{if: {all: [{field: plan, in: [silver, gold]}, {event: purchase, since: 30d}]}, then: [{wait: 1d}], else: [{wait: 2d}]}",
    "choose": "{choose: [{when: {field: plan, is: gold}, do: [{wait: 1d}]}, {when: {field: engagement, gte: 50}, do: [{wait: 2d}]}], otherwise: [{wait: 3d}]}",
    "split": "{split: {a: 50, b: 50}, paths: {a: [{wait: 1d}], b: []}}",
    "repeat": "{repeat: {every: 7d, max: 3}, steps: [{wait: 1d}]}",
    "set": "{set: {plan: gold}}",
    "add": "{add: {engagement: 10}}",
    "tag": "{tag: {interests: [toys]}}",
    "untag": "{untag: {interests: [books]}}",
    "consent": "{consent: {grant: sms, purpose: marketing, source: form}}",
    "assign": "{assign: {team: sales}}",
    "create": "{create: {record: ticket, values: {subject: call, points: {from: contact.engagement}}}}",
    "notify": "{notify: {team: sales}, text: Somebody waits}",
    "task": "{task: {team: sales, title: Call them, timeout: 2d, outcomes: [called]}, then: [], on_timeout: []}",
    "start": "{start: resting}",
    "stop": "{stop: resting}",
    "fetch": '{fetch: {service: shop, path: "/stock", save_as: stock, sample: stock.json, on_error: continue}}',
    "advertise": "{advertise: {add: meta}}",
    "exit": "{exit: done}",
}
WORKFLOW = """\
workflow: {name}
description: One of many.
owner: bench
type: follow-up
triggers: [{{manual: true}}]
reentry: {{after: 30d, while_active: parallel}}
steps:
{first}  - {{id: due, wait: 2d}}
  - {step}
  - wait: 5d
"""

# What steps add to: tables whose rows have numbers of their own, and those whose have none.
GROWING = ("outbox", "journal", "contact_changes", "consent_log", "entries", "records", "tasks", "notices", "fetches")
KEYED = ("turns", "consents", "audience_members", "marks")
FIELDS = ("plan", "engagement", "interests", "owner")


def run(*, quick: bool = False) -> list[Ratio]:
    """All kinds at once, their ratio and the engine's peak memory; and the slowest kinds by name, for people."""
    each = 2_000 if quick else 5_000
    rows = each * (len(KINDS) + 1)
    with tempfile.TemporaryDirectory(prefix="flowctl-bench-") as folder:
        path = build(Path(folder) / "store", contacts=rows, events=rows * 2, enrollments=rows, write=write_project)
        _ready(path)
        took: dict[str, list[float]] = {"engine": [], "bare": []}
        peaks: list[float] = []
        kinds: dict[str, list[float]] = {}
        for _ in range(TURNS):
            for side, times in took.items():
                said = _measured(side, path)
                times.append(said["seconds"])
                if side == "engine":
                    peaks.append(said["peak_mib"])
                    for kind, seconds in said["kinds"].items():
                        kinds.setdefault(kind, []).append(seconds)
    typical_s = {side: statistics.median(times) for side, times in took.items()}
    rates = {side: f"{each * len(KINDS) / seconds:,.0f}/s" for side, seconds in typical_s.items()}
    slowest = sorted(((statistics.median(times), kind) for kind, times in kinds.items()), reverse=True)[:NAMED]
    return [
        Ratio(
            name=SPEED,
            value=typical_s["bare"] / typical_s["engine"],
            goal=SPEED_GOAL,
            at_least=True,
            detail=f"{len(KINDS)} kinds of step: engine {rates['engine']} of processor time, the bare writes of the same rows, values ready, "
            f"{rates['bare']}; slowest steps, without taking and writing back: "
            + ", ".join(f"{kind} {seconds / each * 1e6:.0f} µs" for seconds, kind in slowest),
        ),
        Ratio(
            name=MEMORY, value=max(peaks), goal=MEMORY_GOAL_MIB, detail=f"peak of the process that advanced {rows:,}"
        ),
    ]


def write_project(folder: Path) -> None:
    """A workflow a kind, and one that rests: what is started and stopped."""
    (folder / "flowctl.yaml").write_text(SETTINGS, encoding="utf-8")
    (folder / "messages.yaml").write_text(MESSAGES, encoding="utf-8")
    (folder / "stock.json").write_text('{"items": 3}', encoding="utf-8")
    for name, step in {**KINDS, "resting": "{wait: 1d}"}.items():
        first = "  - {id: first, send: offer}\n" if name == "send-same" else ""
        text = WORKFLOW.format(name=name, step=step, first=first)
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")


def _ready(path: Path) -> None:
    """Everybody stands at the due wait; those to be stopped are inside `resting`, those to be sent to again had a first message."""
    store = open_store(path, create=False)
    connection = store.connection
    (channel,) = connection.execute("SELECT id FROM names WHERE kind = 'channel' AND name = 'email'").fetchone()
    (message,) = connection.execute("SELECT id FROM names WHERE kind = 'message' AND name = 'offer'").fetchone()
    places = {
        workflow: (version, json.loads(program)["steps"])
        for version, workflow, program in connection.execute("SELECT id, workflow, program FROM workflow_versions")
    }
    connection.execute("BEGIN")
    connection.execute(
        "UPDATE contacts SET push = 'device-' || id, interests = CASE WHEN id % 2 THEN '[\"books\"]' END, "
        "due_date = CASE WHEN id % 3 THEN date('2026-03-20', '+' || (id % 60) || ' days') END"
    )
    connection.execute(
        "INSERT INTO consents (contact_id, channel, purpose, granted, at, source) "
        "SELECT id, 'push', 'marketing', 1, created_at, 'bench' FROM contacts"
    )
    # Half of those who will wait for a visit have made it, after they arrived.
    connection.execute(
        "INSERT INTO events (contact_id, type, at, props) SELECT contact_id, (SELECT id FROM event_types WHERE name = 'visit'), ?, '{}' "
        "FROM enrollments WHERE workflow = 'wait-event' AND id % 64 < 32",
        (NOW - 10_000,),
    )
    for version, steps in places.values():
        connection.execute("UPDATE enrollments SET pc = ? WHERE version_id = ?", (steps["due"], version))
    version, steps = places["send-same"]
    connection.execute(
        "INSERT INTO outbox (contact_id, enrollment_id, version_id, pc, visit, channel, message, recipient, marketing, priority, arrived_at, "
        "expires_at, state, counted_at, settled_at, attempts, key) SELECT contact_id, id, version_id, ?, 1, ?, ?, "
        "'person' || contact_id || '@example.com', 1, 50, ?, ?, 3, ?, ?, 1, 'first-' || id FROM enrollments WHERE version_id = ?",
        (steps["first"], channel, message, *[NOW - 3 * DAY_MS] * 4, version),
    )
    connection.execute(
        "UPDATE enrollments SET due_at = due_at + ?, until_at = until_at + ?, contact_id = "
        "(SELECT s.contact_id FROM enrollments s WHERE s.workflow = 'stop' AND (s.id - 1) / :turns = (enrollments.id - 1) / :turns) "
        "WHERE workflow = 'resting' AND (id - 1) / :turns IN (SELECT (s.id - 1) / :turns FROM enrollments s WHERE s.workflow = 'stop')".replace(
            ":turns", str(len(places))
        ),
        (30 * DAY_MS, 30 * DAY_MS),
    )
    connection.execute("COMMIT")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    store.close()


def _measured(side: str, whole: Path) -> dict[str, Any]:
    """One side on a fresh copy of the store, in a process of its own; the engine's copy stays, for the other to be compared with."""
    copy = whole.with_name(f"{side}.db")
    for left in copy.parent.glob(f"{copy.name}*"):
        left.unlink()
    shutil.copyfile(whole, copy)
    subprocess.run(["sync", "-f", str(copy)], check=False)
    done = subprocess.run(
        [sys.executable, "-m", "bench.mix", side, str(copy)], check=True, stdout=subprocess.PIPE, text=True
    )
    said: dict[str, Any] = json.loads(done.stdout)
    return said


@contextmanager
def _kinds_timed() -> Iterator[dict[str, float]]:
    """Processor seconds that the steps of each workflow take; reading the clock costs a millionth of a batch."""
    took: dict[str, float] = defaultdict(float)

    def timed(op: str) -> SimpleNamespace | None:
        kind = kind_of(op)
        if kind is None:
            return None

        def run(batch: Batch, version: Version, pc: int, said: dict[str, Any]) -> None:
            begin = time.process_time()
            kind.run(batch, version, pc, said)
            took[version.workflow] += time.process_time() - begin

        return SimpleNamespace(run=run)

    with mock.patch("flowctl.engine.advance.kind_of", timed):
        yield took


def _engine(path: Path) -> dict[str, Any]:
    store = open_store(path, create=False)
    runtime = load(store.connection)
    assert runtime is not None
    with _kinds_timed() as kinds:
        begin = time.process_time()
        refresh_zones(store.connection, NOW)
        done = advance(store.connection, runtime, NOW)
        elapsed_s = time.process_time() - begin
    assert not done.failed, done
    assert (
        done.rows
        == store.connection.execute("SELECT count(*) FROM enrollments WHERE workflow <> 'resting'").fetchone()[0]
    )
    store.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    store.close()
    return {"seconds": elapsed_s, "kinds": kinds}


def _bare(path: Path) -> dict[str, Any]:
    connection = sqlite3.connect(path, isolation_level=None)
    for pragma in PRAGMAS:
        connection.execute(pragma)
    connection.execute("ATTACH ? AS made", (str(path.with_name("engine.db")),))
    writes = [*_added(connection), *_changed(connection)]
    (last,) = connection.execute("SELECT max(id) FROM made.enrollments").fetchone()
    batches = -(-last // BATCH_ROWS)
    begin = time.process_time()
    for batch in range(batches):
        connection.execute("BEGIN IMMEDIATE")
        for statement, first, end in writes:
            rows = -(-(end - first) // batches)
            connection.execute(statement, (first + batch * rows, min(first + (batch + 1) * rows, end)))
        connection.execute("COMMIT")
    elapsed_s = time.process_time() - begin
    _check(connection)
    return {"seconds": elapsed_s}


def _added(connection: sqlite3.Connection) -> Iterator[tuple[str, int, int]]:
    """For each table that grew: a statement that writes the rows whose numbers lie from its first parameter to before its second; all numbers."""
    for table in GROWING:
        before, after = (
            connection.execute(f"SELECT coalesce(max(id), 0) FROM {where}.{table}").fetchone()[0]
            for where in ("main", "made")
        )
        yield (
            f"INSERT INTO main.{table} SELECT * FROM made.{table} WHERE id >= ? AND id < ? ORDER BY id",
            before + 1,
            after + 1,
        )
    for table in KEYED:
        new = f"SELECT * FROM made.{table} EXCEPT SELECT * FROM main.{table}"
        connection.execute(f"CREATE TEMP TABLE new_{table} AS {new}")
        (rows,) = connection.execute(f"SELECT count(*) FROM new_{table}").fetchone()
        yield (
            f"INSERT INTO main.{table} SELECT * FROM new_{table} WHERE rowid >= ? AND rowid < ? ORDER BY rowid",
            1,
            rows + 1,
        )


def _changed(connection: sqlite3.Connection) -> Iterator[tuple[str, int, int]]:
    """The same for rows that changed; what is over is written apart, as more of its columns are indexed."""
    moved = "pc = m.pc, at = m.at, due_at = m.due_at, until_at = m.until_at, visit = m.visit"
    ended = f"{moved}, state = m.state, reason = m.reason, ended_at = m.ended_at"
    fields = ", ".join(f"{name} = m.{name}" for name in FIELDS)
    differ = " OR ".join(f"m.{name} IS NOT o.{name}" for name in FIELDS)
    for table, sets, which in (
        ("enrollments", moved, "m.ended_at IS NULL AND m.pc IS NOT o.pc"),
        ("enrollments", ended, "m.ended_at IS NOT NULL"),
        ("contacts", fields, f"({differ})"),
    ):
        # As the engine's own: a list of what to write, then a join by number.
        name = f"changed_{table}_{'ended' if sets is ended else 'moved'}"
        connection.execute(
            f"CREATE TEMP TABLE {name} AS SELECT m.* FROM main.{table} o CROSS JOIN made.{table} m ON m.id = o.id WHERE {which} ORDER BY m.id"
        )
        (rows,) = connection.execute(f"SELECT count(*) FROM {name}").fetchone()
        statement = (
            f"UPDATE main.{table} SET {sets} FROM {name} m WHERE m.rowid >= ?1 AND m.rowid < ?2 AND m.id = {table}.id "
            f"AND {table}.id IN (SELECT id FROM {name} WHERE rowid >= ?1 AND rowid < ?2)"
        )
        yield statement, 1, rows + 1


def _check(connection: sqlite3.Connection) -> None:
    """Both stores hold the same."""
    for table in (*GROWING, *KEYED, "enrollments", "contacts"):
        for one, other in (("main", "made"), ("made", "main")):
            left = connection.execute(
                f"SELECT * FROM {one}.{table} EXCEPT SELECT * FROM {other}.{table} LIMIT 1"
            ).fetchone()
            assert left is None, (table, one, left)


def _main(side: str, path: str) -> None:
    said = (_engine if side == "engine" else _bare)(Path(path))
    print(json.dumps({**said, "peak_mib": peak_mib()}))


if __name__ == "__main__":
    _main(*sys.argv[1:])
