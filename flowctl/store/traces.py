"""Which tables hold something of a person, read from the schema itself, so that no new table is forgotten."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3

# Tables of the store as a whole, which hold nothing of a person. tests/store/test_forgetting.py fails where a table is neither
# here nor bound to a contact.
OF_THE_STORE = frozenset(
    [
        "store", "zones", "contact_fields", "event_types", "segments", "cursors", "releases", "workflow_versions",
        "workflow_states", "names", "journal_kinds", "rotations", "release_orders", "attachments", "sqlite_sequence",
        "coupons_spent", "sending_days", "breakers", "adoptions", "version_origins",
    ]
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Trace:
    """A table with rows of persons; `condition` is SQL that picks those of the ids in the JSON array `:contacts`."""

    table: str
    condition: str


def traces(connection: sqlite3.Connection) -> list[Trace]:
    """Every table bound to contacts, by its `contact_id`, a reference to `contacts`, or one to another such table.

    Tables without a way of their own to a contact come first, `contacts` comes last.
    """
    tables = [
        name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")
    ]
    bound = {"contacts": _among("id")}
    waiting = [table for table in tables if table != "contacts"]
    direct: list[str] = []
    for table in list(waiting):
        column = _contact_column(connection, table)
        if column:
            bound[table] = _among(column)
            direct.append(table)
            waiting.remove(table)
    indirect: list[str] = []
    while found := [(table, way) for table in waiting if (way := _way(connection, table, bound))]:
        for table, way in found:
            bound[table] = way
            indirect.insert(0, table)
            waiting.remove(table)
    return [Trace(table=table, condition=bound[table]) for table in (*indirect, *direct, "contacts")]


def _among(column: str) -> str:
    return f'"{column}" IN (SELECT value FROM json_each(:contacts))'


def _contact_column(connection: sqlite3.Connection, table: str) -> str | None:
    columns = {name for (name,) in connection.execute("SELECT name FROM pragma_table_info(?)", (table,))}
    if "contact_id" in columns:
        return "contact_id"
    row = connection.execute(
        """SELECT "from" FROM pragma_foreign_key_list(?) WHERE "table" = 'contacts'""", (table,)
    ).fetchone()
    return row[0] if row else None


def _way(connection: sqlite3.Connection, table: str, bound: dict[str, str]) -> str | None:
    """How a table without a contact refers to one that is bound."""
    rows = connection.execute('SELECT "table", "from", "to" FROM pragma_foreign_key_list(?)', (table,)).fetchall()
    for parent, column, target in rows:
        if parent in bound:
            return f'"{column}" IN (SELECT "{target}" FROM "{parent}" WHERE {bound[parent]})'
    return None
