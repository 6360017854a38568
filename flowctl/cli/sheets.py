"""Cells of CSV files that people open in spreadsheets: readable values, and none that would be run as a formula."""

from __future__ import annotations

import csv
import json
import re
from typing import TYPE_CHECKING, Any

from flowctl.cli.times import iso

if TYPE_CHECKING:
    from typing import TextIO

# With their full-width forms, which some locales' spreadsheets take for them.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_NUMBER = re.compile(r"[+-]?[\d .]+")


class _Rows:
    """Rows that end in LF, of a writer that ends them in CRLF."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def write(self, row: str) -> int:
        return self._out.write(row.removesuffix("\r\n") + "\n")


def writer(out: TextIO) -> Any:
    """A csv.writer whose rows end in LF, and that quotes a lone CR as well: a spreadsheet begins a row at it."""
    return csv.writer(_Rows(out), lineterminator="\r\n")  # before 3.13 it quotes what its own line ends are made of


def harmless(text: str) -> str:
    """A text that no spreadsheet takes for a formula: an apostrophe goes before it. Phone numbers are none.

    See https://owasp.org/www-community/attacks/CSV_Injection.
    """
    if text.startswith(_FORMULA) and not _NUMBER.fullmatch(text):
        return "'" + text
    return text


def cell(type_: str, value: Any) -> str:
    """A stored value as a cell that an import reads back (but for what `harmless` adds)."""
    plain = readable(type_, value)
    if plain is None:
        return ""
    if isinstance(plain, bool):
        return "true" if plain else "false"
    if isinstance(plain, list):
        return harmless(",".join(plain))
    return harmless(plain) if isinstance(plain, str) else str(plain)


def readable(type_: str, value: Any) -> Any:
    """A stored value as JSON says it: times in ISO 8601 (UTC), tags as a list, whole numbers without a point."""
    if value is None:
        return None
    match type_:
        case "boolean":
            return bool(value)
        case "datetime":
            return iso(value)
        case "tags":
            return json.loads(value)
        case "number":
            return int(value) if float(value).is_integer() and abs(value) < 2**53 else value
    return value
