"""Contact fields: the built-in ones, and the declared ones as real, typed columns of `contacts`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flowctl.failure import Failure
from flowctl.store.database import transaction

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from flowctl.store.casting import Kind

# How each built-in field is read; `language`, `timezone` and `country` are texts with rules of their own.
BUILT_IN: Mapping[str, str] = {
    "key": "text", "email": "email", "phone": "phone", "language": "language", "timezone": "timezone",
    "country": "country", "owner": "text", "created_at": "datetime",
}  # fmt: skip
_COLUMNS: Mapping[str, str] = {
    "text": "TEXT", "choice": "TEXT", "email": "TEXT", "phone": "TEXT", "number": "REAL", "integer": "INTEGER",
    "boolean": "INTEGER", "date": "TEXT", "datetime": "INTEGER", "tags": "TEXT",
}  # fmt: skip
# `= date(x)` alone would let texts pass that are no date at all: a CHECK that is NULL holds.
_CHECKS: Mapping[str, str] = {
    "boolean": "{column} IN (0, 1)",
    # The modifier makes date() compute: without one it hands back 2026-02-30 as it is.
    "date": "{column} IS NULL OR {column} IS date({column}, '+0 days')",
    "tags": "{column} IS NULL OR (json_valid({column}) AND json_type({column}) = 'array')",
}
_TEXTS = frozenset({"text", "choice", "email", "phone"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Field:
    """A contact field. `default` is a stored value, as a cast gave it."""

    name: str
    type: str
    values: tuple[str, ...] = ()
    default: Any = None

    @property
    def kind(self) -> Kind:
        """What its values are cast by."""
        from flowctl.store.casting import Kind  # noqa: PLC0415 - a tick declares nothing and casts nothing

        return Kind(type=self.type, values=self.values)


def quoted(name: str) -> str:
    """A column's name as SQL."""
    return '"' + name.replace('"', '""') + '"'


def load(connection: sqlite3.Connection) -> dict[str, Field]:
    """The fields in use by name: built-in, then declared; retired ones are left out."""
    fields = {name: Field(name=name, type=type_) for name, type_ in BUILT_IN.items()}
    rows = connection.execute(
        "SELECT name, type, declaration FROM contact_fields WHERE retired_at IS NULL ORDER BY rowid"
    )
    for name, type_, declaration in rows:
        said = json.loads(declaration)
        fields[name] = Field(name=name, type=type_, values=tuple(said.get("values") or ()), default=said.get("default"))
    return fields


def declare(connection: sqlite3.Connection, declared: Mapping[str, Mapping[str, Any]], *, now: int) -> None:
    """Make the columns of `contacts` follow what is declared, `{name: {type, values?, default?}}`, in one transaction.

    A new field becomes a column, and its default fills the contacts there are; a field no longer declared is retired and
    keeps its column and values; one declared again comes back with them.

    Raises:
        Failure: a field's type is not the one its column has, or a default is not of its type.
    """
    with transaction(connection):
        rows = connection.execute("SELECT name, type, declaration FROM contact_fields").fetchall()
        known = {name: (type_, declaration) for name, type_, declaration in rows}
        for name, said in declared.items():
            field, declaration = _read(name, said)
            if name not in known:
                _add(connection, field, declaration)
            else:
                _change(connection, field, declaration, *known[name])
        for name in known.keys() - declared.keys():
            connection.execute(
                "UPDATE contact_fields SET retired_at = ? WHERE name = ? AND retired_at IS NULL", (now, name)
            )


def conflicts(connection: sqlite3.Connection, declared: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Why `declare` would refuse, one sentence a field, for a plan; nothing is written."""
    known = dict(connection.execute("SELECT name, type FROM contact_fields").fetchall())
    faults = (
        _type_conflict(connection, *_read(name, said)[:1], known[name])
        for name, said in declared.items()
        if name in known
    )
    return [fault for fault in faults if fault]


def _read(name: str, said: Mapping[str, Any]) -> tuple[Field, str]:
    if name in BUILT_IN or name in ("id", "rowid", "oid") or name.startswith("_") or not name.isidentifier():
        message = f"the contact field `{name}` cannot be declared: the name is taken or no snake_case"
        raise Failure(message, help="choose another name")
    field = Field(name=name, type=said["type"], values=tuple(said.get("values") or ()), default=said.get("default"))
    if field.default is not None:
        field = Field(name=name, type=field.type, values=field.values, default=_cast_default(field))
    content = {"type": field.type, "values": list(field.values) or None, "default": field.default}
    return field, json.dumps({key: value for key, value in content.items() if value is not None}, ensure_ascii=False)


def _cast_default(field: Field) -> Any:
    from zoneinfo import ZoneInfo  # noqa: PLC0415 - rarely needed

    from flowctl.store.casting import CastError, Reading, caster  # noqa: PLC0415

    try:
        return caster(field.kind, Reading(zone=ZoneInfo("UTC")))(field.default)
    except CastError as error:
        message = f"the default {field.default!r} of the contact field `{field.name}`: {error}"
        raise Failure(message, help="mend `contacts.fields` in flowctl.yaml") from None


def _add(connection: sqlite3.Connection, field: Field, declaration: str) -> None:
    column = quoted(field.name)
    check = f" CHECK ({_CHECKS[field.type].format(column=column)})" if field.type in _CHECKS else ""
    # Rows there are read the default out of the schema: no row is rewritten.
    default = f" DEFAULT {_literal(field.default)}" if field.default is not None else ""
    connection.execute(f"ALTER TABLE contacts ADD COLUMN {column} {_COLUMNS[field.type]}{default}{check}")
    connection.execute(
        "INSERT INTO contact_fields (name, type, declaration) VALUES (?, ?, ?)", (field.name, field.type, declaration)
    )


def _literal(value: float | str) -> str:
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else repr(value)


def _change(connection: sqlite3.Connection, field: Field, declaration: str, type_: str, before: str) -> None:
    conflict = _type_conflict(connection, field, type_)
    if conflict:
        message = conflict
        raise Failure(message, help=f"declare it under another name, like `{field.name}_2`, and import its values anew")
    connection.execute(
        "UPDATE contact_fields SET type = ?, declaration = ?, retired_at = NULL WHERE name = ?",
        (field.type, declaration, field.name),
    )
    if field.default is not None and field.default != json.loads(before).get("default"):
        column = quoted(field.name)
        connection.execute(f"UPDATE contacts SET {column} = ? WHERE {column} IS NULL", (field.default,))


def _type_conflict(connection: sqlite3.Connection, field: Field, type_: str) -> str:
    """Why a column of one type cannot serve another; '' where it can: any text as text, and a text whose values fit a choice."""
    if field.type == type_ or (field.type == "text" and type_ in _TEXTS):
        return ""
    message = f"the contact field `{field.name}` is {field.type} in flowctl.yaml, but {type_} in the store"
    if field.type == "choice" and type_ == "text":
        column = quoted(field.name)
        row = connection.execute(
            f"SELECT {column} FROM contacts WHERE {column} NOT IN (SELECT value FROM json_each(?)) LIMIT 1",
            (json.dumps(field.values),),
        ).fetchone()
        return "" if row is None else f"{message}, where a contact has the value {row[0]!r}"
    return message
