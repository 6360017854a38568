"""Consents: what each contact agreed to per channel and purpose, the newest word on top of a log of all."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence

CHANNELS = ("email", "sms", "whatsapp", "push", "web_push", "in_app", "on_site")
MARKETING = "marketing"
_TOPIC = "topic:"  # before a topic's name, as a purpose
EVERY_CHANNEL = "all"  # a topic is opted out of on all of them
_CURRENT = "SELECT contact_id, channel, purpose, granted, at FROM consents WHERE contact_id IN (SELECT value FROM json_each(?))"
_UPSERT = (
    "INSERT INTO consents (contact_id, channel, purpose, granted, at, source) VALUES (?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (contact_id, channel, purpose) DO UPDATE SET granted = excluded.granted, at = excluded.at, source = excluded.source"
)
_LOG = "INSERT INTO consent_log (contact_id, channel, purpose, granted, at, source) VALUES (?, ?, ?, ?, ?, ?)"
_CHANGE = "INSERT INTO contact_changes (contact_id, field, old, new, at) VALUES (?, ?, ?, ?, ?)"


@dataclass(frozen=True, kw_only=True, slots=True)
class Statement:
    """Somebody agreed or withdrew. `at` is UTC milliseconds; None where nobody knows when, so that it outdoes no withdrawal."""

    contact_id: int
    channel: str
    granted: bool
    at: int | None
    source: str
    purpose: str = MARKETING


def record(
    connection: sqlite3.Connection, statements: Sequence[Statement], *, now: int, first_new_id: int | None = None
) -> int:
    """Store statements in their order; how many grants were turned away because they have no date and a withdrawal stands.

    The newest by `at` holds; of two at one instant the withdrawal. An undated statement counts as of `now` where it changes
    something, and never outdoes a withdrawal: importing an old list again must not undo an unsubscription.
    Contacts from `first_new_id` on are being created: they write no contact_changes. Inside a write transaction.
    """
    known = _current(connection, statements)
    taken: list[tuple[int, str, str, int, int, str]] = []
    changes: list[tuple[int, str, int | None, int, int]] = []
    kept = 0
    for said in statements:
        place = (said.contact_id, said.channel, said.purpose)
        before = known.get(place)
        if before is not None and not _outdoes(said, *before):
            kept += said.at is None and said.granted and not before[0]
            continue
        if before is None and said.granted and said.purpose != MARKETING:
            continue  # nobody opted out, so there is nothing to take back
        at = now if said.at is None else said.at
        known[place] = (int(said.granted), at)
        taken.append((*place, int(said.granted), at, said.source))
        old = before[0] if before else None
        if old != said.granted and (first_new_id is None or said.contact_id < first_new_id):
            changes.append((said.contact_id, field(said), old, int(said.granted), now))
    connection.executemany(_UPSERT, taken)
    connection.executemany(_LOG, taken)
    connection.executemany(_CHANGE, changes)
    return kept


def of_contact(connection: sqlite3.Connection, contact_id: int) -> list[tuple[str, str, int, int, str]]:
    """Channel, purpose, granted, time and source of what holds now."""
    return connection.execute(
        "SELECT channel, purpose, granted, at, source FROM consents WHERE contact_id = ? ORDER BY purpose, channel",
        (contact_id,),
    ).fetchall()


def _current(
    connection: sqlite3.Connection, statements: Iterable[Statement]
) -> dict[tuple[int, str, str], tuple[int, int]]:
    ids = sorted({said.contact_id for said in statements})
    rows = connection.execute(_CURRENT, (json.dumps(ids),))
    return {(contact_id, channel, purpose): (granted, at) for contact_id, channel, purpose, granted, at in rows}


def _outdoes(said: Statement, granted: int, at: int) -> bool:
    if said.at is None:
        return bool(granted) and not said.granted
    return said.at > at or (said.at == at and bool(granted) and not said.granted)


def field(said: Statement) -> str:
    """What a contact_change calls it."""
    return f"consent.{said.channel}" if said.purpose == MARKETING else f"optout.{said.purpose.removeprefix(_TOPIC)}"


def column_type(name: str) -> str | None:
    """The type of a column that imports and `set` know: `consent.email`, its `.at` and `.source`, `optout.TOPIC`; else None."""
    head, _, rest = name.partition(".")
    if head == "optout" and rest:
        return "boolean"
    if head == "consent":
        channel, _, part = rest.partition(".")
        kinds = {"": "boolean", "at": "datetime", "source": "text"}
        return kinds.get(part) if channel in CHANNELS else None
    return None


def from_column(name: str, *, yes: bool) -> tuple[str, str, bool]:
    """Channel, purpose and whether it is granted, of what `consent.CHANNEL` or `optout.TOPIC` says."""
    head, _, rest = name.partition(".")
    return (EVERY_CHANNEL, _TOPIC + rest, not yes) if head == "optout" else (rest, MARKETING, yes)
