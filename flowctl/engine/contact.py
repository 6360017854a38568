"""A contact as templates see it: every declared field, typed, None where unknown."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Mapping


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


def columns_of(connection: sqlite3.Connection, types: Mapping[str, str]) -> str:
    """What to select of `contacts c` for a row that `Fields` reads."""
    from flowctl.store.fields import quoted  # noqa: PLC0415 - a process that renders has no store, and starts sooner

    held = {row[1] for row in connection.execute("PRAGMA table_info(contacts)")}
    return ", ".join(f"c.{quoted(name)}" if name in held else "NULL" for name in types)


class Fields:
    """Reads many contacts for templates."""

    def __init__(self, types: Mapping[str, str]) -> None:
        """`types` of all declared fields by their names."""
        self._names = tuple(types)
        self._conversions = [(name, _CONVERSIONS[type_]) for name, type_ in types.items() if type_ in _CONVERSIONS]

    def values(self, row: tuple[Any, ...]) -> dict[str, Any]:
        """The values by field name, of a row of `columns_of`; as `typed_values`."""
        said = dict(zip(self._names, row, strict=True))
        for name, convert in self._conversions:
            if (value := said[name]) is not None:
                said[name] = _converted(convert, value)
        return said


def _date_time(value: int) -> datetime:
    return datetime.fromtimestamp(value / 1000, UTC)


# What SQLite holds otherwise than templates see it.
_CONVERSIONS: Mapping[str, Callable[[Any], Any]] = {
    "boolean": bool,
    "tags": json.loads,
    "date": date.fromisoformat,
    "datetime": _date_time,
}


def _known(value: Any, type_: str) -> Any:
    convert = _CONVERSIONS.get(type_)
    return value if value is None or convert is None else _converted(convert, value)


def _converted(convert: Callable[[Any], Any], value: Any) -> Any:
    """A value; None for a date that SQLite can hold and no calendar of Python does, so that one such contact stops no others."""
    try:
        return convert(value)
    except (ValueError, OverflowError, OSError):
        return None
