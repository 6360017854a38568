"""Contacts: finding, showing, creating and changing one, and listing many; bulk loads are in contact_import."""

from __future__ import annotations

import json
from dataclasses import dataclass
from secrets import randbits
from typing import TYPE_CHECKING, Any

from flowctl.failure import Failure, UsageFailure
from flowctl.store import consents, fields, suppressions
from flowctl.store.fields import quoted

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Mapping, Sequence

    from flowctl.store.casting import Reading

IMPORTED, LIVE = 0, 1  # `_origin`: memberships first found of imported contacts are 'existing'
ID_CHARS_MAX = 19  # `#` and 18 digits; SQLite's integers have 19
CONTACTS_NAMED_MAX = 5  # contacts a message lists


@dataclass(frozen=True, kw_only=True, slots=True)
class Contact:
    """One person: `values` by field, built-in and declared, as stored (times in UTC milliseconds, tags as a JSON array)."""

    id: int
    values: dict[str, Any]
    zone: str | None  # None: the project's


def resolve(connection: sqlite3.Connection, said: str) -> int:
    """The id of the contact that `said` names: `#id`, a key, an e-mail address or a phone number in E.164, in this order.

    Raises:
        Failure: nobody is called so, or several are.
    """
    found = find(connection, said)
    if not found:
        message = f"there is no contact {said!r}"
        raise Failure(message, help="name it by key, e-mail address, phone number (like +33612345678) or #id")
    if len(found) > 1:
        names = ", ".join(f"#{contact_id}" for contact_id in found[:CONTACTS_NAMED_MAX])
        message = f"{len(found)} contacts are called {said!r}: {names}"
        raise Failure(message, help="name one by its key or #id")
    return found[0]


def find(connection: sqlite3.Connection, said: str) -> list[int]:
    """The ids of the contacts that `said` names, as `resolve` reads it."""
    said = said.strip()
    if said.startswith("#") and said[1:].isdecimal() and len(said) < ID_CHARS_MAX:
        rows = connection.execute("SELECT id FROM contacts WHERE id = ?", (int(said[1:]),)).fetchall()
        if rows:
            return [int(said[1:])]
    for column in ("key", "email", "phone"):
        rows = connection.execute(f"SELECT id FROM contacts WHERE {column} = ? ORDER BY id", (said,)).fetchall()
        if rows:
            return [contact_id for (contact_id,) in rows]
    return []


def get(connection: sqlite3.Connection, contact_id: int) -> Contact:
    """A contact by id, which exists."""
    names = list(fields.load(connection))
    columns = ", ".join(f"c.{quoted(name)}" for name in names)
    row = connection.execute(
        f"SELECT z.name, {columns} FROM contacts c LEFT JOIN zones z ON z.id = c._zone WHERE c.id = ?", (contact_id,)
    ).fetchone()
    return Contact(id=contact_id, values=dict(zip(names, row[1:], strict=True)), zone=row[0])


def create(connection: sqlite3.Connection, values: Mapping[str, Any], *, origin: int, now: int) -> int:
    """Make a contact of stored values; defaults fill what is left out. Inside a write transaction. Returns its id.

    Raises:
        Failure: the key is taken.
    """
    defaults = {field.name: field.default for field in fields.load(connection).values() if field.default is not None}
    row: dict[str, Any] = {**defaults, "created_at": now} | {
        name: value for name, value in values.items() if value is not None
    }
    row |= {"_zone": _zone_id(connection, row), "_seed": randbits(31), "_origin": origin}
    if row.get("key") is not None and find_key(connection, row["key"]) is not None:
        message = f"there is a contact with the key {row['key']!r} already"
        raise Failure(message, help="`flowctl contacts set` changes it")
    columns = ", ".join(quoted(name) for name in row)
    marks = ", ".join("?" * len(row))
    (contact_id,) = connection.execute(
        f"INSERT INTO contacts ({columns}) VALUES ({marks}) RETURNING id", tuple(row.values())
    ).fetchone()
    suppressions.link(connection, [contact_id], now=now, new=True)
    return int(contact_id)


def find_key(connection: sqlite3.Connection, key: str) -> int | None:
    """The id of the contact with this key."""
    row = connection.execute("SELECT id FROM contacts WHERE key = ?", (key,)).fetchone()
    return row[0] if row else None


def change(
    connection: sqlite3.Connection, contact_id: int, values: Mapping[str, Any], *, now: int
) -> dict[str, tuple[Any, Any]]:
    """Give a contact stored values (None clears) and write a contact_change for each that differs; `{field: (old, new)}`.

    Inside a write transaction.

    Raises:
        Failure: the key is another contact's.
    """
    before = get(connection, contact_id).values
    changed = {name: (before[name], value) for name, value in values.items() if before[name] != value}
    if not changed:
        return {}
    key = changed.get("key", (None, None))[1]
    if key is not None and find_key(connection, key) is not None:
        message = f"there is another contact with the key {key!r}"
        raise Failure(message, help="keys are unique")
    assignments = ", ".join(f"{quoted(name)} = ?" for name in changed)
    new_values = [new for _, new in changed.values()]
    connection.execute(f"UPDATE contacts SET {assignments} WHERE id = ?", (*new_values, contact_id))
    connection.executemany(
        "INSERT INTO contact_changes (contact_id, field, old, new, at) VALUES (?, ?, ?, ?, ?)",
        [(contact_id, name, old, new, now) for name, (old, new) in changed.items()],
    )
    if changed.keys() & {"timezone", "phone", "country"}:
        zone = _zone_id(connection, {**before, **values})
        connection.execute("UPDATE contacts SET _zone = ? WHERE id = ?", (zone, contact_id))
    if changed.keys() & {"email", "phone"}:
        suppressions.link(connection, [contact_id], now=now)
    return changed


@dataclass(frozen=True, kw_only=True, slots=True)
class ConsentColumn:
    """A consent as a column of an export, named as imports name it."""

    name: str
    type: str
    channel: str
    purpose: str
    sql: str  # of the value, with `{row}` for the consent's row


def consent_columns(connection: sqlite3.Connection) -> list[ConsentColumn]:
    """A column for each kind of consent somebody gave or withdrew."""
    pairs = connection.execute("SELECT DISTINCT channel, purpose FROM consents ORDER BY purpose, channel").fetchall()
    columns: list[ConsentColumn] = []
    parts: tuple[tuple[str, str, str], ...]
    for channel, purpose in pairs:
        if purpose == "marketing":
            parts = (
                ("", "boolean", "{row}.granted"),
                (".at", "datetime", "{row}.at"),
                (".source", "text", "{row}.source"),
            )
            head = f"consent.{channel}"
        else:
            parts = (("", "boolean", "1 - {row}.granted"),)
            head = f"optout.{purpose.removeprefix('topic:')}"
        columns += [
            ConsentColumn(name=head + end, type=type_, channel=channel, purpose=purpose, sql=sql)
            for end, type_, sql in parts
        ]
    return columns


def listed(
    connection: sqlite3.Connection,
    names: Sequence[str],
    *,
    segment: str | None = None,
    limit: int | None = None,
    consents: Sequence[ConsentColumn] = (),
) -> Iterator[tuple[Any, ...]]:
    """Rows of these columns (`id` too) in order of id, of a segment's members or of everybody, in flat memory.

    Raises:
        Failure: there is no such segment.
    """
    kinds = list(dict.fromkeys((each.channel, each.purpose) for each in consents))
    columns = [f"c.{quoted(name)}" for name in names]
    columns += [each.sql.format(row=f"a{kinds.index((each.channel, each.purpose))}") for each in consents]
    parameters: list[Any] = []
    joins = where = ""
    for number, kind in enumerate(kinds):
        joins += f" LEFT JOIN consents a{number} ON a{number}.contact_id = c.id AND a{number}.channel = ? AND a{number}.purpose = ?"
        parameters += kind
    if segment is not None:
        row = connection.execute("SELECT id FROM segments WHERE name = ? AND retired_at IS NULL", (segment,)).fetchone()
        if row is None:
            message = f"there is no segment {segment!r} in the store"
            raise Failure(message, help="segments come with `flowctl apply`, and their members with the first tick")
        where = " WHERE c.id IN (SELECT contact_id FROM segment_members WHERE segment_id = ?)"
        parameters.append(row[0])
    parameters.append(-1 if limit is None else limit)
    return connection.execute(
        f"SELECT {', '.join(columns)} FROM contacts c{joins}{where} ORDER BY c.id LIMIT ?", parameters
    )


# What a dossier holds of each table, in its order.
_DOSSIER = {
    "consents": "SELECT channel, purpose, granted, at, source FROM consents WHERE contact_id = ?",
    "consent_log": "SELECT channel, purpose, granted, at, source FROM consent_log WHERE contact_id = ? ORDER BY id",
    "suppressions": "SELECT channel, reason, at, source FROM suppressions WHERE contact_id = ?",
    "segments": (
        "SELECT s.name AS segment, m.since FROM segment_members m JOIN segments s ON s.id = m.segment_id "
        "WHERE m.contact_id = ? ORDER BY s.name"
    ),
    "events": (
        "SELECT t.name AS event, e.at, e.props AS properties FROM events e JOIN event_types t ON t.id = e.type "
        "WHERE e.contact_id = ? ORDER BY e.at, e.id"
    ),
    "changes": "SELECT field, old, new, at FROM contact_changes WHERE contact_id = ? ORDER BY id",
    "enrollments": (
        "SELECT r.workflow, r.version, r.state, r.reason, e.cause, e.rkey AS reentry_key, e.entered_at, e.ended_at, e.goal_at, e.trigger, e.data "
        "FROM enrollments e JOIN enrollments_readable r ON r.id = e.id WHERE e.contact_id = ? ORDER BY e.id"
    ),
    "messages": (
        "SELECT r.workflow, r.message, r.channel, r.recipient, o.variant, r.state, r.reason, o.arrived_at, o.settled_at, r.key, r.reply "
        "FROM outbox o JOIN outbox_readable r ON r.id = o.id WHERE o.contact_id = ? ORDER BY o.id"
    ),
    "message_events": (
        "SELECT n.name AS message, m.status, m.at, m.link, m.detail FROM message_events m JOIN names n ON n.id = m.message "
        "WHERE m.contact_id = ? ORDER BY m.at, m.id"
    ),
    "scores": "SELECT score, rule, points, at, cause FROM score_ledger WHERE contact_id = ? ORDER BY at, id",
    "survey_answers": "SELECT survey, at, answers FROM survey_answers WHERE contact_id = ? ORDER BY at, id",
    "coupons": "SELECT name AS coupon, code, given_at FROM coupons WHERE contact_id = ? ORDER BY given_at, id",
    "records": 'SELECT kind, key, at, record_values AS "values" FROM records WHERE contact_id = ? ORDER BY id',
    "tasks": "SELECT team, step, title, at, until_at, outcomes, outcome, done_at FROM tasks WHERE contact_id = ? ORDER BY id",
    "notices": "SELECT team, owner, recipient, text, at, reply FROM notices WHERE contact_id = ? ORDER BY id",
    "fetches": "SELECT service, path, save_as, at, reason FROM fetches WHERE contact_id = ? ORDER BY id",
    "audiences": "SELECT audience, since FROM audience_members WHERE contact_id = ? ORDER BY audience",
    "transitions": (
        "SELECT s.name AS segment, t.entered, t.at FROM transitions t JOIN segments s ON s.id = t.segment_id "
        "WHERE t.contact_id = ? ORDER BY t.id"
    ),
    "journal": (
        "SELECT r.at, r.kind, r.workflow, r.version, r.step, r.detail FROM journal j "
        "JOIN journal_readable r ON r.id = j.id WHERE j.contact_id = ? ORDER BY j.id"
    ),
}


# Tables that the queries above read, under other names.
_IN_DOSSIER = {
    "contacts",
    "segment_members",
    "contact_changes",
    "outbox",
    "score_ledger",
    "audience_members",
} | _DOSSIER.keys()


def dossier(connection: sqlite3.Connection, contact_id: int) -> dict[str, Any]:
    """Everything the store holds about one person, by table, readable: for `contacts show`, and for who asks for their data.

    Tables without a query of their own come as they are, where they hold something.
    """
    from flowctl.store.traces import traces  # noqa: PLC0415 - a tick imports this module too

    contact = get(connection, contact_id)
    known = {"id": contact_id, "fields": contact.values, "zone": contact.zone}
    known |= {name: _rows(connection, query, (contact_id,)) for name, query in _DOSSIER.items()}
    for trace in traces(connection):
        if trace.table not in _IN_DOSSIER:
            said = {"contacts": json.dumps([contact_id])}
            rows = _rows(connection, f'SELECT * FROM "{trace.table}" WHERE {trace.condition}', said)
            known |= {trace.table: rows} if rows else {}
    return known


def _rows(connection: sqlite3.Connection, query: str, said: tuple[int] | dict[str, str]) -> list[dict[str, Any]]:
    cursor = connection.execute(query, said)
    names = [column[0] for column in cursor.description]
    return [{name: _json(name, value) for name, value in zip(names, row, strict=True)} for row in cursor]


# Columns that hold JSON, by the names they have in a dossier.
_JSON_COLUMNS = frozenset(
    ["properties", "trigger", "data", "detail", "answers", "values", "outcomes", "content", "letter"]
)


def _json(name: str, value: Any) -> Any:
    inner = name in _JSON_COLUMNS and isinstance(value, str)
    return json.loads(value) if inner else value


def _zone_id(connection: sqlite3.Connection, row: Mapping[str, Any]) -> int | None:
    if not any(row.get(name) for name in ("timezone", "phone", "country")):
        return None
    from flowctl.store.zones import zone_id, zone_of  # noqa: PLC0415 - reads files, and phone numbers cost 24 ms

    zone = zone_of(row.get("timezone"), row.get("phone"), row.get("country"))
    return zone_id(connection, zone) if zone else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Edit:
    """What is to be set: stored values by field, consents and opt-outs by (channel, purpose), in order."""

    values: dict[str, Any]
    consents: dict[tuple[str, str], bool]
    source: str
    at: int | None = None  # of the consents; None: now


def read_edit(connection: sqlite3.Connection, said: Mapping[str, str], reading: Reading, *, source: str) -> Edit:
    """`field=value` pairs as typed values; an empty value clears a field.

    Raises:
        UsageFailure: a field is unknown, or a value is not of its type.
    """
    from flowctl.store.casting import CastError, Kind, caster, phone  # noqa: PLC0415 - a tick imports this module too

    known = fields.load(connection)
    values: dict[str, Any] = {}
    agreed: dict[tuple[str, str], bool] = {}
    at: int | None = None
    for name, text in said.items():
        kind = known[name].kind if name in known else Kind(type=consents.column_type(name) or "")
        try:
            if not kind.type:
                raise UsageFailure(
                    _unknown_field(name, list(known)), help="declare it under `contacts.fields` and run `flowctl apply`"
                )
            value: Any = phone(text, reading.region) if kind.type == "phone" and text else caster(kind, reading)(text)
        except CastError as error:
            message = f"{name}={text}: {error}"
            raise UsageFailure(message) from None
        if name in known:
            values[name] = value
        elif name.endswith(".at"):
            at = value
        elif name.endswith(".source"):
            source = value or source
        elif value is not None:
            channel, purpose, granted = consents.from_column(name, yes=bool(value))
            agreed[channel, purpose] = granted
    return Edit(values=values, consents=agreed, source=source, at=at)


def _unknown_field(name: str, names: list[str]) -> str:
    from difflib import get_close_matches  # noqa: PLC0415 - only for a fault

    near = get_close_matches(name, names, n=1)
    return f"there is no contact field `{name}`{f'; did you mean {near[0]}?' if near else ''}"


def create_named(connection: sqlite3.Connection, said: str, reading: Reading, *, now: int) -> int:
    """Make the contact that `said` would name: by e-mail address, phone number (with +) or key. Inside a write transaction.

    Raises:
        UsageFailure: it is no such thing.
    """
    from flowctl.store.casting import CastError, Kind, caster  # noqa: PLC0415 - a tick imports this module too

    name = name_of(said)
    try:
        value = caster(Kind(type=name if name != "key" else "text"), reading)(said)
    except CastError as error:
        message = f"{said!r}: {error}"
        raise UsageFailure(message) from None
    return create(connection, {name: value}, origin=LIVE, now=now)


def name_of(said: str) -> str:
    """Which field a name for a contact is: an address by its looks, else the key."""
    return "email" if "@" in said else "phone" if said.startswith("+") else "key"


def apply_edit(connection: sqlite3.Connection, contact_id: int, edit: Edit, *, now: int) -> tuple[list[str], list[str]]:
    """Set what an edit says; the names of what changed, and the channels whose unsubscription was lifted.

    A person says it, so it holds whatever was said before. Inside a write transaction.
    """
    changed = list(change(connection, contact_id, edit.values, now=now))
    before = {
        (channel, purpose): bool(granted)
        for channel, purpose, granted, _, _ in consents.of_contact(connection, contact_id)
    }
    at = now if edit.at is None else edit.at
    said = [
        consents.Statement(
            contact_id=contact_id, channel=channel, granted=granted, at=at, source=edit.source, purpose=purpose
        )
        for (channel, purpose), granted in edit.consents.items()
        if before.get((channel, purpose)) is not granted
    ]
    consents.record(connection, said, now=now)
    granted_on = [each for each, granted in edit.consents.items() if granted and each[1] == "marketing"]
    lifted = [channel for channel, _ in granted_on if suppressions.lift(connection, contact_id, channel, now=now)]
    return [*changed, *(consents.field(each) for each in said)], lifted
