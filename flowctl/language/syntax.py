"""PyYAML at arm's length: its events, and its syntax errors in words that say what to do."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import yaml
from yaml import MarkedYAMLError

from flowctl.language.problem import Place, Problem, Related

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MarkedYAMLError", "describe", "events"]

LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
SECOND_LOOK_CHARACTERS_MAX = 50_000  # the pure reader needs about a second for that much
SECOND_LOOK_DEPTH_MAX = 100
AROUND_LINES = 3
RECENT_LINES = 40  # lines above an indentation fault whose levels are offered

_BREAK = re.compile("\r\n|[\r\n\x85\u2028\u2029]")
_OPENS_KEY = re.compile(r"(?P<before> *(?:- +)*)[^\s#'\"\[{-][^#]*?:(?:\s|$)")
_ITEM = re.compile(r" *- ")
_TEXT_WITH_COLON = re.compile(r"^(?P<before>\s*(?:- )*[\w.-]+\s*:\s+)(?P<text>[^'\"\[{|>\s].*?\s?:(?:\s.*|$))")


def events(text: str) -> Iterator[Any]:
    """The YAML events of a text, by libyaml; raises MarkedYAMLError where it is no YAML."""
    return iter(yaml.parse(text, Loader=LOADER))


def describe(path: str, text: str, error: MarkedYAMLError) -> Problem:
    """A syntax error as a problem: where, what is wrong in plain words, what to do."""
    error = _second_look(text, error)
    mark = error.problem_mark or error.context_mark
    rows = _BREAK.split(text)
    line = min(mark.line, len(rows) - 1) if mark else 0
    column = min(mark.column, len(rows[line])) if mark else 0
    while (
        line > 0
        and not rows[line].strip()
        and "end of stream" in (error.problem or "").replace("<stream end>", "end of stream")
    ):
        line -= 1  # an unclosed text is noticed at the end of the file; show the last line that says something
        column = len(rows[line].rstrip())
    fault = _Fault(rows, line, column, error)
    message, help_, label = fault.words()
    line, column = fault.line, fault.column
    place = Place(path=path, line=line + 1, column=column + 1, end_line=line + 1, end_column=column + 2)
    related: tuple[Related, ...] = ()
    opened = error.context_mark
    if opened and fault.opened_label and (opened.line, opened.column) != (line, column):
        at = Place(
            path=path,
            line=opened.line + 1,
            column=opened.column + 1,
            end_line=opened.line + 1,
            end_column=opened.column + 2,
        )
        related = (Related(place=at, label=fault.opened_label),)
    return Problem(
        code="YML001", slug="syntax-error", message=message, place=place, help=help_, label=label, related=related
    )


def _second_look(text: str, error: MarkedYAMLError) -> MarkedYAMLError:
    """The same error from the pure reader, whose messages name what it found; the given one where that would take too long."""
    mark = error.problem_mark
    if mark is None or mark.index > SECOND_LOOK_CHARACTERS_MAX:
        return error
    end = mark.index
    for _ in range(AROUND_LINES):
        found = _BREAK.search(text, end)
        end = found.end() if found else len(text)
    depth = 0
    try:
        for event in yaml.parse(text[:end], Loader=yaml.SafeLoader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > SECOND_LOOK_DEPTH_MAX:
                return error
    except MarkedYAMLError as better:
        close = better.problem_mark is not None and abs(better.problem_mark.line - mark.line) <= 1
        return better if close else error
    except Exception:  # noqa: BLE001 - a YAML library's stumble is a fault of the file, not a crash of ours
        return error
    return error


class _Fault:
    """One syntax error among the lines around it."""

    def __init__(self, rows: list[str], line: int, column: int, error: MarkedYAMLError) -> None:
        self.rows = rows
        self.line = line
        self.column = column
        self.problem = str(error.problem or "")
        self.context = str(error.context or "")
        self.context_line = error.context_mark.line if error.context_mark else line
        self.opened_label = ""

    @property
    def row(self) -> str:
        return self.rows[self.line]

    def words(self) -> tuple[str, str, str]:
        """Message, help and the label behind the caret."""
        problem = self.problem
        if "cannot start any token" in problem:
            return self._bad_start()
        if "mapping values are not allowed" in problem:
            return self._second_colon()
        if "quoted scalar" in self.context:
            return self._quotes()
        if "sequence entries are not allowed" in problem:
            return (
                "a list cannot begin behind a key on the same line",
                "put each `- item` on a line of its own, or write [a, b]",
                "",
            )
        if "flow" in self.context or "',' or" in problem:
            return self._brackets()
        if "alias" in self.context or "anchor" in self.context:
            return "a text that begins with * or & must stand between quotes", 'write it as "*…"', ""
        if "block scalar" in self.context:
            return (
                "behind `|` or `>` the line must end; the text begins on the next line",
                "put the text on the next line, indented",
                "",
            )
        if "could not find expected ':'" in problem:
            return self._no_colon()
        if "expected <block end>" in problem or "did not find expected" in problem:
            return self._misfit()
        return f"this is no YAML: {self.context + ': ' if self.context else ''}{problem}", "", ""

    def _bad_start(self) -> tuple[str, str, str]:
        character = self.row[self.column : self.column + 1]
        if character == "\t":
            return "a tab stands where indentation is expected", "indent with spaces", "a tab"
        shown = character or "this character"
        return f"a text cannot begin with `{shown}`", 'put the text between quotes: "…"', ""

    def _second_colon(self) -> tuple[str, str, str]:
        if match := _TEXT_WITH_COLON.match(self.row):
            self.column = max(self.column, match.start("text"))
            text = match.group("text").strip()
            return (
                "a `:` inside a text makes YAML see a second key on this line",
                f"put the text between quotes: {match.group('before').strip()} {_quote(text)}",
                "this `:`",
            )
        above = self._above()
        if above and not above.rstrip().endswith(":") and _indent(self.row) > _indent(above):
            self.column = _indent(self.row)
            return (
                "this line is indented deeper than the one above, which already has its value",
                f"{f'indent it by {_spaces(_indent(above))}' if _indent(above) else 'begin it at the margin'} like the line above, or take that line's value away",
                f"{_spaces(_indent(self.row))}; the line above has {_indent(above)}",
            )
        if above and ":" not in above:
            self.line -= 1 + self.rows[: self.line][::-1].index(above)
            self.column = _indent(above)
            return (
                "this line is no `key: value`",
                "write `key: value`, or indent it deeper if it belongs to the text above",
                "no `:` here",
            )
        return "a `:` is not allowed here", "check the indentation, or put the text between quotes", ""

    def _quotes(self) -> tuple[str, str, str]:
        if "unknown escape" in self.problem:
            return (
                r"a backslash between double quotes begins an escape, and this is none YAML knows",
                r"write \\ for a backslash, or use single quotes",
                "",
            )
        self.opened_label = "opened here"
        return (
            "a quoted text is never closed",
            "close it with the same quote; inside single quotes write '' for an apostrophe",
            "the file ends",
        )

    def _brackets(self) -> tuple[str, str, str]:
        kind = "[ list ]" if "sequence" in self.context else "{ mapping }"
        self.opened_label = "opened here"
        if "stream end" in self.problem or self.line != self.context_line:
            return (
                f"a {kind} is never closed",
                "close it, or write it on several lines without brackets",
                "still open here",
            )
        return (
            f"a comma or the closing bracket of a {kind} is missing before this",
            "texts with `,`, `[`, `{`, or quotes inside brackets need quotes around them",
            "",
        )

    def _no_colon(self) -> tuple[str, str, str]:
        line = self.line
        while line > 0 and (":" in self.rows[line] or not self.rows[line].strip()) and line > self.context_line:
            line -= 1
        self.line, self.column = line, _indent(self.rows[line])
        return (
            "this line is no `key: value`",
            "write `key: value`, or indent it deeper if it belongs to the text above",
            "no `:` here",
        )

    def _misfit(self) -> tuple[str, str, str]:
        before = self.row[: self.column]
        if re.search(r"'[^']*'$", before):
            return (
                "behind the closing quote comes more text",
                "inside single quotes write '' for an apostrophe, or use double quotes: \"L'offre\"",
                "the text ended before this",
            )
        if re.search(r'"$', before):
            return (
                "behind the closing quote comes more text",
                'write \\" for a quote inside double quotes, or use single quotes around',
                "the text ended before this",
            )
        if self.row[self.column : self.column + 1] in ("]", "}"):
            return "this bracket closes nothing", "delete it, or put the text between quotes", ""
        if before.strip() in ("", "-"):
            return self._indentation()
        return (
            "this does not belong here",
            "check the indentation, and the quotes and brackets of this line and the one above",
            "",
        )

    def _indentation(self) -> tuple[str, str, str]:
        mine = _indent(self.row)
        recent = self.rows[max(0, self.line - RECENT_LINES) : self.line]
        dashes = {_indent(row) for row in recent if _ITEM.match(row)}
        keys = {len(match.group("before")) for row in recent if (match := _OPENS_KEY.match(row))}
        if self.row.lstrip().startswith("- "):
            level = max((dash for dash in dashes if dash < mine), default=None)
            help_ = (
                "indent it deeper than its key, and all items of a list alike"
                if level is None
                else f"indent it by {_spaces(level)}, like the items above it"
            )
            return "a list item stands where a `key: value` is expected", help_, _spaces(mine)
        if mine in dashes:
            return (
                "this line does not continue the list above it",
                "begin it with `- ` if it is one more item, or indent it like the keys of the item it belongs to",
                "",
            )
        near = (
            max((level for level in keys if level < mine), default=None),
            min((level for level in keys if level > mine), default=None),
        )
        wanted = " or ".join(str(level) for level in near if level is not None) or "0"
        return (
            "the indentation fits no line above",
            f"indent this line by {wanted} spaces, like the lines it belongs to",
            _spaces(mine),
        )

    def _above(self) -> str:
        return next(
            (row for row in reversed(self.rows[: self.line]) if row.strip() and not row.lstrip().startswith("#")), ""
        )


def _indent(row: str) -> int:
    return len(row) - len(row.lstrip(" "))


def _spaces(count: int) -> str:
    return "1 space" if count == 1 else f"{count} spaces"


def _quote(text: str) -> str:
    if "\\" in text or '"' in text:
        return "'" + text.replace("'", "''") + "'"
    return f'"{text}"'
