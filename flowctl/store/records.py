"""Records of contacts: opportunities, tickets and what else is declared; listed, exported, imported."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from flowctl.failure import UsageFailure
from flowctl.store import contacts
from flowctl.store.casting import CastError, Kind, caster
from flowctl.store.database import transaction
from flowctl.store.reading import RowFault

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from flowctl.store.casting import Reading
    from flowctl.store.reading import Chunk

BUILT_IN = ("task", "ticket", "opportunity")
_FIXED = ("contact", "key", "at", "id")
LEFT_OUT = "-"
Kinds = dict[str, dict[str, Kind]]  # record -> field -> kind; a built-in record without fields takes any text


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """One record. `at` is UTC milliseconds; `workflow` is None for one that was imported."""

    id: int
    kind: str
    key: str | None
    contact: str
    at: int
    workflow: str | None
    values: dict[str, Any]
    push: str | None = (
        None  # None: no service is told of it; else waiting, pushed or failed, with what the service last said
    )


@dataclass(kw_only=True, slots=True)
class Outcome:
    """What an import did, in rows."""

    stored: int = 0
    known: int = 0
    failed: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """How an import reads its file."""

    kind: str
    fields: Mapping[str, Kind]
    reading: Reading
    now: int
    columns: Mapping[str, str] = field(default_factory=dict)  # the file's column -> name, or LEFT_OUT
    dry_run: bool = False


def declared(runtime: Mapping[str, Any]) -> Kinds:
    """The kinds of a release, with the built-in ones."""
    said: Mapping[str, Mapping[str, Any]] = {**{name: {} for name in BUILT_IN}, **runtime.get("records", {})}
    return {
        kind: {name: Kind(type=each["type"], values=tuple(each.get("values") or ())) for name, each in fields.items()}
        for kind, fields in said.items()
    }


def known_kind(kinds: Kinds, kind: str) -> str:
    """The kind itself.

    Raises:
        UsageFailure: there is none of that name.
    """
    if kind not in kinds:
        near = get_close_matches(kind, kinds, n=1)
        message = f"there is no record `{kind}`"
        raise UsageFailure(message, help=f"did you mean `{near[0]}`?" if near else f"there are {', '.join(kinds)}")
    return kind


def records(
    connection: sqlite3.Connection, *, kind: str | None = None, contact_id: int | None = None, limit: int | None = None
) -> Iterator[Record]:
    """Records in order of arrival, in flat memory."""
    rows = connection.execute(
        "SELECT r.id, r.kind, r.key, coalesce(c.key, c.email, '#' || c.id), r.at, "
        "(SELECT e.workflow FROM enrollments e WHERE e.id = r.enrollment_id), r.record_values, "
        "CASE p.state WHEN 0 THEN 'waiting' WHEN 1 THEN 'pushed' WHEN 2 THEN 'failed' END, p.reply FROM records r JOIN contacts c "
        "ON c.id = r.contact_id LEFT JOIN record_pushes p ON p.record_id = r.id WHERE r.kind = coalesce(:kind, r.kind) AND r.contact_id = coalesce(:contact, r.contact_id) "
        "ORDER BY r.id LIMIT :limit",
        {"kind": kind, "contact": contact_id, "limit": -1 if limit is None else limit},
    )
    return (
        Record(
            id=row[0],
            kind=row[1],
            key=row[2],
            contact=row[3],
            at=row[4],
            workflow=row[5],
            values=json.loads(row[6]),
            push=row[7] if row[7] in (None, "pushed") or not row[8] else f"{row[7]}: {row[8]}",
        )
        for row in rows
    )


class RecordImport:
    """One run: hand it the chunks in their order. A record is known again by contact and key."""

    def __init__(self, connection: sqlite3.Connection, plan: Plan, fault: Callable[[RowFault], None]) -> None:
        self.outcome = Outcome()
        self._connection = connection
        self._plan = plan
        self._fault = fault
        self._at = caster(Kind(type="datetime"), plan.reading)
        self._casts = {name: caster(kind, plan.reading) for name, kind in plan.fields.items()}
        self._text = caster(Kind(type="text"), plan.reading)

    def check(self, columns: Sequence[str]) -> None:
        """Refuse columns that nobody knows, before anything is stored.

        Raises:
            UsageFailure: a column is no field of the record, or `contact` or `key` is missing.
        """
        names = [self._plan.columns.get(column, column) for column in columns]
        for wanted in ("contact", "key"):
            if wanted not in names:
                message = f"the file has no column `{wanted}`"
                raise UsageFailure(message, help=f"--map COLUMN={wanted} says which it is")
        unknown = [name for name in names if name not in (*_FIXED, LEFT_OUT, *self._plan.fields)]
        if unknown and self._plan.fields:
            message = f"the record `{self._plan.kind}` has no field {', '.join(unknown)}"
            raise UsageFailure(message, help="--map COLUMN=FIELD says what it is, --map COLUMN=- leaves it out")

    def take(self, chunk: Chunk) -> None:
        """Store a chunk in one transaction; rows that fail are told and left out."""
        names = [self._plan.columns.get(column, column) for column in chunk.columns]
        for fault in chunk.faults:
            self._failed(fault)
        with transaction(self._connection):
            for line, cells in zip(chunk.lines, chunk.rows, strict=True):
                self._take(line, dict(zip(names, cells, strict=False)))

    def _take(self, line: int, row: dict[str, Any]) -> None:
        name = "contact"
        try:
            contact_id = self._contact(row["contact"])
            name = "key"
            key = self._key(row["key"])
            name = "at"
            at = self._at(row.get("at")) or self._plan.now
            values: dict[str, Any] = {}
            for name, cell in row.items():
                if name not in (*_FIXED, LEFT_OUT):
                    values[name] = _for_json(self._plan.fields.get(name), self._casts.get(name, self._text)(cell))
        except CastError as fault:
            self._failed(RowFault(line=line, column=name, value=str(row.get(name) or ""), reason=str(fault)))
            return
        self._store(contact_id, key, at, values)

    def _contact(self, cell: Any) -> int:
        found = contacts.find(self._connection, str(cell or ""))
        if len(found) != 1:
            message = "several contacts have this address" if found else "there is no such contact"
            raise CastError(message)
        return found[0]

    def _key(self, cell: Any) -> str:
        key: str | None = self._text(cell)
        if key is None:
            message = "a record that is imported needs a key"
            raise CastError(message)
        return key

    def _store(self, contact_id: int, key: str, at: int, values: dict[str, Any]) -> None:
        said = (contact_id, self._plan.kind, f"key:{key}")
        if self._plan.dry_run:
            known = self._connection.execute(
                "SELECT 1 FROM records WHERE contact_id = ? AND kind = ? AND cause = ?", said
            ).fetchone()
            new = known is None
        else:
            new = bool(
                self._connection.execute(
                    "INSERT INTO records (contact_id, kind, cause, key, record_values, at) VALUES (?, ?, ?, ?, ?, ?) "
                    "ON CONFLICT (contact_id, kind, cause) DO NOTHING",
                    (*said, key, json.dumps({name: value for name, value in values.items() if value is not None}), at),
                ).rowcount
            )
        self.outcome.stored += new
        self.outcome.known += not new

    def _failed(self, fault: RowFault) -> None:
        self.outcome.failed += 1
        self._fault(fault)


def _for_json(kind: Kind | None, value: Any) -> Any:
    if value is None or kind is None:
        return value
    if kind.type == "boolean":
        return bool(value)
    return json.loads(value) if kind.type == "tags" else value
