"""The columns of a file of contacts: which field each is, and its cells as stored values."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import compress
from typing import TYPE_CHECKING, Any

from flowctl.failure import UsageFailure
from flowctl.store import casting, consents
from flowctl.store.casting import CastError, Kind
from flowctl.store.reading import RowFault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from flowctl.store.casting import Reading
    from flowctl.store.fields import Field
    from flowctl.store.reading import Chunk

    Column = list[Any]
    CastColumn = Callable[[Sequence[Any], Callable[[int, CastError], None]], Column]

FUTURE_MS_MAX = 86_400_000  # a consent dated later than tomorrow is a slip, and would outdo every withdrawal until then
IDENTITIES = ("key", "email", "phone")
LEFT_OUT = "-"  # what --map sends a column to that is not wanted


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


class ContactColumns:
    """Reads the chunks of one file."""

    def __init__(self, fields: Mapping[str, Field], plan: Plan) -> None:
        self._fields = fields
        self._plan = plan
        self._casts: dict[str, CastColumn] = {}

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
            message = f"--map: the file has no column {min(missing)!r}"
            raise UsageFailure(message, help=f"it has {', '.join(targets)}")

    def read(self, chunk: Chunk) -> tuple[dict[str, Column], list[int], list[RowFault]]:
        """The good rows of a chunk as cast columns, with their lines; and the others."""
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
        if not bad:
            return columns, chunk.lines, []
        good = [index not in bad for index in range(len(chunk.lines))]
        columns = {name: list(compress(column, good)) for name, column in columns.items()}
        return columns, list(compress(chunk.lines, good)), [bad[index] for index in sorted(bad)]

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
        latest = self._plan.now + FUTURE_MS_MAX
        for name, column in columns.items():
            if name.startswith("consent.") and name.endswith(".at"):
                for index, at in enumerate(column):
                    if at is not None and at > latest:
                        value = _cell(chunk, index, name)
                        fault = RowFault(line=chunk.lines[index], column=name, value=value, reason="lies in the future")
                        bad.setdefault(index, fault)

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
