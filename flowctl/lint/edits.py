"""Edits that fixes are made of: a key into a mapping, a step behind another, a step or a key away; layout and comments stay."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from flowctl.language.offsets import offset, place_at, span
from flowctl.language.problem import Edit, Place
from flowctl.language.source import Mapping, Scalar, lines

if TYPE_CHECKING:
    from flowctl.language.source import Node

_ITEM = re.compile(r"[ ]*- $")  # what stands before an item of a block list, where it is alone on its line


def is_flow(node: Node, text: str) -> bool:
    """Whether a mapping or list is written in braces or brackets."""
    return not isinstance(node, Scalar) and text[offset(text, node.place.line, node.place.column)] in "{["


def key_added(node: Mapping, said: str, text: str, *, behind: str = "") -> Edit | None:
    """`said` (`id: reminder`) as a further key of a mapping, behind the key `behind` (the last unless given); None where it cannot be placed."""
    entries = list(node.entries.values())
    entry = node.entries.get(behind) or (entries[-1] if entries else None)
    if entry is None:
        return None
    if is_flow(node, text):
        return _inserted(node.place.path, text, _end(entry.value, text), f", {said}")
    return _line_behind(entry.value, " " * (entry.key.place.column - 1) + said, text)


def step_added(node: Mapping, said: str, text: str) -> Edit | None:
    """`said` (`exit: done`) as a step behind another in the same list; None where the list is laid out in a way not known."""
    before = lines(text)[node.place.line - 1][: node.place.column - 1]
    if _ITEM.match(before):
        return _line_behind(node, f"{before}{said}", text)
    if is_flow(node, text) and before.rstrip().endswith(("[", ",")):
        return _inserted(node.place.path, text, _end(node, text), f", {{{said}}}")
    return None


def step_deleted(node: Mapping, text: str) -> Edit | None:
    """A step of a block list away, with its lines; None where it shares a line with others."""
    rows = lines(text)
    before = rows[node.place.line - 1][: node.place.column - 1]
    if not _ITEM.match(before):
        return None
    end = _end(node, text)
    until = text.find("\n", end)
    last = place_at(node.place.path, text, end, 0)
    if text[max(0, end - 1)] == "\n":  # a block text ends at the beginning of the next line
        until = end - 1
    begin = offset(text, node.place.line, 1)
    stop = len(text) if until < 0 else until + 1
    return _replaced(last.path, text, begin, stop, "")


def key_deleted(node: Mapping, key: str, text: str) -> Edit | None:
    """A key and its value away: its lines in a block, its part of the braces else; None where it is the only one."""
    names = list(node.entries)
    if key not in node.entries or len(names) == 1:
        return None
    entry = node.entries[key]
    begin = offset(text, entry.key.place.line, entry.key.place.column)
    end = _end(entry.value, text)
    if is_flow(node, text):
        comma = re.compile(r"\s*,\s*")
        if behind := comma.match(text, end):
            return _replaced(node.place.path, text, begin, behind.end(), "")
        start = text.rfind(",", 0, begin)
        return _replaced(node.place.path, text, start, end, "")
    if names[0] == key:
        following = node.entries[names[1]].key.place  # the dash of a list stays where it is
        return _replaced(node.place.path, text, begin, offset(text, following.line, following.column), "")
    line_end = text.find("\n", end)
    start = offset(text, entry.key.place.line, 1)
    return _replaced(node.place.path, text, start, len(text) if line_end < 0 else line_end + 1, "")


def _end(node: Node, text: str) -> int:
    """Where the last thing said in a node ends; braces and brackets belong to it."""
    while not is_flow(node, text) and not isinstance(node, Scalar):
        inner = [entry.value for entry in node.entries.values()] if isinstance(node, Mapping) else list(node.items)
        if not inner:
            break
        node = inner[-1]
    return span(text, node.place)[1]


def _line_behind(node: Node, said: str, text: str) -> Edit:
    """A line of its own behind the last line of a node, and behind a comment there."""
    path, end = node.place.path, _end(node, text)
    newline = "\r\n" if "\r\n" in text else "\n"
    if text[max(0, end - 1)] == "\n":  # a block text
        return _inserted(path, text, end, f"{said}{newline}")
    at = text.find("\n", end)
    if at < 0:
        return _inserted(path, text, len(text), f"{newline}{said}")
    at -= text[at - 1] == "\r"
    return _inserted(path, text, at, f"{newline}{said}")


def _inserted(path: str, text: str, at: int, said: str) -> Edit:
    return _replaced(path, text, at, at, said)


def _replaced(path: str, text: str, begin: int, end: int, said: str) -> Edit:
    first, last = place_at(path, text, begin, 0), place_at(path, text, end, 0)
    return Edit(
        place=Place(path=path, line=first.line, column=first.column, end_line=last.line, end_column=last.column),
        text=said,
    )
