"""Asks services what `fetch` steps want to know: between transactions, several at once, a service that is down not for ever."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any

from flowctl.engine.adapters import resolved
from flowctl.engine.conditions.literal import literal
from flowctl.engine.web import Service, Unfetched, get_json
from flowctl.failure import Failure
from flowctl.store.database import transaction

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from flowctl.engine.runtime import Runtime

ROWS_MAX = 64  # asked between two transactions
THREADS = 8
BACKOFF_MS = 60_000  # doubled at each attempt
DOWN_AFTER = 8  # failures in a row that count for everybody who waits for the service


@dataclass(frozen=True, kw_only=True, slots=True)
class _Row:
    id: int
    enrollment_id: int
    service: str
    path: str
    save_as: str
    attempts: int


@dataclass(frozen=True, kw_only=True, slots=True)
class _Answer:
    """JSON, or why there is none and whether to ask again."""

    row: _Row
    json: str | None
    reason: str = ""
    again: bool = False


def fetch_waiting(
    connection: sqlite3.Connection,
    runtime: Runtime,
    now: int,
    *,
    until_s: float = inf,
    get: Callable[[Service, str], str] = get_json,
) -> int:
    """Ask for what waits at `now` (UTC ms); returns how many enrollments may go on. In no transaction of the caller's.

    At `until_s`, by the monotonic clock, it leaves the rest to the next tick.
    """
    settled = 0
    failures: dict[str, int] = {}
    while monotonic() < until_s and (rows := _waiting(connection, runtime, now)):
        down = {service for service, count in failures.items() if count >= DOWN_AFTER}
        asked = [row for row in rows if row.service not in down]
        answers = [
            _Answer(row=row, json=None, reason="the service is down", again=True) for row in rows if row.service in down
        ]
        answers += _ask(runtime, asked, get)
        for answer in answers:
            count = failures.get(answer.row.service, 0)
            failures[answer.row.service] = count + 1 if answer.again else 0
        with transaction(connection):
            settled += sum(_settle(connection, runtime, answer, now) for answer in answers)
    return settled


def take_samples(connection: sqlite3.Connection, now: int) -> int:
    """Let who waits for a service arrive on its step anew: in a simulation, where the sample answers."""
    with transaction(connection):
        woken = connection.execute(
            "UPDATE enrollments SET due_at = ?, until_at = NULL WHERE id IN (SELECT enrollment_id FROM fetches WHERE ready_at IS NOT NULL) "
            "AND ended_at IS NULL AND due_at IS NULL",
            (now,),
        ).rowcount
        connection.execute(
            "UPDATE fetches SET state = 3, ready_at = NULL, settled_at = ? WHERE ready_at IS NOT NULL", (now,)
        )
    return woken


def _waiting(connection: sqlite3.Connection, runtime: Runtime, now: int) -> list[_Row]:
    """The next rows; those whose enrollment went elsewhere are put aside, those of paused workflows rest."""
    with transaction(connection):
        connection.execute(
            "UPDATE fetches AS f SET state = 3, ready_at = NULL, settled_at = :now WHERE f.ready_at <= :now "
            "AND NOT EXISTS (SELECT 1 FROM enrollments e WHERE e.id = f.enrollment_id AND e.pc = f.pc AND e.at = f.at AND e.ended_at IS NULL)",
            {"now": now},
        )
    resting = [version.id for version in runtime.versions.in_flight() if not runtime.runs(version.workflow)]
    rows = connection.execute(
        "SELECT id, enrollment_id, service, path, save_as, attempts FROM fetches WHERE ready_at <= ? "
        f"AND version_id NOT IN ({', '.join(map(str, resting))}) ORDER BY ready_at, id LIMIT {ROWS_MAX}",
        (now,),
    )
    return [
        _Row(id=row[0], enrollment_id=row[1], service=row[2], path=row[3], save_as=row[4], attempts=row[5])
        for row in rows
    ]


def _ask(runtime: Runtime, rows: list[_Row], get: Callable[[Service, str], str]) -> list[_Answer]:
    services = {name: _service(runtime, name) for name in {row.service for row in rows}}

    def answer(row: _Row) -> _Answer:
        service = services[row.service]
        if isinstance(service, str):
            return _Answer(row=row, json=None, reason=service, again=True)
        try:
            return _Answer(row=row, json=get(service, row.path))
        except Unfetched as fault:
            return _Answer(row=row, json=None, reason=str(fault), again=fault.again)

    if len(rows) == 1:
        return [answer(rows[0])]
    with ThreadPoolExecutor(max_workers=THREADS) as pool:
        return list(pool.map(answer, rows))


def _service(runtime: Runtime, name: str) -> Service | str:
    """A service with its secrets, or why there is none."""
    said: dict[str, Any] | None = runtime.said["services"].get(name)
    if said is None:
        return f"the release has no service {name}"
    try:
        made = resolved({"url": said["url"], "headers": said["headers"]}, os.environ)
    except Failure as failure:
        return failure.message
    headers = {key: str(value) for key, value in made["headers"].items()}
    return Service(url=str(made["url"]), headers=headers, timeout_s=said["timeout_ms"] / 1000, private=said["private"])


def _settle(connection: sqlite3.Connection, runtime: Runtime, answer: _Answer, now: int) -> int:
    """Write down one answer; returns 1 where the enrollment may go on."""
    row = answer.row
    retries = runtime.said["services"].get(row.service, {}).get("retries", 0)
    if answer.json is None and answer.again and row.attempts < retries:
        connection.execute(
            "UPDATE fetches SET attempts = attempts + 1, ready_at = ?, reason = ? WHERE id = ? AND state = 0",
            (now + (BACKOFF_MS << row.attempts), answer.reason, row.id),
        )
        return 0
    taken = connection.execute(
        "UPDATE fetches SET attempts = attempts + 1, state = ?, ready_at = NULL, settled_at = ?, reason = ? WHERE id = ? AND state = 0",
        (2 if answer.json is None else 1, now, answer.reason or None, row.id),
    ).rowcount
    if not taken:
        return 0
    path = literal(f'$."{row.save_as}"')
    saved = "" if answer.json is None else f", data = json_set(coalesce(data, '{{}}'), {path}, json(:answer))"
    return connection.execute(
        f"UPDATE enrollments SET due_at = :now{saved} WHERE id = :id AND ended_at IS NULL",
        {"now": now, "id": row.enrollment_id, "answer": answer.json},
    ).rowcount
