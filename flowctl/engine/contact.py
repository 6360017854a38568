"""A contact as templates see it: every declared field, typed, None where unknown."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping


def contact_values(
    connection: sqlite3.Connection, contact_id: int, types: Mapping[str, str]
) -> tuple[dict[str, Any], str | None]:
    """The values by field name, and the contact's zone if it has one of its own."""
    cursor = connection.execute(
        "SELECT c.*, z.name AS _zone_name FROM contacts c LEFT JOIN zones z ON z.id = c._zone WHERE c.id = ?",
        (contact_id,),
    )
    row = cursor.fetchone()
    said = dict(zip((column[0] for column in cursor.description), row, strict=True))
    return typed_values(said, types), said["_zone_name"]


def typed_values(said: Mapping[str, Any], types: Mapping[str, str]) -> dict[str, Any]:
    """A row of contacts, by column, as its fields' values."""
    return {name: _known(said.get(name), type_) for name, type_ in types.items()}


def _known(value: Any, type_: str) -> Any:
    """A value; None for a date that SQLite can hold and no calendar of Python does, so that one such contact stops no others."""
    try:
        return _typed(value, type_)
    except (ValueError, OverflowError, OSError):
        return None


def _typed(value: Any, type_: str) -> Any:
    if value is None:
        return None
    match type_:
        case "boolean":
            return bool(value)
        case "tags":
            return json.loads(value)
        case "date":
            return date.fromisoformat(value)
        case "datetime":
            return datetime.fromtimestamp(value / 1000, UTC)
        case _:
            return value
