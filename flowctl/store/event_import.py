"""Bulk loading of events: chunks of cells become facts, a transaction a chunk, and nothing new where they are known already."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from itertools import compress
from typing import TYPE_CHECKING, Any

from flowctl.failure import Failure, UsageFailure
from flowctl.store import casting, contacts, replies, statuses, surveys
from flowctl.store.casting import CastError, Kind
from flowctl.store.database import transaction
from flowctl.store.events import dedupe, type_id
from flowctl.store.reading import RowFault

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from flowctl.store.casting import Reading
    from flowctl.store.events import Events
    from flowctl.store.reading import Chunk

    Column = list[Any]

LEFT_OUT = "-"
_ANSWERS = ("survey_answered", "answers")
_PROPERTY = "properties."
# Columns that say whose event it is, and the columns of `contacts` they are looked up in, in order. The bare ones serve
# where the row's event has no property of that name.
_PERSONS: Mapping[str, tuple[str, ...]] = {
    "contact": ("key", "email", "phone"), "contact.key": ("key",), "contact.email": ("email",), "contact.phone": ("phone",),
    "key": ("key",), "email": ("email",), "phone": ("phone",),
}  # fmt: skip
_FIXED = {"at": Kind(type="datetime"), "id": Kind(type="text")}
_INSERT = (
    "INSERT INTO events (contact_id, type, at, props, dedupe) VALUES (?, ?, ?, ?, ?) "
    "ON CONFLICT (contact_id, dedupe) WHERE dedupe IS NOT NULL DO NOTHING"
)
_encode = json.JSONEncoder(ensure_ascii=False, separators=(", ", ": ")).encode


@dataclass(kw_only=True, slots=True)
class Outcome:
    """What an import did, in rows; `created` counts contacts."""

    stored: int = 0
    known: int = 0
    repeated: int = 0  # of the known: rows of one chunk that agree in everything, or in their id
    failed: int = 0
    created: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """How an import reads its file and what it adds."""

    events: Events
    reading: Reading
    now: int
    columns: Mapping[str, str] = field(default_factory=dict)  # the file's column -> name, or LEFT_OUT
    event: str | None = None  # of all rows
    default_at: int | None = None  # of rows without a time; None: they are refused
    create: bool = False  # contacts that are not there
    origin: int = contacts.IMPORTED  # of those
    ignore_unknown: bool = False
    dry_run: bool = False


@dataclass(slots=True, kw_only=True)
class _Batch:
    """Rows of one event type, while they are read: parallel lists; a row that fails is None in `ids`."""

    name: str
    lines: list[int]
    rows: list[Sequence[Any]]
    at: Column = field(default_factory=list)
    own_ids: Column = field(default_factory=list)
    properties: dict[str, Column] = field(default_factory=dict)
    persons: list[tuple[tuple[str, ...], Sequence[Any]]] = field(default_factory=list)
    bad: dict[int, RowFault] = field(default_factory=dict)


class EventImport:
    """One run: hand it the chunks in their order."""

    def __init__(self, connection: sqlite3.Connection, plan: Plan, fault: Callable[[RowFault], None]) -> None:
        self.outcome = Outcome()
        self._connection = connection
        self._plan = plan
        self._fault = fault
        self._casts: dict[Kind, Any] = {}
        if plan.event is not None and plan.event not in plan.events:
            raise UsageFailure(
                _undeclared(plan.event, plan.events), help="declare it under `events:` and run `flowctl apply`"
            )

    def check(self, columns: Sequence[str]) -> None:
        """Refuse columns that nobody knows, before anything is stored.

        Raises:
            UsageFailure: a column is nothing of any event, or one that every event needs is not there.
        """
        names = {column: self._plan.columns.get(column, column) for column in columns}
        properties = {prop for each in self._plan.events.values() for prop in each}
        roles = {*_PERSONS, "event", *_FIXED, "", LEFT_OUT}
        unknown = [
            column
            for column, name in names.items()
            if name not in roles and name.removeprefix(_PROPERTY) not in properties
        ]
        if unknown and not self._plan.ignore_unknown:
            near = _nearest(names[unknown[0]], [*_PERSONS, *properties])
            message = f"no event has the {'property' if len(unknown) == 1 else 'properties'} {', '.join(unknown)}{near}"
            raise UsageFailure(
                message, help="--map COLUMN=NAME says what it is, --map COLUMN=- leaves it out, --ignore-unknown all"
            )
        missing = set(self._plan.columns) - set(columns)
        if missing:
            message = f"--map: the file has no column {min(missing)!r}"
            raise UsageFailure(message, help=f"it has {', '.join(columns)}")
        there = set(names.values())
        needs = [
            ("event", self._plan.event is None, "--event NAME names one for all rows"),
            ("at", self._plan.default_at is None, "--map date=at says which it is"),
        ]
        for name, needed, advice in needs:
            if needed and name not in there:
                message = f"there is no column `{name}`"
                raise UsageFailure(message, help=advice)
        if there.isdisjoint(_PERSONS):
            message = "no column says whose event it is: contact (a key, e-mail address or phone number)"
            raise UsageFailure(message, help="--map customer_id=contact says which it is")

    def take(self, chunk: Chunk) -> None:
        """Load a chunk, in one transaction."""
        for each in chunk.faults:
            self._refuse(each)
        batches = [self._read(batch, chunk.columns) for batch in self._by_event(chunk)]
        if self._plan.dry_run:
            self._load(batches)
            return
        with transaction(self._connection):
            self._load(batches)

    def _refuse(self, fault: RowFault) -> None:
        self.outcome.failed += 1
        self._fault(fault)

    def _by_event(self, chunk: Chunk) -> list[_Batch]:
        names = [self._plan.columns.get(column, column) for column in chunk.columns]
        if self._plan.event is not None or "event" not in names:
            return [_Batch(name=self._plan.event or "", lines=chunk.lines, rows=chunk.rows)] if chunk.rows else []
        place = names.index("event")
        batches: dict[str, _Batch] = {}
        for row, line in zip(chunk.rows, chunk.lines, strict=True):
            name = str(row[place]).strip()
            batch = batches.get(name)
            if batch is None:
                batch = batches[name] = _Batch(name=name, lines=[], rows=[])
            batch.rows.append(row)
            batch.lines.append(line)
        for name in batches.keys() - self._plan.events.keys():
            reason = _undeclared(name, self._plan.events)
            for line in batches.pop(name).lines:
                self._refuse(RowFault(line=line, column=chunk.columns[place], value=name, reason=reason))
        return list(batches.values())

    def _read(self, batch: _Batch, columns: Sequence[str]) -> _Batch:
        """Cast the cells of a batch by what they mean for its event."""
        declared = self._plan.events[batch.name]
        count = len(batch.rows)
        batch.at, batch.own_ids = [None] * count, [None] * count
        for column, cells in zip(columns, zip(*batch.rows, strict=True), strict=True):
            name = self._plan.columns.get(column, column)
            prop = name.removeprefix(_PROPERTY)
            report = _reporter(batch, column, cells)
            if name in ("", LEFT_OUT) or (name == "event" and "event" not in declared):
                continue
            if name == "at":
                batch.at = self._cast(_FIXED["at"], cells, report)
            elif name == "id":
                batch.own_ids = self._cast(_FIXED["id"], cells, report)
            elif prop in declared:
                values = (
                    _answers(cells, report)
                    if (batch.name, prop) == _ANSWERS
                    else self._cast(declared[prop], cells, report)
                )
                batch.properties[prop] = _for_json(declared[prop].type, values)
            elif name in _PERSONS:
                batch.persons.append((_PERSONS[name], cells))
            elif not self._plan.ignore_unknown:
                _refuse_filled(cells, report, f"{batch.name} has no property {prop}{_nearest(prop, list(declared))}")
        for index, at in enumerate(batch.at):
            if at is None and index not in batch.bad:
                if self._plan.default_at is None:
                    batch.bad[index] = RowFault(
                        line=batch.lines[index], column="at", value="", reason="when it happened is missing"
                    )
                else:
                    batch.at[index] = self._plan.default_at
        return batch

    def _cast(self, kind: Kind, cells: Sequence[Any], report: Callable[[int, CastError], None]) -> Column:
        cast = self._casts.get(kind)
        if cast is None:
            cast = self._casts[kind] = casting.column(kind, self._plan.reading)
        values: Column = cast(cells, report)
        return values

    def _load(self, batches: list[_Batch]) -> None:
        rows: list[tuple[int, int, int, str | None, int]] = []
        for batch in batches:
            if batch.name in statuses.EVENTS:
                self._load_statuses(batch)
            else:
                rows.extend(self._facts(batch))
            for index in sorted(batch.bad):
                self._refuse(batch.bad[index])
        # By contact, so that the index is written in order; a contact's own events keep the order of the file.
        rows.sort(key=lambda row: row[0])
        if self._plan.dry_run:
            self.outcome.stored += len(rows)
            return
        before = self._connection.total_changes
        (newest,) = self._connection.execute("SELECT coalesce(max(id), 0) FROM events").fetchone()
        self._connection.executemany(_INSERT, rows)
        stored = self._connection.total_changes - before
        if any(batch.name in surveys.EVENTS for batch in batches):
            surveys.record(self._connection, newest)
        if any(batch.name == replies.EVENT for batch in batches):
            replies.record(self._connection, newest, now=self._plan.now)
        self.outcome.stored += stored
        self.outcome.known += len(rows) - stored
        if stored < len(rows):
            self.outcome.repeated += len(rows) - len({(contact_id, identity) for contact_id, *_, identity in rows})

    def _facts(self, batch: _Batch) -> list[tuple[int, int, int, str | None, int]]:
        ids = self._contacts(batch)
        number = 0 if self._plan.dry_run else type_id(self._connection, batch.name)
        texts = _texts(batch)
        rows = []
        for index, (contact_id, at, own, text) in enumerate(zip(ids, batch.at, batch.own_ids, texts, strict=True)):
            if contact_id is not None and index not in batch.bad:
                identity = own if own is not None else f"{contact_id}\0{batch.name}\0{at}\0{text}"
                rows.append((contact_id, number, at, text, dedupe(identity)))
        return rows

    def _load_statuses(self, batch: _Batch) -> None:
        """Reports on messages: each finds its message first, and acts only when it is new."""
        nothing: Column = [None] * len(batch.rows)
        keys, names, links = (batch.properties.get(prop, nothing) for prop in ("key", "message", "link"))
        by_name = [key is None and index not in batch.bad for index, key in enumerate(keys)]
        ids = self._contacts(batch, asked=by_name)
        reported: list[statuses.Status] = []
        for index, (key, name, link, at) in enumerate(zip(keys, names, links, batch.at, strict=True)):
            if index in batch.bad:
                continue
            sending, reason = self._sending(key, name, ids[index])
            if sending is None:
                batch.bad[index] = RowFault(
                    line=batch.lines[index],
                    column="key" if key else "message",
                    value=str(key or name or ""),
                    reason=reason,
                )
                continue
            status = statuses.Status(sending=sending, status=statuses.EVENTS[batch.name], at=at, link=link)
            if self._is_new(status, batch.own_ids[index]):
                reported.append(status)
        if not self._plan.dry_run:
            statuses.record(self._connection, reported, now=self._plan.now)

    def _sending(
        self, key: str | None, name: str | None, contact_id: int | None
    ) -> tuple[statuses.Sending | None, str]:
        if key is not None:
            return statuses.by_key(self._connection, key), "no message has this key"
        if name is None:
            return None, "names no message: give its key, or a contact and a message's name"
        if contact_id is None:
            return None, "says neither the key of the message nor whose it is"
        return statuses.newest(self._connection, contact_id, name), "no such message was sent to this contact"

    def _is_new(self, status: statuses.Status, own: str | None) -> bool:
        if self._plan.dry_run:
            self.outcome.stored += 1
            return False
        new = statuses.note(self._connection, status, identity=own)
        self.outcome.stored += new
        self.outcome.known += not new
        return new

    def _contacts(self, batch: _Batch, asked: Sequence[bool] | None = None) -> list[int | None]:
        """Whose each row is; rows of nobody are marked bad, or their contact is made."""
        found: list[int | None] = [None] * len(batch.rows)
        named: list[tuple[tuple[str, ...], str] | None] = [None] * len(batch.rows)
        for columns, cells in batch.persons:
            wanted = [
                _person(cell) if found[index] is None and named[index] is None else None
                for index, cell in enumerate(cells)
            ]
            for column in (*columns, "id") if len(columns) > 1 else columns:
                self._look_up(column, wanted, found)
            for index, said in enumerate(wanted):
                if said is not None:
                    named[index] = (columns, said)
        for index, contact_id in enumerate(found):
            if (
                index in batch.bad
                or (asked is not None and not asked[index])
                or (contact_id is not None and contact_id > 0)
            ):
                continue
            who = named[index]
            if contact_id is None and who is not None and self._plan.create:
                contact_id = self._create(batch, index, *who, found, named)  # noqa: PLW2901 - its outcome
            if contact_id is None or contact_id <= 0:
                reason = _nobody(contact_id, who is not None)
                batch.bad.setdefault(
                    index,
                    RowFault(line=batch.lines[index], column="contact", value=who[1] if who else "", reason=reason),
                )
        return found

    def _look_up(self, column: str, wanted: Sequence[str | None], found: list[int | None]) -> None:
        open_ = [said is not None and found[index] is None for index, said in enumerate(wanted)]
        if not any(open_):
            return
        asked: Iterable[Any] = compress(wanted, open_)
        if column == "id":
            asked = [int(said[1:]) for said in asked if said.startswith("#") and said[1:].isdecimal()]
        query = f"SELECT {column}, id FROM contacts WHERE {column} IN (SELECT value FROM json_each(?))"
        matches: dict[str, int] = {}
        for value, contact_id in self._connection.execute(query, (json.dumps(list(asked)),)):
            folded = f"#{value}" if column == "id" else value.lower() if column == "email" else value
            matches[folded] = 0 if folded in matches else contact_id
        for index, said in enumerate(wanted):
            if open_[index] and said is not None:
                found[index] = matches.get(said.lower() if column == "email" else said)

    def _create(
        self, batch: _Batch, index: int, columns: tuple[str, ...], said: str, found: list[int | None], named: list[Any]
    ) -> int | None:
        """Make the contact a row speaks of, and give it to the rows after that speak of it too."""
        name = columns[0] if len(columns) == 1 else contacts.name_of(said)
        try:
            value = casting.caster(Kind(type=name if name in ("email", "phone") else "text"), self._plan.reading)(said)
            if self._plan.dry_run:
                contact_id = -1
            else:
                contact_id = contacts.create(
                    self._connection, {name: value}, origin=self._plan.origin, now=self._plan.now
                )
        except (CastError, Failure) as error:
            batch.bad[index] = RowFault(line=batch.lines[index], column="contact", value=said, reason=str(error))
            return None
        self.outcome.created += 1
        for later in range(index, len(found)):
            if named[later] == (columns, said) and found[later] is None:
                found[later] = abs(contact_id)
        return abs(contact_id)


def _answers(cells: Sequence[Any], report: Callable[[int, CastError], None]) -> Column:
    """Answers to a survey: an object by question, or its text."""
    values: Column = []
    for index, cell in enumerate(cells):
        said = cell
        if isinstance(cell, str) and cell.strip():
            try:
                said = json.loads(cell)
            except ValueError:
                said = cell
        if said not in (None, "") and not isinstance(said, dict):
            report(index, CastError('expected answers by question, like {"score": 9}'))
        values.append(said if isinstance(said, dict) else None)
    return values


def _person(cell: Any) -> str | None:
    said = str(cell).strip() if cell is not None else ""
    return said or None


def _nobody(contact_id: int | None, named: bool) -> str:  # noqa: FBT001 - whether the row says who
    if contact_id == 0:
        return "several contacts are called so; give the key"
    return "no contact is called so; import contacts first, or use --create" if named else "says not whose it is"


def _texts(batch: _Batch) -> list[str | None]:
    """The properties of each row as JSON; None where there are none."""
    if not batch.properties:
        return [None] * len(batch.rows)
    names = tuple(batch.properties)
    rows = zip(*batch.properties.values(), strict=True)
    objects = ({name: value for name, value in zip(names, row, strict=True) if value is not None} for row in rows)
    return [_encode(each) if each else None for each in objects]


def _for_json(type_: str, values: Column) -> Column:
    """Stored values as JSON says them: whole numbers without a point, true and false, lists."""
    match type_:
        case "number":
            return [int(value) if value is not None and value.is_integer() else value for value in values]
        case "boolean":
            return [None if value is None else bool(value) for value in values]
        case "tags":
            return [None if value is None else json.loads(value) for value in values]
    return values


def _reporter(batch: _Batch, column: str, cells: Sequence[Any]) -> Callable[[int, CastError], None]:
    def report(index: int, error: CastError) -> None:
        batch.bad.setdefault(
            index, RowFault(line=batch.lines[index], column=column, value=str(cells[index]), reason=str(error))
        )

    return report


def _refuse_filled(cells: Sequence[Any], report: Callable[[int, CastError], None], reason: str) -> None:
    for index, cell in enumerate(cells):
        if cell is not None and cell != "":
            report(index, CastError(reason))


def _undeclared(name: str, events: Events) -> str:
    return f"no event {name!r} is declared{_nearest(name, list(events))}" if name else "which event it is is missing"


def _nearest(name: str, names: Sequence[str]) -> str:
    from difflib import get_close_matches  # noqa: PLC0415 - only for a fault

    near = get_close_matches(name, names, n=1)
    return f"; did you mean {near[0]}?" if near else ""
