"""Files of rows (CSV, TSV, JSON, NDJSON; from standard input too) as chunks of cells with their line numbers, in flat memory.

sqlite-utils' `rows_from_file` would be the obvious reader; it holds a whole JSON file in memory, knows no line numbers, guesses
delimiters from two kilobytes, and hands out a dict a row, which alone takes longer than the whole import may.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
import sys
from dataclasses import dataclass
from itertools import accumulate, chain, islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

from flowctl.failure import Failure, UsageFailure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

Format = Literal["csv", "tsv", "json", "ndjson"]
FORMATS: dict[str, Format] = {
    ".csv": "csv",
    ".txt": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".json": "json",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
}
CHUNK_ROWS_MAX = 10_000  # a transaction of an import: a tenth of a second for a table of six columns
CHUNK_CELLS_MAX = 200_000  # … and no longer for wide ones
SNIFF_BYTES = 1 << 20
BLOCK_CHARS = 1 << 18
ELEMENT_CHARS_MAX = 1 << 24  # one object of a JSON array
_DELIMITERS = (",", ";", "\t", "|")
_BREAK = re.compile(r"\r\n|\r|\n")


@dataclass(frozen=True, kw_only=True, slots=True)
class RowFault:
    """A row that was left out, and why. `line` counts from 1; `column` is '' where the whole row is meant."""

    line: int
    column: str
    value: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Chunk:
    """Some rows: cells in the order of `columns`, `lines` where each begins. Cells are texts, of JSON also what JSON holds."""

    columns: tuple[str, ...]
    rows: list[Sequence[Any]]
    lines: list[int]
    faults: list[RowFault]


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A file that is being read. `columns` are those of the header, of JSON those of the first chunk."""

    name: str
    format: Format
    columns: tuple[str, ...]
    chunks: Iterator[Chunk]
    size: int | None  # bytes, where it is a file
    position: Callable[[], int]  # bytes read
    close: Callable[[], None]


def open_source(
    path: str,
    *,
    format: Format | None = None,  # noqa: A002 - the user's word
    encoding: str | None = None,
    delimiter: str | None = None,
) -> Source:
    """Begin to read a file, `-` for standard input; format, encoding and delimiter are found out unless said.

    Raises:
        Failure: it cannot be read, is no text, or its header cannot serve.
    """
    raw, size = _open(path)
    counted = _Counted(raw, owned=path != "-")
    try:
        return _begin(counted, path, size, format, encoding, delimiter)
    except BaseException:
        counted.close()
        raise


def _begin(
    counted: _Counted, path: str, size: int | None, said: Format | None, encoding: str | None, delimiter: str | None
) -> Source:
    buffered = io.BufferedReader(counted, SNIFF_BYTES)
    sample = buffered.peek(SNIFF_BYTES)[:SNIFF_BYTES]
    name = "standard input" if path == "-" else path
    found = said or FORMATS.get(Path(path).suffix.lower()) or _sniff_format(sample)
    text = io.TextIOWrapper(buffered, encoding=_encoding(sample, encoding, name), errors="surrogateescape", newline="")
    chunks = _csv_chunks(text, delimiter, name, found) if found in ("csv", "tsv") else _json_chunks(text, found, name)
    first = next(chunks, None)
    columns = first.columns if first else ()
    rest = _chain(first, chunks, text)
    return Source(
        name=name,
        format=found,
        columns=columns,
        chunks=rest,
        size=size,
        position=lambda: counted.bytes,
        close=text.close,
    )


class _Counted(io.RawIOBase):
    """A raw stream that knows how many bytes went through it."""

    def __init__(self, raw: IO[bytes], *, owned: bool) -> None:
        self.bytes = 0
        self._raw = raw
        self._owned = owned

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._raw.read(len(buffer))
        buffer[: len(data)] = data
        self.bytes += len(data)
        return len(data)

    def close(self) -> None:
        if self._owned:
            self._raw.close()
        super().close()


def _open(path: str) -> tuple[IO[bytes], int | None]:
    if path == "-":
        return sys.stdin.buffer, None
    try:
        raw = Path(path).open("rb", buffering=0)  # noqa: SIM115 - closed when the chunks are through
    except OSError as error:
        message = f"cannot read {path}: {error.strerror}"
        raise Failure(message, help="name a CSV, TSV, JSON or NDJSON file, or - for standard input") from error
    size = Path(path).stat().st_size
    return raw, size or None


def _chain(first: Chunk | None, rest: Iterator[Chunk], text: io.TextIOWrapper) -> Iterator[Chunk]:
    with text:
        if first is not None:
            yield first
            yield from rest


def _encoding(sample: bytes, said: str | None, name: str) -> str:
    if said:
        try:
            return codecs.lookup(said).name
        except LookupError:
            message = f"there is no encoding {said!r}"
            raise UsageFailure(message, help="for example utf-8, cp1252, utf-16") from None
    if sample.startswith(codecs.BOM_UTF8):
        return "utf-8-sig"
    if sample.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    try:
        codecs.getincrementaldecoder("utf-8")().decode(sample)
    except UnicodeDecodeError as error:
        line = sample.count(b"\n", 0, error.start) + 1
        message = f"{name}:{line}: not UTF-8 (byte 0x{sample[error.start]:02X})"
        raise Failure(message, help="it may come from Excel: try --encoding cp1252 (or latin-1)") from None
    return "utf-8"


def _sniff_format(sample: bytes) -> Format:
    head = sample.removeprefix(codecs.BOM_UTF8).lstrip()[:1]
    return "json" if head == b"[" else "ndjson" if head == b"{" else "csv"


def _sniff_delimiter(header: str) -> str:
    bare = re.sub(r'"[^"]*"', "", header)
    return max(_DELIMITERS, key=bare.count)


def _csv_chunks(text: io.TextIOWrapper, delimiter: str | None, name: str, format_: Format) -> Iterator[Chunk]:
    header_text = text.readline()
    if not header_text.strip():
        _refuse_empty(header_text + text.read(1), name)
        return
    chosen = delimiter or ("\t" if format_ == "tsv" else _sniff_delimiter(header_text))
    if chosen == "\\t":
        chosen = "\t"
    if len(chosen) != 1:
        message = f"--delimiter {chosen!r} is not one character"
        raise UsageFailure(message)
    reader = csv.reader(chain((header_text,), text), delimiter=chosen)
    header = _header([cell.strip() for cell in next(reader)], name)
    limit = max(1, min(CHUNK_ROWS_MAX, CHUNK_CELLS_MAX // len(header)))
    first, more = True, True
    while more:
        rows, lines, faults, more = _read_rows(reader, limit)
        rows, lines = _check_rows(rows, lines, faults, len(header))
        if rows or faults or first:  # the first tells the columns, even where no row follows
            yield Chunk(columns=header, rows=rows, lines=lines, faults=faults)
        first = False


def _refuse_empty(content: str, name: str) -> None:
    if not content.strip():
        message = f"{name} is empty"
        raise Failure(message, help="it needs a header row and at least one row")
    message = f"{name}:1: the first line is empty where the names of the columns should stand"
    raise Failure(message, help="remove the empty line")


def _header(names: list[str], name: str) -> tuple[str, ...]:
    while names and not names[-1]:  # spreadsheets leave empty columns behind
        names.pop()
    twice = sorted({column for column in names if column and names.count(column) > 1})
    if twice:
        message = f"{name}:1: two columns are called {twice[0]!r}"
        raise Failure(message, help="rename one of them")
    odd = next((column for column in names if "\0" in column or _undecoded(column)), None)
    if odd is not None:
        message = f"{name}:1: the header is no text: {odd!r}"
        raise Failure(message, help="is this a CSV file in UTF-8?")
    return tuple(names)


def _undecoded(text: str) -> bool:
    return not text.isascii() and any("\udc80" <= letter <= "\udcff" for letter in text)


def _read_rows(reader: Any, limit: int) -> tuple[list[Sequence[str]], list[int], list[RowFault], bool]:
    """Up to `limit` rows with the lines they begin at, and whether there may be more."""
    rows: list[Sequence[str]] = []
    lines: list[int] = []
    faults: list[RowFault] = []
    while len(rows) < limit:
        count, before = len(rows), reader.line_num
        try:
            rows.extend(islice(reader, limit - count))
        except csv.Error as error:  # the rows before it are in the list
            *starts, begin = accumulate(map(_height, rows[count:]), initial=before + 1)
            lines.extend(starts)
            reason = f"no CSV: {error} (a quote that is never closed?); left out up to line {reader.line_num}"
            faults.append(RowFault(line=begin, column="", value="", reason=reason))
            continue
        if reader.line_num - before == len(rows) - count:  # no row takes more than one line
            lines.extend(range(before + 1, reader.line_num + 1))
        else:
            lines.extend(accumulate(map(_height, rows[count:-1]), initial=before + 1))
        return rows, lines, faults, len(rows) >= limit
    return rows, lines, faults, True


def _height(row: Sequence[str]) -> int:
    """How many lines of the file a row takes."""
    return 1 + sum(len(_BREAK.findall(cell)) for cell in row)


def _check_rows(
    rows: list[Sequence[str]], lines: list[int], faults: list[RowFault], width: int
) -> tuple[list[Sequence[str]], list[int]]:
    """Leave out blank rows, ragged ones and those that hold no text; whole chunks of clean rows pass without a look at each."""
    together = "".join(map("".join, rows))
    clean = "\0" not in together and not _undecoded_anywhere(together)
    if clean and set(map(len, rows)) <= {width}:
        return rows, lines
    kept, kept_lines = [], []
    for row, line in zip(rows, lines, strict=True):
        if not any(row):
            continue
        reason = _ragged(row, width) or _no_text(row)
        if reason:
            faults.append(RowFault(line=line, column="", value=" ".join(row)[:80], reason=reason))
        else:
            kept.append(row[:width])
            kept_lines.append(line)
    return kept, kept_lines


def _undecoded_anywhere(together: str) -> bool:
    if together.isascii():
        return False
    try:
        together.encode()
    except UnicodeEncodeError:
        return True
    return False


def _ragged(row: Sequence[str], width: int) -> str:
    if len(row) == width or (len(row) > width and not any(row[width:])):
        return ""
    return f"has {len(row)} cells where the header has {width}; a delimiter or a line break without quotes?"


def _no_text(row: Sequence[str]) -> str:
    if any("\0" in cell for cell in row):
        return "holds a NUL byte"
    if any(_undecoded(cell) for cell in row):
        return "is not in the file's encoding; --encoding cp1252 reads files of Excel"
    return ""


def _json_chunks(text: io.TextIOWrapper, format_: Format, name: str) -> Iterator[Chunk]:
    elements = _array_elements(text, name) if format_ == "json" else _ndjson_elements(text)
    empty = True
    while True:
        objects, lines, faults, more = _take_objects(elements)
        empty = empty and not objects and not faults
        if objects or faults:
            columns = tuple(dict.fromkeys(key for each in objects for key in each))
            rows: list[Sequence[Any]] = [[each.get(column) for column in columns] for each in objects]
            yield Chunk(columns=columns, rows=rows, lines=lines, faults=faults)
        if not more:
            break
    if empty:
        message = f"{name} holds no rows"
        raise Failure(message, help="it needs at least one object")


def _take_objects(elements: Iterator[tuple[int, Any]]) -> tuple[list[dict[str, Any]], list[int], list[RowFault], bool]:
    objects: list[dict[str, Any]] = []
    lines: list[int] = []
    faults: list[RowFault] = []
    cells = 0
    for line, element in elements:
        reason = _odd_object(element)
        if reason:
            faults.append(RowFault(line=line, column="", value=str(element)[:80], reason=reason))
            continue
        row = _flat(element)
        objects.append(row)
        lines.append(line)
        cells += len(row)
        if len(objects) >= CHUNK_ROWS_MAX or cells >= CHUNK_CELLS_MAX:
            return objects, lines, faults, True
    return objects, lines, faults, False


def _odd_object(element: Any) -> str:
    if isinstance(element, _Unreadable):
        return element.reason
    if not isinstance(element, dict):
        return 'expected an object, like {"key": "c1"}'
    together = json.dumps(element, ensure_ascii=False)
    if "\\u0000" in together:
        return "holds a NUL byte"
    if _undecoded_anywhere(together):
        return "is not UTF-8; --encoding cp1252 reads files of Windows"
    return ""


def _flat(element: dict[str, Any]) -> dict[str, Any]:
    """Inner objects as dotted names: {"consent": {"email": true}} is `consent.email`."""
    if not any(isinstance(value, dict) for value in element.values()):
        return element
    flat: dict[str, Any] = {}
    for name, value in element.items():
        if isinstance(value, dict):
            flat |= {f"{name}.{inner}": each for inner, each in _flat(value).items()}
        else:
            flat[name] = value
    return flat


@dataclass(frozen=True, slots=True)
class _Unreadable:
    reason: str


def _ndjson_elements(text: Iterable[str]) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(text, 1):
        if not line.strip():
            continue
        try:
            yield number, json.loads(line, parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            yield number, _Unreadable(f"no JSON: {error}")


def _no_constant(word: str) -> Any:
    message = f"{word} is no JSON value"
    raise ValueError(message)


def _array_elements(text: io.TextIOWrapper, name: str) -> Iterator[tuple[int, Any]]:
    """The elements of a JSON array, one at a time: the decoder is handed a window of the text that slides on."""
    decoder = json.JSONDecoder(parse_constant=_no_constant)
    window, line = text.read(BLOCK_CHARS).lstrip("\ufeff"), 1
    start = len(window) - len(window.lstrip())
    if window[start : start + 1] != "[":
        message = f"{name}: expected a JSON array of objects"
        raise Failure(message, help="write [{…}, {…}], or one object a line with --format ndjson")
    start += 1
    while True:
        window, start, line = _next_element(window, start, line, text)
        if window[start : start + 1] == "]":
            return
        if not window:
            message = f"{name}:{line}: the array is never closed; the file may be cut off"
            raise Failure(message, help="rows before this one are stored; fetch the file again and import it anew")
        try:
            element, end = decoder.raw_decode(window, start)
        except (ValueError, RecursionError) as error:
            more = text.read(BLOCK_CHARS) if len(window) - start < ELEMENT_CHARS_MAX else ""
            if not more:
                message = f"{name}:{line}: no JSON: {error}"
                raise Failure(
                    message, help="rows before this one are stored; mend the file and import it again"
                ) from None
            window, start = window[start:] + more, 0
            continue
        yield line, element
        line += len(_BREAK.findall(window, start, end))
        start = end


def _next_element(window: str, start: int, line: int, text: io.TextIOWrapper) -> tuple[str, int, int]:
    """Pass blanks and a comma, reading on where the window ends."""
    while True:
        end = start
        while end < len(window) and window[end] in " \t\r\n,":
            end += 1
        line += window.count("\n", start, end)
        if end < len(window):
            return window[end:] if end > BLOCK_CHARS else window, 0 if end > BLOCK_CHARS else end, line
        more = text.read(BLOCK_CHARS)
        if not more:
            return "", 0, line
        window, start = more, 0
