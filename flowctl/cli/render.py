"""Draws: tables, JSON, problems with their excerpts. Colour and frames only on a terminal."""

from __future__ import annotations

import json
import os
import re
import sys
from typing import TYPE_CHECKING, Any, TextIO

from flowctl.language.source import lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from flowctl.language.problem import Place, Problem

SCHEMA_VERSION = 1
LINE_COLUMNS_MAX = 120  # longer lines are cut around the place
# Controls beyond ASCII and marks of direction, which JSON need not escape but a terminal obeys.
_DRIVING = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
_SEVERITY_COLOURS = {"error": "1;31", "warning": "1;33", "info": "1;36"}


def is_terminal(stream: TextIO | None = None) -> bool:
    """Whether a person reads it (stdout unless given)."""
    return (stream or sys.stdout).isatty()


def colour(stream: TextIO | None = None) -> bool:
    """Whether to colour: on a terminal that can, unless NO_COLOR says no."""
    return is_terminal(stream) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str = "", right: Iterable[str] = ()
) -> None:
    """Print rows: a table on a terminal (columns in `right` flush right), else TSV with a header line.

    None is an empty cell; tabs, line ends and control characters in values cannot break a line of TSV.
    """
    if not is_terminal():
        print("\t".join(columns))
        for row in rows:
            print("\t".join(_cell(value) for value in row))
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    drawn = Table(title=escape(title) or None, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for column in columns:
        drawn.add_column(escape(column), justify="right" if column in set(right) else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*(escape(_cell(value)) for value in row))
    Console(highlight=False).print(drawn)


def document(kind: str, content: Mapping[str, Any]) -> None:
    """Print versioned JSON: `{"schema_version": 1, "kind": …, …}`; what JSON does not know is written as text."""
    print(json_text({"schema_version": SCHEMA_VERSION, "kind": kind, **content}, indent=2))


def json_text(content: Any, *, indent: int | None = None) -> str:
    """JSON for people and programs: letters as they are, escaped what could drive a terminal or turn text around."""
    text = json.dumps(content, ensure_ascii=False, indent=indent, default=str)
    return text if text.isascii() and "\x7f" not in text else _DRIVING.sub(lambda char: f"\\u{ord(char[0]):04x}", text)


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:g}"
    return printable(str(value))


def printable(text: str) -> str:
    """The text on one line, without characters that could drive a terminal."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else " " if char in "\t\n\r" else "\ufffd" for char in text)


def printable_lines(text: str) -> str:
    """The same, with its lines."""
    return "\n".join(printable(line) for line in text.split("\n"))


def concise(problem: Problem) -> str:
    """One line: `path:line:column: severity CODE slug: message`."""
    return f"{problem.place}: {problem.severity} {problem.code} {problem.slug}: {printable(problem.message)}"


def full(problem: Problem, sources: Mapping[str, str], *, coloured: bool = False) -> str:
    """A problem with the lines it is about, carets, related places, details, help and note."""
    paint = _Paint(on=coloured)
    shade = _SEVERITY_COLOURS[problem.severity]
    out = [f"{paint(f'{problem.code} {problem.slug}', shade)}: {paint(printable(problem.message), '1')}"]
    gutter = len(str(max([problem.place.line, *(related.place.line for related in problem.related)])))
    out.append(f"{' ' * gutter}{paint('-->', '34')} {problem.place}")
    out += _excerpt(problem.place, sources, problem.label, gutter, shade, paint, context=1)
    for related in problem.related:
        out.append(f"{' ' * gutter}{paint(':::', '34')} {related.place}")
        out += _excerpt(related.place, sources, related.label, gutter, "34", paint, context=0)
    out += [printable(line) if line.strip() else "" for line in problem.detail]
    if problem.help:
        out.append(f"{paint('help:', '1')} {printable(problem.help)}")
    if problem.note:
        out.append(f"{paint('note:', '1')} {printable(problem.note)}")
    return "\n".join(out)


def as_data(problem: Problem) -> dict[str, Any]:
    """A problem for JSON: ranges count from 1, their end is exclusive."""
    fix = problem.fix
    return {
        "code": problem.code,
        "slug": problem.slug,
        "severity": problem.severity,
        "confidence": problem.confidence,
        "message": problem.message,
        **_range(problem.place),
        "label": problem.label,
        "related": [{**_range(related.place), "label": related.label} for related in problem.related],
        "detail": list(problem.detail),
        "help": problem.help,
        "note": problem.note,
        "step": problem.step,
        "fix": {
            "title": fix.title,
            "safe": fix.safe,
            "edits": [{**_range(edit.place), "text": edit.text} for edit in fix.edits],
        }
        if fix
        else None,
    }


def problems(found: Sequence[Problem], sources: Mapping[str, str], style: str) -> None:
    """Print problems to stdout as `text` (full, a blank line behind each) or `concise`."""
    coloured = colour()
    for problem in found:
        print(concise(problem) if style == "concise" else full(problem, sources, coloured=coloured) + "\n")


def diff(path: str, before: str | None, after: str) -> None:
    """Print a change of a file (None: it is new) as a unified diff, which `git apply` and `patch -p1` take."""
    import difflib

    shades = {"+": "32", "-": "31", "@": "36"} if colour() else {}
    old = f"a/{path}" if before is not None else "/dev/null"
    for row in difflib.unified_diff(_patch_rows(before or ""), _patch_rows(after), old, f"b/{path}"):
        text = row.rstrip("\n")
        shade = "" if row.startswith(("+++", "---")) else shades.get(row[:1], "")
        print(f"\033[{shade}m{text}\033[0m" if shade else text)
        if not row.endswith("\n"):
            print("\\ No newline at end of file")


def _patch_rows(text: str) -> list[str]:
    """Lines with their ends, cut at line feeds alone, as patches are."""
    *rows, last = text.split("\n")
    return [*(f"{row}\n" for row in rows), *([last] if last else [])]


def plural(count: int, one: str, many: str = "") -> str:
    """`1 file`, `2 files`, `1 200 files`."""
    number = f"{count:,}".replace(",", " ")
    return f"{number} {one if count == 1 else many or one + 's'}"


def _range(place: Place) -> dict[str, Any]:
    start, end = {"line": place.line, "column": place.column}, {"line": place.end_line, "column": place.end_column}
    return {"path": place.path, "range": {"start": start, "end": end}}


class _Paint:
    """Wraps text in an ANSI colour, or does not."""

    def __init__(self, *, on: bool) -> None:
        self.on = on

    def __call__(self, text: str, code: str) -> str:
        return f"\033[{code}m{text}\033[0m" if self.on else text


def _excerpt(
    place: Place, sources: Mapping[str, str], label: str, gutter: int, shade: str, paint: _Paint, *, context: int
) -> list[str]:
    """The line of a place with carets below, and up to `context` lines before it."""
    text = sources.get(place.path)
    rows = lines(text) if text is not None else []
    if not 0 < place.line <= len(rows):
        return [f"{' ' * gutter} {paint('=', '34')} {printable(label)}"] if label else []
    bar = paint("|", "34")
    out = [f"{' ' * gutter} {bar}"]
    out += [
        f"{paint(str(number).rjust(gutter), '34')} {bar} {_shown(rows[number - 1], 0)[0]}".rstrip()
        for number in range(max(1, place.line - context), place.line)
        if rows[number - 1].strip()
    ]
    row = rows[place.line - 1]
    shown, offset = _shown(row, place.column - 1)
    end = place.end_column - 1 if place.end_line == place.line else len(row.rstrip())
    start_at = _width(row[offset : place.column - 1]) + (2 if offset else 0)
    carets = max(1, min(_width(row[place.column - 1 : end]), LINE_COLUMNS_MAX - start_at))
    out.append(f"{paint(str(place.line).rjust(gutter), '34')} {bar} {shown}".rstrip())
    marks = "^" * carets + (f" {printable(label)}" if label else "")
    out.append(f"{' ' * gutter} {bar} {' ' * start_at}{paint(marks, shade)}")
    out.append(f"{' ' * gutter} {bar}")
    return out


def _shown(row: str, column: int) -> tuple[str, int]:
    """A line as shown: cut around a column where it is too long; and how many characters were cut off in front."""
    offset = max(0, column - LINE_COLUMNS_MAX // 2) if len(row) > LINE_COLUMNS_MAX else 0
    piece = row[offset : offset + LINE_COLUMNS_MAX]
    shown = "".join(char if char.isprintable() else " " for char in piece)
    return f"{'… ' if offset else ''}{shown}{' …' if offset + LINE_COLUMNS_MAX < len(row) else ''}", offset


def _width(text: str) -> int:
    """How many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    import unicodedata

    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )
