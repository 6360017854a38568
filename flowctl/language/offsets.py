"""From lines and columns to offsets in a text, and back; and the text that edits make of another."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from flowctl.language.problem import Place
from flowctl.language.source import lines

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flowctl.language.problem import Edit


def starts(text: str) -> list[int]:
    """Where each line begins, in characters."""
    found = [0]
    at = 0
    for line in lines(text):
        at += len(line)
        at += 2 if text.startswith("\r\n", at) else 1
        found.append(at)
    return found


def offset(text: str, line: int, column: int) -> int:
    """The offset of a line and column, both counted from 1; a place behind the end is the end."""
    begins = starts(text)
    return min(begins[min(line, len(begins)) - 1] + column - 1, len(text))


def span(text: str, place: Place) -> tuple[int, int]:
    """Where a place begins and ends."""
    return offset(text, place.line, place.column), offset(text, place.end_line, place.end_column)


def place_at(path: str, text: str, at: int, length: int) -> Place:
    """The place of `length` characters from an offset, as if they stood on one line."""
    begins = starts(text)
    line = bisect_right(begins, at)
    column = at - begins[line - 1] + 1
    return Place(path=path, line=line, column=column, end_line=line, end_column=column + max(1, length))


def edited(text: str, edits: Iterable[Edit]) -> str:
    """The text with all edits made; they are of one file and must not overlap."""
    spans = sorted((*span(text, edit.place), edit.text) for edit in edits)
    pieces, at = [], 0
    for begin, end, new in spans:
        pieces += [text[at:begin], new]
        at = end
    return "".join(pieces) + text[at:]
