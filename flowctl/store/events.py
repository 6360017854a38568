"""Events: their types by number, what the tracking plan says of them, and how one is known when it comes again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowctl.store.casting import Kind

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

Events = dict[str, dict[str, Kind]]  # event -> property -> kind


def declared(runtime: Mapping[str, Any]) -> Events:
    """The events of a release, built-in ones too: `{name: {property: type}}` in its `events`."""
    from flowctl.language.settings import BUILT_IN_EVENTS  # noqa: PLC0415 - pydantic, which only imports of events pay for

    said: Mapping[str, Mapping[str, Any]] = {**BUILT_IN_EVENTS, **runtime.get("events", {})}
    return {name: {prop: _kind(type_) for prop, type_ in properties.items()} for name, properties in said.items()}


def _kind(said: Any) -> Kind:
    if isinstance(said, str):
        return Kind(type=said)
    return Kind(type=said["type"], values=tuple(said.get("values") or ()))


def type_id(connection: sqlite3.Connection, name: str) -> int:
    """The number of an event type, given one if it has none; inside a write transaction."""
    row = connection.execute("SELECT id FROM event_types WHERE name = ?", (name,)).fetchone()
    if row is None:
        row = connection.execute("INSERT INTO event_types (name) VALUES (?) RETURNING id", (name,)).fetchone()
    number: int = row[0]
    return number


def dedupe(identity: str) -> int:
    """63 bits of BLAKE2b of an event's own id, unique per contact.

    Of events without an id it is taken of contact, type, time and properties: two that agree in all of these are one, so
    that a file can be imported again. Give ids where a person really does the same thing twice in one millisecond.
    """
    from hashlib import blake2b  # noqa: PLC0415 - OpenSSL, which a tick without imports does without

    return int.from_bytes(blake2b(identity.encode(), digest_size=8).digest(), "big") >> 1


def newest(
    connection: sqlite3.Connection, contact_id: int, name: str, count: int, *, until: int
) -> list[dict[str, Any]]:
    """A contact's newest events of a name up to an instant (UTC ms), the newest first: their properties, and `at` as UTC."""
    import json  # noqa: PLC0415 - only for messages that look back
    from datetime import UTC, datetime  # noqa: PLC0415

    rows = connection.execute(
        "SELECT e.at, e.props FROM events e WHERE e.contact_id = ? AND e.type = (SELECT id FROM event_types WHERE name = ?) AND e.at <= ? "
        "ORDER BY e.at DESC, e.id DESC LIMIT ?",
        (contact_id, name, until, count),
    )
    return [
        {**(json.loads(props) if props else {}), "at": datetime.fromtimestamp(at / 1000, UTC)} for at, props in rows
    ]
