"""Suppressions: addresses that must not be written to, kept as keyed hashes, and who has such an address now."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence

Reason = Literal["manual", "unsubscribed", "complained", "bounced", "refused"]
# The contact field that holds a channel's address; the other channels' addresses are tokens, which come and go by themselves.
ADDRESS_FIELDS = {"email": "email", "sms": "phone", "whatsapp": "phone"}


def normalised(channel: str, address: str) -> str:
    """An address as it is hashed: e-mail without regard to case, the rest as it is (phones are E.164 in the store)."""
    address = address.strip()
    return address.casefold() if channel == "email" else address


def address_hash(secret: str, channel: str, address: str) -> str:
    """HMAC-SHA-256 of a normalised address, hex; the SQL function `address_hash(channel, address)` of every open store."""
    from hmac import digest  # noqa: PLC0415 - few commands hash

    return digest(bytes.fromhex(secret), normalised(channel, address).encode(), "sha256").hex()


def suppress(
    connection: sqlite3.Connection,
    channel: str,
    addresses: Iterable[str],
    *,
    reason: Reason,
    source: str,
    at: int,
    now: int,
) -> int:
    """Suppress addresses on a channel, and tell of everybody who has one; how many were not suppressed before.

    `at` is when the fact happened, `now` when the store learnt it (UTC milliseconds); inside a write transaction.
    """
    new = 0
    for address in addresses:
        row = connection.execute(
            "INSERT INTO suppressions (channel, hash, reason, at, source) VALUES (?1, address_hash(?1, ?2), ?3, ?4, ?5) "
            "ON CONFLICT (channel, hash, contact_id) DO NOTHING RETURNING hash",
            (channel, address, reason, at, source),
        ).fetchone()
        new += row is not None
        _link(connection, channel, _holders(connection, channel, address), now)
    return new


def restate(
    connection: sqlite3.Connection, channel: str, address: str, *, was: Reason, reason: Reason, source: str, at: int
) -> None:
    """Give another reason for a suppression that stands for the one it `was`, where there is one; inside a write transaction."""
    connection.execute(
        "UPDATE suppressions SET reason = ?4, source = ?5, at = ?6 WHERE channel = ?1 AND hash = address_hash(?1, ?2) AND reason = ?3",
        (channel, address, was, reason, source, at),
    )


def link(connection: sqlite3.Connection, contact_ids: Sequence[int], *, now: int, new: bool = False) -> int:
    """After contacts came or changed addresses: bind them to suppressions of what they have now; how many are suppressed.

    `new` contacts have no old addresses and write no changes. Inside a write transaction.
    """
    if connection.execute("SELECT 1 FROM suppressions LIMIT 1").fetchone() is None:
        return 0
    if not new:
        _unlink_stale(connection, contact_ids, now)
    return sum(_link(connection, channel, contact_ids, now, new=new) for channel in ADDRESS_FIELDS)


def lift(connection: sqlite3.Connection, contact_id: int, channel: str, *, now: int, source: str | None = None) -> bool:
    """Lift what the contact's own unsubscribing suppressed, because it asked for messages again; whether there was any.

    Bounces, complaints and suppressions by hand stay; where a `source` is given, so does what came from another.
    """
    hashes = connection.execute(
        "SELECT hash FROM suppressions WHERE contact_id = ?1 AND channel = ?2 AND reason = 'unsubscribed' AND source = coalesce(?3, source)",
        (contact_id, channel, source),
    ).fetchall()
    for (digest,) in hashes:
        holders = connection.execute(
            "DELETE FROM suppressions WHERE channel = ? AND hash = ? RETURNING contact_id", (channel, digest)
        ).fetchall()
        _tell(connection, channel, [holder for (holder,) in holders if holder], 1, 0, now)
    return bool(hashes)


def of_contact(connection: sqlite3.Connection, contact_id: int) -> list[tuple[str, str, int, str]]:
    """Channel, reason, time and source of each suppression of what the contact has now."""
    return connection.execute(
        "SELECT channel, reason, at, source FROM suppressions WHERE contact_id = ? ORDER BY channel", (contact_id,)
    ).fetchall()


def is_suppressed(connection: sqlite3.Connection, channel: str, address: str) -> bool:
    """Whether an address is suppressed on a channel, whoever has it."""
    row = connection.execute(
        "SELECT 1 FROM suppressions WHERE channel = ?1 AND hash = address_hash(?1, ?2)", (channel, address)
    ).fetchone()
    return row is not None


def _holders(connection: sqlite3.Connection, channel: str, address: str) -> list[int]:
    column = ADDRESS_FIELDS.get(channel)
    if column is None:
        return []
    rows = connection.execute(f"SELECT id FROM contacts WHERE {column} = ?", (address.strip(),)).fetchall()
    return [contact_id for (contact_id,) in rows]


def _link(
    connection: sqlite3.Connection, channel: str, contact_ids: Sequence[int], now: int, *, new: bool = False
) -> int:
    column = ADDRESS_FIELDS.get(channel)
    if column is None or not contact_ids:
        return 0
    # The suppressed addresses are few and the contacts many, but only a contact's address gives its hash. DO NOTHING with its
    # target: a contact may come again with what it had.
    linked = connection.execute(
        f"INSERT INTO suppressions (channel, hash, reason, at, source, contact_id) "
        f"SELECT s.channel, s.hash, s.reason, s.at, s.source, c.id FROM contacts c "
        f"CROSS JOIN suppressions s ON s.channel = ?1 AND s.hash = address_hash(?1, CAST(c.{column} AS BLOB)) AND s.contact_id = 0 "
        f"WHERE c.id IN (SELECT value FROM json_each(?2)) AND c.{column} IS NOT NULL "
        "ON CONFLICT (channel, hash, contact_id) DO NOTHING RETURNING contact_id",
        (channel, json.dumps(contact_ids)),
    ).fetchall()
    if not new:
        _tell(connection, channel, [contact_id for (contact_id,) in linked], 0, 1, now)
    return len(linked)


def _unlink_stale(connection: sqlite3.Connection, contact_ids: Sequence[int], now: int) -> None:
    for channel, column in ADDRESS_FIELDS.items():
        gone = connection.execute(
            f"DELETE FROM suppressions WHERE contact_id IN (SELECT value FROM json_each(?2)) AND channel = ?1 AND contact_id <> 0 "
            f"AND hash IS NOT (SELECT address_hash(?1, CAST(c.{column} AS BLOB)) FROM contacts c WHERE c.id = suppressions.contact_id) "
            "RETURNING contact_id",
            (channel, json.dumps(contact_ids)),
        ).fetchall()
        _tell(connection, channel, [contact_id for (contact_id,) in gone], 1, 0, now)


def _tell(
    connection: sqlite3.Connection, channel: str, contact_ids: Sequence[int], old: int, new: int, now: int
) -> None:
    rows = ((contact_id, f"suppressed.{channel}", old, new, now) for contact_id in contact_ids)
    connection.executemany("INSERT INTO contact_changes (contact_id, field, old, new, at) VALUES (?, ?, ?, ?, ?)", rows)
