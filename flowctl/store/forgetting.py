"""Forgetting people: no trace of them stays in the store's file, its write-ahead log or any later backup."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowctl.failure import Busy
from flowctl.store.coupons import spent_hash
from flowctl.store.database import transaction, translated
from flowctl.store.locking import exclusive
from flowctl.store.suppressions import ADDRESS_FIELDS, address_hash, suppress
from flowctl.store.traces import traces

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from flowctl.store.database import Store

SOURCE = "contacts forget"  # what a suppression says of itself when its contact is gone
UNSWEPT = "forgetting"  # the cursor that stands while the file may still hold what was deleted
# Cursors that are ids, and their tables. Without AUTOINCREMENT the newest row's id is given again once the row is gone, and a
# cursor that stood at it would pass over the next one. (`contacts`, `records` and `enrollments` never give an id twice.)
_CURSORS = {
    "events": ("events",),
    "journal": ("journal",),
    "transitions": ("transitions",),
    "contact_changes": ("changes", "changes.seen"),
    "message_events": ("statuses", "statuses.seen"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Forgotten:
    """What was deleted, by table, and how many suppressed addresses live on as hashes."""

    rows: dict[str, int]
    suppressed: int


def forget(store: Store, contact_ids: Sequence[int], *, suppress_all: bool = False, now: int) -> Forgotten:
    """Delete contacts with everything about them, and rewrite the file so that nothing of it lies in free pages.

    Suppressions stay as keyed hashes that say no more than channel, reason and time; a withdrawn consent to marketing becomes
    one (reason `unsubscribed`). `suppress_all` suppresses every address they have. `now` is UTC ms.

    Raises:
        Busy: a tick runs; or a reader holds old pages, and `sweep` has to be called again.
        Failure: no room on the disk to rewrite the file; what was asked is deleted, and `sweep` has to be called again.
    """
    with exclusive(store):
        connection = store.connection
        # Rows that go are overwritten at once, although the sweep rewrites the file: it may fail for want of room.
        connection.execute("PRAGMA secure_delete = ON")
        # Every table that refers to a contact is in `traces` by its reference; checking each row again would scan the tables
        # that have no index by contact, once a person.
        connection.execute("PRAGMA foreign_keys = OFF")
        try:
            with transaction(connection):
                done = _delete(store, contact_ids, suppress_all=suppress_all, now=now)
        finally:
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("PRAGMA secure_delete = OFF")
        _sweep(store)
    return done


def unswept(connection: sqlite3.Connection) -> bool:
    """Whether an earlier `forget` was stopped before the file was rewritten."""
    return connection.execute("SELECT 1 FROM cursors WHERE name = ?", (UNSWEPT,)).fetchone() is not None


def sweep(store: Store) -> None:
    """Finish what an earlier `forget` could not. Raises as it does."""
    with exclusive(store):
        _sweep(store)


def _sweep(store: Store) -> None:
    """Rewrite the file without free pages, and cut the write-ahead log to nothing."""
    connection = store.connection
    with translated(connection):
        connection.execute("VACUUM")
        (busy, *_) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if busy:
        message = "forgotten, but another program still reads the store, whose write-ahead log keeps old pages for it"
        raise Busy(message, help="`flowctl contacts forget`, without a name, finishes when that program is done")
    with transaction(connection):
        connection.execute("DELETE FROM cursors WHERE name = ?", (UNSWEPT,))


def _delete(store: Store, contact_ids: Sequence[int], *, suppress_all: bool, now: int) -> Forgotten:
    connection = store.connection
    said = {"contacts": json.dumps(list(contact_ids))}
    addresses = _addresses(connection, said)
    _suppress(connection, said, addresses if suppress_all else [], now)
    suppressed = _anonymise(store, addresses)
    _spend(store, said)
    rows: Counter[str] = Counter()
    for trace in traces(connection):
        rows[trace.table] += connection.execute(f'DELETE FROM "{trace.table}" WHERE {trace.condition}', said).rowcount
    for table, cursors in _CURSORS.items():
        connection.execute(
            f"UPDATE cursors SET value = min(value, (SELECT coalesce(max(id), 0) FROM {table})) "
            "WHERE name IN (SELECT value FROM json_each(?))",
            (json.dumps(cursors),),
        )
    connection.execute("INSERT INTO cursors (name, value) VALUES (?, ?) ON CONFLICT (name) DO NOTHING", (UNSWEPT, now))
    return Forgotten(rows={table: count for table, count in rows.items() if count}, suppressed=suppressed)


def _addresses(connection: sqlite3.Connection, said: dict[str, str]) -> list[tuple[str, str]]:
    """Channel and address of all they have, had, or were written at."""
    among = "IN (SELECT value FROM json_each(:contacts))"
    parts = ["SELECT n.name, o.recipient FROM outbox o JOIN names n ON n.id = o.channel WHERE o.contact_id " + among]
    for channel, field in ADDRESS_FIELDS.items():
        parts.append(f"SELECT '{channel}', {field} FROM contacts WHERE {field} IS NOT NULL AND id {among}")
        parts += [
            f"SELECT '{channel}', {side} FROM contact_changes WHERE field = '{field}' AND {side} IS NOT NULL AND contact_id {among}"
            for side in ("old", "new")
        ]
    return connection.execute(" UNION ".join(parts), said).fetchall()


def _suppress(
    connection: sqlite3.Connection, said: dict[str, str], everything: list[tuple[str, str]], now: int
) -> None:
    """Keep a withdrawn consent as a suppression; and what a person said not to write to again."""
    for channel, field in ADDRESS_FIELDS.items():
        withdrawn = connection.execute(
            f"SELECT c.{field}, s.at FROM consents s JOIN contacts c ON c.id = s.contact_id WHERE s.channel = :channel "
            f"AND s.purpose = 'marketing' AND s.granted = 0 AND c.{field} IS NOT NULL "
            "AND c.id IN (SELECT value FROM json_each(:contacts))",
            {**said, "channel": channel},
        ).fetchall()
        for address, at in withdrawn:
            suppress(connection, channel, [address], reason="unsubscribed", source=SOURCE, at=at, now=now)
    for channel, address in everything:
        suppress(connection, channel, [address], reason="manual", source=SOURCE, at=now, now=now)


def _anonymise(store: Store, addresses: list[tuple[str, str]]) -> int:
    """Take the words out of suppressions of these addresses: a server's reply repeats the address. How many there are.

    What a provider said when it refused everything may repeat it too.
    """
    hashes = [(channel, address_hash(store.secret, channel, address)) for channel, address in addresses]
    changed = 0
    for channel, digest in dict.fromkeys(hashes):
        changed += bool(
            store.connection.execute(
                "UPDATE suppressions SET source = ? WHERE channel = ? AND hash = ?", (SOURCE, channel, digest)
            ).rowcount
        )
    store.connection.executemany(
        "UPDATE breakers SET reply = 'refused' WHERE instr(lower(reply), lower(?))",
        [(address,) for _, address in addresses],
    )
    return changed


def _spend(store: Store, said: dict[str, str]) -> None:
    """Coupons of theirs are spent, although nobody has them: a code imported again is given to nobody else."""
    rows = store.connection.execute(
        "SELECT name, code FROM coupons WHERE contact_id IN (SELECT value FROM json_each(:contacts))", said
    ).fetchall()
    store.connection.executemany(
        "INSERT INTO coupons_spent (name, hash) VALUES (?, ?) ON CONFLICT (name, hash) DO NOTHING",
        [(name, spent_hash(store.secret, code)) for name, code in rows],
    )
