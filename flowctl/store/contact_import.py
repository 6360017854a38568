"""Bulk loading of contacts: chunks of cells become new rows and changes, a transaction a chunk, the same again if run again."""

from __future__ import annotations

import json
import os
from array import array
from dataclasses import dataclass, field
from itertools import compress
from typing import TYPE_CHECKING, Any

from flowctl.failure import UsageFailure
from flowctl.store import casting, consents, fields, suppressions
from flowctl.store.casting import CastError, Kind
from flowctl.store.database import transaction
from flowctl.store.fields import quoted
from flowctl.store.reading import RowFault
from flowctl.store.zones import zone_id, zone_of

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from flowctl.store.casting import Reading
    from flowctl.store.reading import Chunk

    Column = list[Any]
    CastColumn = Callable[[Sequence[Any], Callable[[int, CastError], None]], Column]

REPEATS_SHOWN_MAX = 20
FUTURE_MS_MAX = 86_400_000  # a consent dated later than tomorrow is a slip, and would outdo every withdrawal until then
IDENTITIES = ("key", "email", "phone")
ZONE_FIELDS = ("timezone", "phone", "country")
LEFT_OUT = "-"  # what --map sends a column to that is not wanted


@dataclass(kw_only=True, slots=True)
class Outcome:
    """What an import did, in rows."""

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    failed: int = 0
    repeats: list[tuple[int, int]] = field(default_factory=list)  # the first ones: line, and the earlier line it outdid
    repeated: int = 0
    withdrawals_kept: int = 0
    suppressed: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """How an import reads its file and what it adds."""

    reading: Reading
    now: int
    source: str  # of consents that name none
    columns: Mapping[str, str] = field(default_factory=dict)  # the file's column -> field, or LEFT_OUT
    consents: Mapping[str, str] = field(default_factory=dict)  # channel -> source, for rows that say nothing themselves
    clear_empty: bool = False  # an empty cell clears what is there; otherwise it says nothing
    ignore_unknown: bool = False
    dry_run: bool = False


class ContactImport:
    """One run: hand it the chunks in their order. A contact is known by key, else e-mail address, else phone number."""

    def __init__(self, connection: sqlite3.Connection, plan: Plan, fault: Callable[[RowFault], None]) -> None:
        self.outcome = Outcome()
        self._connection = connection
        self._plan = plan
        self._fault = fault
        self._fields = fields.load(connection)
        self._casts: dict[str, CastColumn] = {}
        self._zones: dict[tuple[Any, ...], int | None] = {}
        newest: int = connection.execute("SELECT coalesce(max(id), 0) FROM contacts").fetchone()[0]
        self._first_new_id = newest + 1
        # The line that last gave each contact, by id: four bytes a contact, so that rows that repeat one can be named.
        self._lines = array("I", bytes(4 * (newest + 1)))

    def check(self, columns: Iterable[str]) -> None:
        """Refuse columns that nobody knows, before anything is stored.

        Raises:
            UsageFailure: a column is no field, or none says who a row is about.
        """
        targets = {column: self._target(column) for column in columns}
        unknown = [column for column, target in targets.items() if target is None]
        if unknown and not self._plan.ignore_unknown:
            raise UsageFailure(
                _unknown(unknown, self._names()),
                help="--map COLUMN=FIELD says which it is, --map COLUMN=- leaves it out, --ignore-unknown all",
            )
        if not set(targets.values()) & set(IDENTITIES):
            message = "no column says who a row is about: key, email or phone"
            raise UsageFailure(message, help="--map customer_id=key says which it is")
        taken = [target for target in targets.values() if target and target != LEFT_OUT]
        twice = next((target for target in taken if taken.count(target) > 1), None)
        if twice:
            message = f"two columns are the field {twice}: {', '.join(column for column in targets if targets[column] == twice)}"
            raise UsageFailure(message, help="--map COLUMN=- leaves one out")
        missing = set(self._plan.columns) - set(targets)
        if missing:
            message = f"--map: the file has no column {sorted(missing)[0]!r}"
            raise UsageFailure(message, help=f"it has {', '.join(targets)}")

    def take(self, chunk: Chunk) -> None:
        """Load a chunk, in one transaction."""
        for each in chunk.faults:
            self._refuse(each)
        columns, lines = self._cast(chunk)
        if not lines:
            return
        if self._plan.dry_run:
            self._load(columns, lines)
            return
        with transaction(self._connection):
            self._load(columns, lines)

    def _names(self) -> list[str]:
        return [*self._fields, *(f"consent.{channel}" for channel in consents.CHANNELS)]

    def _target(self, column: str) -> str | None:
        """The field a column of the file goes to; '-' to leave it out; None where nobody knows it."""
        name = self._plan.columns.get(column, column)
        if name in self._fields or name == LEFT_OUT:
            return name
        if not name:
            return LEFT_OUT
        lower = name.lower()
        if lower in self._fields:
            return lower
        return name if consents.column_type(name) else None

    def _caster(self, target: str) -> CastColumn:
        cast = self._casts.get(target)
        if cast is None:
            known = self._fields.get(target)
            kind = known.kind if known else Kind(type=consents.column_type(target) or "text")
            cast = self._casts[target] = casting.column(kind, self._plan.reading)
        return cast

    def _refuse(self, fault: RowFault) -> None:
        self.outcome.failed += 1
        self._fault(fault)

    def _cast(self, chunk: Chunk) -> tuple[dict[str, Column], list[int]]:
        """The good rows of a chunk as cast columns, with their lines."""
        bad: dict[int, RowFault] = {}
        cells = dict(zip(chunk.columns, zip(*chunk.rows, strict=True), strict=True)) if chunk.rows else {}
        columns: dict[str, Column] = {}
        targets = {column: self._target(column) for column in cells}
        order = sorted(targets, key=lambda column: targets[column] == "phone")  # a phone is read by its row's country
        for column in order:
            target = targets[column]
            if target == LEFT_OUT or (target is None and self._plan.ignore_unknown):
                continue
            report = _reporter(bad, chunk, column, cells[column])
            if target is None:
                _refuse_unknown(cells[column], report)
            elif target == "phone" and "country" in columns:
                columns[target] = self._cast_phones(cells[column], columns["country"], report)
            else:
                columns[target] = self._caster(target)(cells[column], report)
        self._check_rows(columns, chunk, bad)
        for index in sorted(bad):
            self._refuse(bad[index])
        if not bad:
            return columns, chunk.lines
        good = [index not in bad for index in range(len(chunk.lines))]
        return {name: list(compress(column, good)) for name, column in columns.items()}, list(
            compress(chunk.lines, good)
        )

    def _cast_phones(self, cells: Sequence[Any], countries: Column, report: Callable[[int, CastError], None]) -> Column:
        numbers: Column = []
        for index, (cell, country) in enumerate(zip(cells, countries, strict=True)):
            number = None
            try:
                if cell is not None and str(cell).strip():
                    number = casting.phone(cell, country or self._plan.reading.region)
            except CastError as error:
                report(index, error)
            numbers.append(number)
        return numbers

    def _check_rows(self, columns: dict[str, Column], chunk: Chunk, bad: dict[int, RowFault]) -> None:
        """What no single cell shows: a row about nobody, a consent from the future."""
        known = [columns[name] for name in IDENTITIES if name in columns]
        if not known or None in known[0]:
            for index in range(len(chunk.lines)):
                if index not in bad and not any(column[index] is not None for column in known):
                    reason = "nobody: it has neither key nor e-mail address nor phone number"
                    bad[index] = RowFault(line=chunk.lines[index], column="", value="", reason=reason)
        for name in columns:
            if name.startswith("consent.") and name.endswith(".at"):
                latest = self._plan.now + FUTURE_MS_MAX
                for index, at in enumerate(columns[name]):
                    if at is not None and at > latest:
                        value, reason = _cell(chunk, index, name), "lies in the future"
                        bad.setdefault(
                            index, RowFault(line=chunk.lines[index], column=name, value=value, reason=reason)
                        )

    def _load(self, columns: dict[str, Column], lines: list[int]) -> None:
        """Load rows of which some may be about the same contact: those wait for a further pass, so that the later one wins."""
        while lines:
            later = _repeats(columns, len(lines))
            if not later:
                self._load_distinct(columns, lines)
                return
            now = [index not in later for index in range(len(lines))]
            first = {name: list(compress(column, now)) for name, column in columns.items()}
            self._load_distinct(first, list(compress(lines, now)))
            rest = [not each for each in now]
            columns = {name: list(compress(column, rest)) for name, column in columns.items()}
            lines = list(compress(lines, rest))

    def _load_distinct(self, columns: dict[str, Column], lines: list[int]) -> None:
        found = self._find(columns, len(lines))
        ambiguous = {index for index, contact_id in enumerate(found) if contact_id == 0}
        if ambiguous:
            for index in sorted(ambiguous):
                reason = "several contacts have this address; give the key"
                value = next((columns[name][index] for name in IDENTITIES[1:] if name in columns), "")
                self._refuse(RowFault(line=lines[index], column="", value=str(value), reason=reason))
            good = [index not in ambiguous for index in range(len(lines))]
            columns = {name: list(compress(column, good)) for name, column in columns.items()}
            lines, found = list(compress(lines, good)), list(compress(found, good))
        is_new = [contact_id is None for contact_id in found]
        if all(is_new):
            ids = self._create(columns, lines)
        elif not any(is_new):
            ids = [contact_id for contact_id in found if contact_id is not None]
            self._update(ids, columns, lines)
        else:
            ids = self._create_and_update(columns, lines, found)
        self._record_consents(ids, columns)

    def _create_and_update(self, columns: dict[str, Column], lines: list[int], found: list[int | None]) -> list[int]:
        is_new = [contact_id is None for contact_id in found]
        is_known = [not each for each in is_new]
        created = iter(self._create(*_rows_of(columns, lines, is_new)))
        self._update(
            [contact_id for contact_id in found if contact_id is not None], *_rows_of(columns, lines, is_known)
        )
        return [next(created) if contact_id is None else contact_id for contact_id in found]

    def _find(self, columns: dict[str, Column], count: int) -> list[int | None]:
        """The contact of each row: None for a new one, 0 where its address fits several."""
        found: list[int | None] = [None] * count
        keys = columns.get("key")
        if keys is not None:
            known = dict(
                self._connection.execute(
                    "SELECT key, id FROM contacts WHERE key IN (SELECT value FROM json_each(?))", (_json(keys),)
                )
            )
            if known:
                found = [known.get(key) if key is not None else None for key in keys]
            if self._connection.execute("SELECT 1 FROM contacts WHERE key IS NULL LIMIT 1").fetchone():
                self._adopt(found, keys, columns)
            if None not in keys:
                return found
        for name in IDENTITIES[1:]:
            if name in columns:
                open_ = [
                    contact_id is None
                    and (keys is None or keys[index] is None)
                    and columns[name][index] is not None
                    and (name == "email" or "email" not in columns or columns["email"][index] is None)
                    for index, contact_id in enumerate(found)
                ]
                self._match(found, open_, columns[name], name, "")
        return found

    def _adopt(self, found: list[int | None], keys: Column, columns: dict[str, Column]) -> None:
        """A row with a new key and the address of one contact without any gives that contact the key."""
        emails = columns.get("email")
        if emails is not None:
            open_ = [
                contact_id is None and key is not None and email is not None
                for contact_id, key, email in zip(found, keys, emails, strict=True)
            ]
            self._match(found, open_, emails, "email", " AND key IS NULL", sole=True)

    def _match(
        self, found: list[int | None], open_: list[bool], addresses: Column, name: str, also: str, *, sole: bool = False
    ) -> None:
        if not any(open_):
            return
        query = f"SELECT {name}, id FROM contacts WHERE {name} IN (SELECT value FROM json_each(?)){also}"
        matches: dict[str, int] = {}
        for address, contact_id in self._connection.execute(query, (_json(compress(addresses, open_)),)):
            folded = address.lower()
            matches[folded] = 0 if folded in matches else contact_id
        for index, asked in enumerate(open_):
            if asked and (contact_id := matches.get(addresses[index].lower())) is not None:
                found[index] = contact_id or (None if sole else 0)
                if sole:  # a second row with another key is another contact
                    del matches[addresses[index].lower()]

    def _create(self, columns: dict[str, Column], lines: list[int]) -> list[int]:
        count = len(lines)
        self.outcome.created += count
        if self._plan.dry_run or not count:
            return [0] * count
        start: int = self._connection.execute(
            "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'contacts'"
        ).fetchone()[0]
        ids = list(range(start + 1, start + 1 + count))
        stored = {name: column for name, column in columns.items() if name in self._fields}
        for each in self._fields.values():
            self._fill_default(stored, each, count)
        stored["created_at"] = [self._plan.now if at is None else at for at in stored.get("created_at", [None] * count)]
        stored |= {"_zone": self._zone_ids(columns, count), "_seed": _seeds(count), "_origin": [0] * count}
        names = ", ".join(map(quoted, stored))
        marks = ", ".join("?" * (len(stored) + 1))
        rows = zip(ids, *stored.values(), strict=True)
        self._connection.executemany(f"INSERT INTO contacts (id, {names}) VALUES ({marks})", rows)
        self._note_lines(ids, lines)
        if not columns.keys().isdisjoint(("email", "phone")):
            self.outcome.suppressed += suppressions.link(self._connection, ids, now=self._plan.now, new=True)
        return ids

    def _fill_default(self, stored: dict[str, Column], each: fields.Field, count: int) -> None:
        if each.default is not None:
            column = stored.get(each.name)
            stored[each.name] = (
                [each.default] * count
                if column is None
                else [each.default if cell is None else cell for cell in column]
            )

    def _note_lines(self, ids: Sequence[int], lines: list[int]) -> None:
        known = self._lines
        if ids[-1] >= len(known):
            known.frombytes(bytes(4 * (max(ids) + 1 - len(known))))
        for contact_id, line in zip(ids, lines, strict=True):
            if known[contact_id]:
                self.outcome.repeated += 1
                if len(self.outcome.repeats) < REPEATS_SHOWN_MAX:
                    self.outcome.repeats.append((line, known[contact_id]))
            known[contact_id] = line

    def _update(self, ids: list[int], columns: dict[str, Column], lines: list[int]) -> None:
        if not ids:
            return
        self._note_lines(ids, lines)
        names = [name for name in columns if name in self._fields]
        watched = [*names, *(name for name in ZONE_FIELDS if name not in names)]
        query = (
            f"SELECT id, {', '.join(map(quoted, watched))} FROM contacts WHERE id IN (SELECT value FROM json_each(?))"
        )
        before = {row[0]: row[1:] for row in self._connection.execute(query, (json.dumps(ids),))}
        changed: dict[tuple[str, ...], list[list[Any]]] = {}
        changes: list[tuple[Any, ...]] = []
        moved: list[int] = []
        for contact_id, *row in zip(ids, *(columns[name] for name in names), strict=True):
            old = before[contact_id]
            different = [
                (name, was, value)
                for name, was, value in zip(names, old, row, strict=False)
                if was != value and (value is not None or self._plan.clear_empty)
            ]
            if not different:
                continue
            self._collect(contact_id, different, dict(zip(watched, old, strict=True)), changed, changes)
            if any(name in ("email", "phone") for name, _, _ in different):
                moved.append(contact_id)
        updated = sum(map(len, changed.values()))
        self.outcome.updated += updated
        self.outcome.unchanged += len(ids) - updated
        if not self._plan.dry_run:
            self._write(changed, changes, moved)

    def _collect(
        self,
        contact_id: int,
        different: list[tuple[str, Any, Any]],
        old: dict[str, Any],
        changed: dict[tuple[str, ...], list[list[Any]]],
        changes: list[tuple[Any, ...]],
    ) -> None:
        names = tuple(name for name, _, _ in different)
        values = [value for _, _, value in different]
        if not set(ZONE_FIELDS).isdisjoint(names) and not self._plan.dry_run:
            new = old | {name: value for name, _, value in different}
            names, values = (*names, "_zone"), [*values, self._zone_id(tuple(new[name] for name in ZONE_FIELDS))]
        changed.setdefault(names, []).append([*values, contact_id])
        if (
            contact_id < self._first_new_id
        ):  # what this very run created has not changed: its file said two things of it
            changes.extend((contact_id, name, was, value, self._plan.now) for name, was, value in different)

    def _write(
        self, changed: dict[tuple[str, ...], list[list[Any]]], changes: list[tuple[Any, ...]], moved: list[int]
    ) -> None:
        for names, rows in changed.items():
            assignments = ", ".join(f"{quoted(name)} = ?" for name in names)
            self._connection.executemany(f"UPDATE contacts SET {assignments} WHERE id = ?", rows)
        self._connection.executemany(
            "INSERT INTO contact_changes (contact_id, field, old, new, at) VALUES (?, ?, ?, ?, ?)", changes
        )
        if moved:
            self.outcome.suppressed += suppressions.link(self._connection, moved, now=self._plan.now)

    def _zone_ids(self, columns: dict[str, Column], count: int) -> list[int | None]:
        if columns.keys().isdisjoint(ZONE_FIELDS):
            return [None] * count
        nothing: Column = [None] * count
        return [self._zone_id(each) for each in zip(*(columns.get(name, nothing) for name in ZONE_FIELDS), strict=True)]

    def _zone_id(self, said: tuple[Any, ...]) -> int | None:
        try:
            return self._zones[said]
        except KeyError:
            name = zone_of(*said)
            number = zone_id(self._connection, name) if name else None
        if said[1] is None or said[0] is not None:  # phone numbers are many: only the others are worth remembering
            self._zones[said] = number
        return number

    def _record_consents(self, ids: list[int], columns: dict[str, Column]) -> None:
        if self._plan.dry_run:
            return
        statements: list[consents.Statement] = []
        channels = {name.split(".")[1]: None for name in columns if name.startswith("consent.")}
        for channel in (*channels, *(each for each in self._plan.consents if each not in channels)):
            statements.extend(self._channel_statements(channel, ids, columns))
        for name, column in columns.items():
            if name.startswith("optout."):
                statements.extend(self._topic_statements(name, ids, column))
        if statements:
            self.outcome.withdrawals_kept += consents.record(
                self._connection, statements, now=self._plan.now, first_new_id=self._first_new_id
            )

    def _topic_statements(self, name: str, ids: list[int], column: Column) -> Iterable[consents.Statement]:
        for contact_id, word in zip(ids, column, strict=True):
            if word is not None:
                channel, purpose, granted = consents.from_column(name, yes=bool(word))
                source = self._plan.source
                yield consents.Statement(
                    contact_id=contact_id, channel=channel, granted=granted, at=None, source=source, purpose=purpose
                )

    def _channel_statements(
        self, channel: str, ids: list[int], columns: dict[str, Column]
    ) -> Iterable[consents.Statement]:
        nothing: Column = [None] * len(ids)
        words = columns.get(f"consent.{channel}", nothing)
        times = columns.get(f"consent.{channel}.at", nothing)
        sources = columns.get(f"consent.{channel}.source", nothing)
        blanket = self._plan.consents.get(channel)
        for contact_id, word, at, source in zip(ids, words, times, sources, strict=True):
            granted = bool(blanket) if word is None else bool(word)
            if word is not None or blanket:
                said = source or blanket or self._plan.source
                yield consents.Statement(contact_id=contact_id, channel=channel, granted=granted, at=at, source=said)


def _repeats(columns: dict[str, Column], count: int) -> set[int]:
    """Rows that may be about the contact of an earlier row: same key, or same address where one of the two has no key."""
    keys = columns.get("key")
    if keys is not None and None not in keys and len(set(keys)) == count:
        return set()
    nothing: Column = [None] * count
    later: set[int] = set()
    seen: dict[str, bool] = {}  # identity -> whether the row had a key
    rows = zip(keys or nothing, columns.get("email", nothing), columns.get("phone", nothing), strict=True)
    for index, (key, email, phone) in enumerate(rows):
        address = f"e:{email.lower()}" if email is not None else f"p:{phone}" if phone is not None else None
        with_key = key is not None
        names = ([f"k:{key}"] if with_key else []) + ([address] if address else [])
        if (with_key and names[0] in seen) or (address in seen and not (with_key and seen[str(address)])):
            later.add(index)
        for name in names:
            seen[name] = with_key and seen.get(name, True)
    return later


def _unknown(unknown: list[str], names: list[str]) -> str:
    from difflib import get_close_matches  # noqa: PLC0415 - only for a fault

    near = get_close_matches(unknown[0].lower(), names, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    what = "column" if len(unknown) == 1 else "columns"
    return f"no contact field for the {what} {', '.join(unknown)}{hint}"


def _refuse_unknown(cells: Sequence[Any], report: Callable[[int, CastError], None]) -> None:
    for index, cell in enumerate(cells):
        if cell is not None and cell != "":
            report(index, CastError("no contact field of this name"))


def _reporter(
    bad: dict[int, RowFault], chunk: Chunk, column: str, cells: Sequence[Any]
) -> Callable[[int, CastError], None]:
    def report(index: int, error: CastError) -> None:
        bad.setdefault(
            index, RowFault(line=chunk.lines[index], column=column, value=str(cells[index]), reason=str(error))
        )

    return report


def _cell(chunk: Chunk, index: int, column: str) -> str:
    return str(chunk.rows[index][chunk.columns.index(column)]) if column in chunk.columns else ""


def _rows_of(columns: dict[str, Column], lines: list[int], mask: list[bool]) -> tuple[dict[str, Column], list[int]]:
    return {name: list(compress(column, mask)) for name, column in columns.items()}, list(compress(lines, mask))


def _json(values: Iterable[Any]) -> str:
    return json.dumps([value for value in values if value is not None])


def _seeds(count: int) -> list[int]:
    return [number >> 1 for number in array("I", os.urandom(4 * count))]
