"""Tells services of records that workflows created: again and again with the same key until the service has them."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from time import monotonic
from typing import TYPE_CHECKING, Any

from flowctl.channels.channel import Letter
from flowctl.channels.http import HttpChannel, HttpSettings
from flowctl.engine.adapters import resolved
from flowctl.failure import Failure
from flowctl.store.database import transaction

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Mapping

    from flowctl.channels.channel import Connection, Receipt
    from flowctl.engine.runtime import Runtime
    from flowctl.store.database import Store

READY, PUSHED, FAILED = range(3)
ROWS_MAX = 500  # a tick
PUSH_S = 60.0  # what a tick spends on it
ATTEMPTS_MAX = 8  # the last one two hours after the first
BACKOFF_MS = 60_000  # doubled at each attempt
DOWN_AFTER = 3  # failures in a row that speak for everything that waits for the service
_WAITING = (
    "SELECT p.record_id, p.attempts, r.kind, r.key, r.at, r.record_values, c.id, c.key, c.email, c.phone, "
    "(SELECT e.workflow FROM enrollments e WHERE e.id = r.enrollment_id) "
    "FROM record_pushes p JOIN records r ON r.id = p.record_id JOIN contacts c ON c.id = p.contact_id "
    f"WHERE p.ready_at <= ? ORDER BY r.kind, r.id LIMIT {ROWS_MAX}"
)


@dataclass(kw_only=True)
class Pushed:
    """What telling services did, and what those said that took nothing."""

    pushed: int = 0
    failed: int = 0
    refusals: dict[str, str] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Row:
    record_id: int
    attempts: int
    kind: str
    document: dict[str, Any]


def push_records(store: Store, runtime: Runtime, clock: Callable[[], int]) -> Pushed:
    """Everything that is ready; in an experiment nothing is asked, and every service has heard."""
    done = Pushed(refusals={})
    until_s = monotonic() + PUSH_S
    rows = [_row(row) for row in store.connection.execute(_WAITING, (clock(),)).fetchall()]
    if runtime.experiment is not None:
        with transaction(store.connection):
            for row in rows:
                _settle(store.connection, row.record_id, PUSHED, "not asked: an experiment", clock())
        return done
    for kind, group in groupby(rows, key=lambda row: row.kind):
        _push_kind(store, runtime, kind, list(group), clock, until_s, done)
    return done


def _push_kind(
    store: Store, runtime: Runtime, kind: str, rows: list[_Row], clock: Callable[[], int], until_s: float, done: Pushed
) -> None:
    """The records of one kind, one after the other on one line."""
    assert done.refusals is not None  # noqa: S101 - made so above
    try:
        line = _channel(runtime, kind).open()
    except Failure as failure:
        done.refusals[f"records {kind}"] = failure.message
        _wait(store.connection, rows, clock() + BACKOFF_MS, failure.message)
        return
    in_a_row = 0
    try:
        for number, row in enumerate(rows):
            if monotonic() >= until_s:
                break
            receipt = _push(store, line, row, clock)
            done.pushed += receipt.outcome == "sent"
            in_a_row = 0 if receipt.outcome in ("sent", "failed") else in_a_row + 1
            if receipt.opens_breaker or in_a_row >= DOWN_AFTER:
                done.refusals[f"records {kind}"] = receipt.reply
                wait_ms = int((receipt.retry_after_s or 0) * 1000) or BACKOFF_MS
                _wait(store.connection, rows[number + 1 :], clock() + wait_ms, receipt.reply)
                break
            done.failed += receipt.outcome == "failed"
    finally:
        line.close()


def _channel(runtime: Runtime, kind: str) -> HttpChannel:
    """The service of a kind, as a provider that knows a record again by its key.

    Raises:
        Failure: the release knows none any more, or a secret is missing.
    """
    push = runtime.said.get("pushes", {}).get(kind)
    service = runtime.said["services"].get(push["service"]) if push else None
    if service is None:
        message = f"the release has no service for the record {kind}"
        raise Failure(message, help=f"say `records: {{{kind}: {{service: …}}}}` and apply it")
    said = resolved({"url": service["url"], "headers": service["headers"]}, os.environ)
    plain = {name: _plain(str(value)) for name, value in said["headers"].items()}
    description = {
        "provider": push["service"],
        "request": {
            "method": "POST",
            "url": _plain(said["url"].rstrip("/") + push["path"]),
            "headers": plain,
            "json": "{document}",
        },
        "idempotency_header": "Idempotency-Key",
        # 409: it has the record already.
        "answers": [{"status": ["2xx", 409], "means": "sent"}],
    }
    timeout_s = service["timeout_ms"] / 1000
    return HttpChannel(
        HttpSettings(
            description=description,
            values={f"secret_{number}": str(value) for number, value in enumerate(said["headers"].values())},
            private=service["private"],
            timeout_s=timeout_s,
            reply_timeout_s=timeout_s,
        )
    )


def _plain(text: str) -> str:
    """A text in which no braces name anything."""
    return text.replace("{", "{{").replace("}", "}}")


def _push(store: Store, line: Connection, row: _Row, clock: Callable[[], int]) -> Receipt:
    connection = store.connection
    letter = Letter(
        key=f"record-{row.record_id}-{store.uuid[:8]}", message_id="", channel="record", sender="", recipient="",
        payload={"document": row.document}, marketing=False,
    )  # fmt: skip
    receipt = line.transmit(letter, lambda: _is_ready(connection, row.record_id))
    with transaction(connection):
        now = clock()
        if receipt.outcome == "sent":
            _settle(connection, row.record_id, PUSHED, receipt.reply, now)
        elif receipt.outcome == "failed" or (not receipt.opens_breaker and row.attempts + 1 >= ATTEMPTS_MAX):
            _settle(connection, row.record_id, FAILED, receipt.reply, now)
        elif not receipt.fenced:
            wait_ms = int((receipt.retry_after_s or 0) * 1000) or BACKOFF_MS << row.attempts
            connection.execute(
                "UPDATE record_pushes SET ready_at = ?, attempts = attempts + ?, reply = ? WHERE record_id = ? AND state = 0",
                (now + wait_ms, int(not receipt.opens_breaker), receipt.reply, row.record_id),
            )
    return receipt


def _is_ready(connection: sqlite3.Connection, record_id: int) -> bool:
    """Whether the record is still to be told of: its contact may have been forgotten meanwhile."""
    row = connection.execute("SELECT 1 FROM record_pushes WHERE record_id = ? AND state = 0", (record_id,)).fetchone()
    return row is not None


def _settle(connection: sqlite3.Connection, record_id: int, state: int, reply: str, now: int) -> None:
    connection.execute(
        "UPDATE record_pushes SET state = ?, ready_at = NULL, settled_at = ?, attempts = attempts + 1, reply = ? WHERE record_id = ? AND state = 0",
        (state, now, reply, record_id),
    )


def _wait(connection: sqlite3.Connection, rows: list[_Row], until: int, reply: str) -> None:
    with transaction(connection):
        connection.executemany(
            "UPDATE record_pushes SET ready_at = ?, reply = ? WHERE record_id = ? AND state = 0",
            [(until, reply, row.record_id) for row in rows],
        )


def _row(row: tuple[Any, ...]) -> _Row:
    record_id, attempts, kind, key, at, values, contact_id, *contact, workflow = row
    document: Mapping[str, Any] = {
        "record": kind,
        "id": record_id,
        "key": key,
        "at": datetime.fromtimestamp(at / 1000, UTC).isoformat().replace("+00:00", "Z"),
        "workflow": workflow,
        "contact": {"id": contact_id, **dict(zip(("key", "email", "phone"), contact, strict=True))},
        "values": json.loads(values),
    }
    return _Row(record_id=record_id, attempts=attempts, kind=kind, document=dict(document))
