"""Bulk loading of contacts: chunks of cells become new rows and changes, a transaction a chunk, the same again if run again."""

from __future__ import annotations

import json
import os
from array import array
from dataclasses import dataclass, field
from itertools import compress
from typing import TYPE_CHECKING, Any

from flowctl.store import consents, fields, suppressions
from flowctl.store.contact_columns import IDENTITIES, ContactColumns
from flowctl.store.database import transaction
from flowctl.store.fields import quoted
from flowctl.store.reading import RowFault
from flowctl.store.zones import zone_id, zone_of

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Sequence

    from flowctl.store.contact_columns import Plan
    from flowctl.store.reading import Chunk

    Column = list[Any]

REPEATS_SHOWN_MAX = 20
ZONE_FIELDS = ("timezone", "phone", "country")


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


class ContactImport:
    """One run: hand it the chunks in their order. A contact is known by key, else e-mail address, else phone number."""

    def __init__(self, connection: sqlite3.Connection, plan: Plan, fault: Callable[[RowFault], None]) -> None:
        self.outcome = Outcome()
        self._connection = connection
        self._plan = plan
        self._fault = fault
        self._fields = fields.load(connection)
        self._columns = ContactColumns(self._fields, plan)
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
        self._columns.check(columns)

    def take(self, chunk: Chunk) -> None:
        """Load a chunk, in one transaction."""
        for each in chunk.faults:
            self._refuse(each)
        columns, lines, bad = self._columns.read(chunk)
        for each in bad:
            self._refuse(each)
        if not lines:
            return
        if self._plan.dry_run:
            self._load(columns, lines)
            return
        with transaction(self._connection):
            self._load(columns, lines)

    def _refuse(self, fault: RowFault) -> None:
        self.outcome.failed += 1
        self._fault(fault)

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


def _rows_of(columns: dict[str, Column], lines: list[int], mask: list[bool]) -> tuple[dict[str, Column], list[int]]:
    return {name: list(compress(column, mask)) for name, column in columns.items()}, list(compress(lines, mask))


def _json(values: Iterable[Any]) -> str:
    return json.dumps([value for value in values if value is not None])


def _seeds(count: int) -> list[int]:
    return [number >> 1 for number in array("I", os.urandom(4 * count))]
