"""Messages shown in the app or on the site: put by the engine, fetched and marked as seen by the owner's program."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flowctl.failure import UsageFailure
from flowctl.store import statuses
from flowctl.store.database import transaction

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Mapping, Sequence


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """One message of a contact. Times are UTC milliseconds."""

    key: str
    channel: str
    message: str
    at: int
    seen_at: int | None
    content: dict[str, Any]  # title, text, url …


class Shelf:
    """What `adapter: inbox` writes to; inside the caller's transaction. `clock` gives UTC milliseconds."""

    def __init__(self, connection: sqlite3.Connection, clock: Callable[[], int]) -> None:
        self._connection = connection
        self._clock = clock

    def put(self, channel: str, key: str, content: Mapping[str, object]) -> str:
        """Put a message under its key, once; empty, or why it cannot be put."""
        owner = self._owner(key)
        if owner is None:
            return "the message is of no contact"
        self._connection.execute(
            "INSERT INTO inbox (contact_id, channel, key, content, at) VALUES (?, ?, ?, ?, ?) ON CONFLICT (key) DO NOTHING",
            (owner, channel, key, json.dumps(content, ensure_ascii=False), self._clock()),
        )
        return ""

    def _owner(self, key: str) -> int | None:
        row = self._connection.execute("SELECT contact_id FROM outbox WHERE key = ?", (key,)).fetchone()
        return int(row[0]) if row else None


def items(
    connection: sqlite3.Connection,
    contact_id: int,
    *,
    channel: str | None = None,
    every: bool = False,
    limit: int = 100,
) -> list[Item]:
    """A contact's messages, the newest first: those not seen yet, or every one."""
    rows = connection.execute(
        "SELECT i.key, i.channel, (SELECT n.name FROM outbox o JOIN names n ON n.id = o.message WHERE o.key = i.key), i.at, i.seen_at, i.content "
        "FROM inbox i WHERE i.contact_id = ? AND i.channel = coalesce(?, i.channel) AND (? OR i.seen_at IS NULL) ORDER BY i.id DESC LIMIT ?",
        (contact_id, channel, every, limit),
    )
    return [
        Item(key=row[0], channel=row[1], message=row[2] or "", at=row[3], seen_at=row[4], content=json.loads(row[5]))
        for row in rows
    ]


def settle(connection: sqlite3.Connection, keys: Sequence[str], *, now: int) -> int:
    """Of messages in doubt, settle those that are in the inbox: they were sent; how many. Inside a write transaction."""
    rows = connection.execute(
        "SELECT key FROM inbox WHERE key IN (SELECT value FROM json_each(?))", (json.dumps(keys),)
    )
    sendings = [sending for (key,) in rows.fetchall() if (sending := statuses.by_key(connection, key))]
    there = [statuses.Status(sending=sending, status=statuses.DELIVERED, at=now) for sending in sendings]
    return statuses.settle(connection, there, now=now)


def seen(connection: sqlite3.Connection, contact_id: int, key: str, *, now: int) -> bool:
    """Mark a contact's message as seen, which opens it; False where it was before.

    Raises:
        UsageFailure: the contact has no such message.
    """
    with transaction(connection):
        row = connection.execute(
            "SELECT id, seen_at FROM inbox WHERE contact_id = ? AND key = ?", (contact_id, key)
        ).fetchone()
        if row is None:
            message = f"this contact's inbox has no message {key!r}"
            raise UsageFailure(message, help="`flowctl inbox CONTACT --all` lists what there is")
        if row[1] is not None:
            return False
        connection.execute("UPDATE inbox SET seen_at = ? WHERE id = ?", (now, row[0]))
        sending = statuses.by_key(connection, key)
        if sending is not None:
            statuses.record(connection, [statuses.Status(sending=sending, status=statuses.OPENED, at=now)], now=now)
    return True
