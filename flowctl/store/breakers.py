"""Which channels' providers refuse everything, remembered from tick to tick."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowctl.store.database import transaction

if TYPE_CHECKING:
    import sqlite3

WAIT_MS = 5 * 60_000  # after the first refusal; doubled with each one in a row: 5, 10, 20, 40, 60 minutes
WAIT_MS_MAX = 3_600_000
# Providers repeat the recipient; what is remembered of a provider is about nobody, and outlives who asks to be forgotten.
_ADDRESS = re.compile(r"[^\s<>@:;,]+@[^\s<>@:;,]+|\+\d[\d ./-]{6,}\d|\b\d{9,}\b")


@dataclass(frozen=True, kw_only=True, slots=True)
class Breaker:
    """A provider that refused everything; it is tried with one message at `until_at`. UTC ms."""

    channel: str
    opened_at: int
    until_at: int
    refusals: int
    reply: str


def breakers(connection: sqlite3.Connection) -> list[Breaker]:
    """All that are open or on trial."""
    rows = connection.execute(
        "SELECT channel, opened_at, until_at, refusals, reply FROM breakers ORDER BY channel"
    ).fetchall()
    return [
        Breaker(channel=channel, opened_at=opened, until_at=until, refusals=refusals, reply=reply)
        for channel, opened, until, refusals, reply in rows
    ]


def refused(connection: sqlite3.Connection, channel: str, reply: str, *, wait_ms: int, now: int) -> int:
    """A provider refused everything (once more); `wait_ms` is what it asked for, or 0. Returns when to try it again, UTC ms."""
    with transaction(connection):
        (before,) = connection.execute(
            "SELECT coalesce((SELECT refusals FROM breakers WHERE channel = ?), 0)", (channel,)
        ).fetchone()
        until = now + (wait_ms or min(WAIT_MS << min(before, 10), WAIT_MS_MAX))
        connection.execute(
            "INSERT INTO breakers (channel, opened_at, until_at, refusals, reply) VALUES (?, ?, ?, ?, ?) ON CONFLICT (channel) DO UPDATE "
            "SET until_at = excluded.until_at, refusals = excluded.refusals, reply = excluded.reply",
            (channel, now, until, before + 1, _ADDRESS.sub("…", reply)),
        )
    return until


def taken(connection: sqlite3.Connection, channel: str) -> None:
    """A provider took a message, or refused it for what it is: it works."""
    with transaction(connection):
        connection.execute("DELETE FROM breakers WHERE channel = ?", (channel,))


def retry_now(connection: sqlite3.Connection, channel: str, *, now: int) -> tuple[bool, int]:
    """Try a provider at the next tick, whatever it said; whether it refused, and how many messages waited for it."""
    with transaction(connection):
        was_open = connection.execute("UPDATE breakers SET until_at = ? WHERE channel = ?", (now, channel)).rowcount
        waiting = connection.execute(
            "UPDATE outbox SET ready_at = ?1 WHERE ready_at > ?1 AND reason = 'provider' "
            "AND channel = (SELECT id FROM names WHERE kind = 'channel' AND name = ?2)",
            (now, channel),
        ).rowcount
        # Alerts wait for the same provider: by e-mail, or the one that their recipient names.
        waiting += connection.execute(
            "UPDATE notices SET ready_at = ?1 WHERE ready_at > ?1 AND CASE WHEN recipient GLOB 'alert:*' THEN recipient ELSE 'email' END = ?2",
            (now, channel),
        ).rowcount
    return was_open > 0, waiting
