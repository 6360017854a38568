"""Strict YAML with positions: text in, a tree of nodes and the problems found out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flowctl.language.problem import Place, Problem, Related
from flowctl.language.scalars import resolve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BYTES_MAX = 1024 * 1024
DEPTH_MAX = 64
NODES_MAX = 50_000

_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f]")  # few: a class of many compiles for 5 ms
_NONCHARACTERS = ("\ufffe", "\uffff")
_BREAK = re.compile("\r\n|[\r\n\x85\u2028\u2029]")  # what libyaml counts as the end of a line


@dataclass(slots=True, kw_only=True)
class Scalar:
    """A leaf: `value` after the core schema, `raw` as written, `plain` where it was not quoted."""

    value: str | int | float | bool | None
    raw: str
    plain: bool
    place: Place


@dataclass(slots=True, kw_only=True)
class Sequence:
    """A list."""

    items: list[Node]
    place: Place


@dataclass(slots=True, kw_only=True)
class Entry:
    """One `key: value` of a mapping."""

    key: Scalar
    value: Node


@dataclass(slots=True, kw_only=True)
class Mapping:
    """A mapping with unique string keys, in the order written."""

    entries: dict[str, Entry]
    place: Place


Node = Scalar | Sequence | Mapping


class Text(str):
    """A string that knows where it was written."""

    __slots__ = ("node",)
    node: Scalar


class Block(dict[str, Any]):
    """A mapping's plain value that knows where it was written."""

    node: Mapping


class Items(list[Any]):
    """A sequence's plain value that knows where it was written."""

    node: Sequence


def parse(path: str, data: bytes) -> tuple[Mapping | None, list[Problem]]:
    """Read one file: its root mapping, or None where it cannot be read, and every fault of family YML found on the way.

    `path` is relative to the project and only goes into places. Never raises for bad input.
    """
    text, problems = decode(path, data)
    if text is None:
        return None, problems
    return parse_text(path, text)


def parse_text(path: str, text: str) -> tuple[Mapping | None, list[Problem]]:
    """Like `parse`, for text that `decode` gave."""
    from flowctl.language.syntax import MarkedYAMLError, describe, events  # noqa: PLC0415 - loaded only where it is needed

    builder = _Builder(path, text)
    try:
        for event in events(text):
            if not builder.feed(event):
                return None, builder.problems
    except MarkedYAMLError as error:
        fault = describe(path, text, error)
        told = any(
            problem.place.line == fault.place.line for problem in builder.problems
        )  # the first fault of a line is the cause
        return None, builder.problems if told else [*builder.problems, fault]
    except Exception as error:  # noqa: BLE001 - a YAML library's stumble is a fault of the file, not a crash of ours
        return None, [
            *builder.problems,
            _problem("YML001", Place(path=path), f"the file cannot be read as YAML ({error})"),
        ]
    return builder.root_mapping(), builder.problems


def decode(path: str, data: bytes) -> tuple[str | None, list[Problem]]:
    """The text of a file, without its byte order mark; None and the reason where it is too large or not UTF-8 text."""
    if len(data) > BYTES_MAX:
        size = f"{len(data):,} bytes".replace(",", " ")
        return None, [
            _problem(
                "YML005",
                Place(path=path),
                f"the file has {size}; the limit is 1 MiB",
                help_="split it: each workflow and message may have its own file",
            )
        ]
    if data[:2] in (b"\xff\xfe", b"\xfe\xff") or data[:4].count(0) >= 2:  # noqa: PLR2004 - UTF-16 and UTF-32 of ASCII have at least two
        return None, [
            _problem(
                "YML001",
                Place(path=path),
                "the file is in UTF-16 or another encoding of two bytes a character",
                help_="save it as UTF-8",
            )
        ]
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8-sig", errors="replace")
        old = data[error.start : error.start + 1].decode("cp1252", errors="replace")
        place = _at(path, before, len(before))
        guess = f" (in Windows-1252 it would be '{old}')" if old.isprintable() and old != "\ufffd" else ""
        return None, [
            _problem(
                "YML001", place, f"byte {data[error.start]:#04x} is no UTF-8{guess}", help_="save the file as UTF-8"
            )
        ]
    bad = _UNPRINTABLE.search(text)
    position = bad.start() if bad else max(text.find(character) for character in _NONCHARACTERS)
    if position >= 0:
        name = f"U+{ord(text[position]):04X}"
        return None, [
            _problem(
                "YML001",
                _at(path, text, position),
                f"the character {name} cannot stand in a YAML file",
                help_="delete it, or write it as an escape between double quotes",
            )
        ]
    return text, []


def lines(text: str) -> list[str]:
    """The lines of a text as places count them, without their ends."""
    return _BREAK.split(text)


def plain(node: Node) -> Any:
    """The plain value of a node: Block, Items, Text (each with its `node`), int, float, bool or None."""
    if isinstance(node, Scalar):
        value = node.value
        if isinstance(value, str):
            text = Text(value)
            text.node = node
            return text
        return value
    if isinstance(node, Mapping):
        block = Block({key: plain(entry.value) for key, entry in node.entries.items()})
        block.node = node
        return block
    items = Items([plain(item) for item in node.items])
    items.node = node
    return items


def comments(text: str) -> list[tuple[int, int, str]]:
    """Every comment with the line and column of its `#`, counted from 1; a `#` inside quotes or a block text is none."""
    if "#" not in text:
        return []
    holes = list(_scalar_spans(text))
    found: list[tuple[int, int, str]] = []
    offset = 0
    for number, line in enumerate(_split_keeping(text), start=1):
        for match in re.finditer(r"(?:^|(?<=[\s\[\]{},]))#", line):
            position = offset + match.start()
            while holes and holes[0][1] <= position:
                holes.pop(0)
            if not holes or position < holes[0][0]:
                found.append((number, match.start() + 1, line[match.start() :].rstrip("\r\n\x85\u2028\u2029")))
                break
        offset += len(line)
    return found


def _scalar_spans(text: str) -> Iterator[tuple[int, int]]:
    """Character spans of all scalars in order; of a block text without its header, which may carry a comment."""
    from flowctl.language.syntax import MarkedYAMLError, events  # noqa: PLC0415 - loaded only where it is needed

    try:
        for count, event in enumerate(events(text)):
            if count > 2 * NODES_MAX:
                return
            if (style := getattr(event, "style", "-")) == "-":
                continue
            start, end = event.start_mark.index, event.end_mark.index
            if style in ("|", ">"):
                header = _BREAK.search(text, start)
                start = header.end() if header else end
            if start < end:
                yield start, end
    except MarkedYAMLError as error:
        if error.problem_mark is not None:  # beyond a syntax error nothing is known to be a comment
            yield error.problem_mark.index, len(text)


def _split_keeping(text: str) -> Iterator[str]:
    start = 0
    for match in _BREAK.finditer(text):
        yield text[start : match.end()]
        start = match.end()
    yield text[start:]


def _at(path: str, text: str, index: int) -> Place:
    before = lines(text[:index])
    line, column = len(before), len(before[-1]) + 1
    return Place(path=path, line=line, column=column, end_line=line, end_column=column + 1)


_SLUGS = {
    "YML001": "syntax-error",
    "YML002": "duplicate-key",
    "YML004": "alias-or-tag",
    "YML005": "over-limit",
    "YML007": "invalid-value",
}


def _problem(
    code: str, place: Place, message: str, *, help_: str = "", label: str = "", related: tuple[Related, ...] = ()
) -> Problem:
    return Problem(code=code, slug=_SLUGS[code], message=message, place=place, help=help_, label=label, related=related)


@dataclass(slots=True)
class _Frame:
    """A collection still open: for a mapping also the key whose value comes next, and whether that pair is dropped."""

    node: Mapping | Sequence
    flow: bool
    key: Scalar | None = None
    drop: bool = False


class _Builder:
    """Makes nodes of events, with an explicit stack so that no nesting can exhaust Python's."""

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.text = text
        self.problems: list[Problem] = []
        self.stack: list[_Frame] = []
        self.root: Node | None = None
        self.documents = 0
        self.nodes = 0
        self.stopped = False
        self.takers: dict[str, Callable[[Any], None]] = {
            "ScalarEvent": self._leaf,
            "MappingStartEvent": self._open_mapping,
            "SequenceStartEvent": self._open_sequence,
            "MappingEndEvent": self._close,
            "SequenceEndEvent": self._close,
            "AliasEvent": self._alias,
            "DocumentStartEvent": self._document,
        }

    def feed(self, event: Any) -> bool:
        """Take one event; False where reading must stop."""
        take = self.takers.get(type(event).__name__)
        if take is None:
            return True
        take(event)
        if self.nodes > NODES_MAX:
            self._stop("YML005", event, f"more than {NODES_MAX:,} values".replace(",", " "), help_="split the file")
        return not self.stopped

    def _document(self, event: Any) -> None:
        self.documents += 1
        if self.documents > 1:
            help_ = "delete the `---`, or move what follows to a file of its own"
            self._stop("YML001", event, "a second document begins here; a file holds one", help_=help_)

    def _leaf(self, event: Any) -> None:
        self.nodes += 1
        self._judge(event)
        self._attach(self._scalar(event), flow=True)

    def _open_mapping(self, event: Any) -> None:
        self._open(event, Mapping(entries={}, place=self._place(event)))

    def _open_sequence(self, event: Any) -> None:
        self._open(event, Sequence(items=[], place=self._place(event)))

    def _open(self, event: Any, node: Mapping | Sequence) -> None:
        self.nodes += 1
        self._judge(event)
        self.stack.append(_Frame(node=node, flow=bool(event.flow_style)))
        if len(self.stack) > DEPTH_MAX:
            help_ = "split the file, or take levels out"
            self._stop("YML005", event, f"more than {DEPTH_MAX} levels of nesting", help_=help_)

    def root_mapping(self) -> Mapping | None:
        """The root, where it is a mapping; else None, and a problem that says so."""
        root = self.root
        if isinstance(root, Mapping):
            return root
        help_ = "begin it with what it declares, such as `workflow: my-first`"
        if root is None or (isinstance(root, Scalar) and root.value is None):
            self.problems.append(
                _problem("YML007", Place(path=self.path), "the file is empty: it declares nothing", help_=help_)
            )
        else:
            found = "a list" if isinstance(root, Sequence) else "a single text"
            self.problems.append(
                _problem("YML007", root.place, f"the file is {found}; expected `key: value` lines", help_=help_)
            )
        return None

    def _stop(self, code: str, event: Any, message: str, *, help_: str) -> None:
        self.problems.append(_problem(code, self._place(event), message, help_=help_))
        self.stopped = True

    def _place(self, event: Any) -> Place:
        start, end = event.start_mark, event.end_mark
        return Place(
            path=self.path,
            line=start.line + 1,
            column=start.column + 1,
            end_line=end.line + 1,
            end_column=end.column + 1,
        )

    def _scalar(self, event: Any) -> Scalar:
        is_plain = event.style is None or event.style == ""
        if is_plain:
            return Scalar(value=resolve(event.value), raw=event.value, plain=True, place=self._place(event))
        raw, place = self.text[event.start_mark.index : event.end_mark.index], self._place(event)
        if event.style in ("|", ">"):  # libyaml ends it at the next token; end it at its own last line
            raw = raw.rstrip()
            rows = lines(raw)
            last = len(rows[-1]) + (place.column if len(rows) == 1 else 1)
            place = Place(
                path=self.path,
                line=place.line,
                column=place.column,
                end_line=place.line + len(rows) - 1,
                end_column=last,
            )
        return Scalar(value=event.value, raw=raw, plain=False, place=place)

    def _judge(self, event: Any) -> None:
        """Refuse anchors, tags, merge keys and NUL characters."""
        if "\0" in (getattr(event, "value", None) or ""):
            help_ = "take it out: no program that a value comes to reads beyond it"
            self.problems.append(_problem("YML001", self._place(event), "the text holds a NUL character", help_=help_))
        if event.anchor is not None:
            self._refuse(
                event,
                f"the anchor `&{event.anchor}` is not allowed",
                "write the value out where it is used; a text that begins with & needs quotes",
            )
        if event.tag is not None:
            self._refuse(
                event, f"the tag `{event.tag}` is not allowed", "leave it out; a text that begins with ! needs quotes"
            )
        if getattr(event, "value", None) == "<<" and not event.style and self._expects_key():
            self._refuse(event, "the merge key `<<` is not allowed", "write the keys out")

    def _alias(self, event: Any) -> None:
        self.nodes += 1
        self._refuse(
            event,
            f"the alias `*{event.anchor}` is not allowed",
            "write the value out; a text that begins with * needs quotes",
        )
        self._attach(Scalar(value=None, raw=f"*{event.anchor}", plain=True, place=self._place(event)), flow=True)

    def _refuse(self, event: Any, message: str, help_: str) -> None:
        place = self._place(event)
        if place.line != place.end_line or place.column == place.end_column:
            place = Place(
                path=self.path, line=place.line, column=place.column, end_line=place.line, end_column=place.column + 1
            )
        self.problems.append(_problem("YML004", place, message, help_=help_))

    def _expects_key(self) -> bool:
        return (
            bool(self.stack)
            and isinstance(self.stack[-1].node, Mapping)
            and self.stack[-1].key is None
            and not self.stack[-1].drop
        )

    def _close(self, event: Any) -> None:
        frame = self.stack.pop()
        node, end = frame.node, None
        if frame.flow:
            end = (event.end_mark.line + 1, event.end_mark.column + 1)
        elif last := self._last(node):
            end = (last.end_line, last.end_column)
        if end is not None:
            node.place = Place(
                path=self.path, line=node.place.line, column=node.place.column, end_line=end[0], end_column=end[1]
            )
        self._attach(node, flow=frame.flow)

    def _last(self, node: Mapping | Sequence) -> Place | None:
        if isinstance(node, Sequence):
            return node.items[-1].place if node.items else None
        if not node.entries:
            return None
        entry = next(reversed(node.entries.values()))
        return max(entry.value.place, entry.key.place, key=lambda place: (place.end_line, place.end_column))

    def _attach(self, node: Node, *, flow: bool) -> None:
        if not self.stack:
            self.root = node
            return
        frame = self.stack[-1]
        if isinstance(frame.node, Sequence):
            frame.node.items.append(node)
        elif frame.drop:
            frame.drop = False
        elif frame.key is not None:
            frame.node.entries[str(frame.key.value)] = Entry(key=frame.key, value=node)
            frame.key = None
        else:
            self._take_key(frame, node, flow=flow)

    def _take_key(self, frame: _Frame, node: Node, *, flow: bool) -> None:
        """Make the node the key of the next pair, or drop that pair and say why."""
        assert isinstance(frame.node, Mapping)  # noqa: S101 - told to mypy; the caller asked
        if isinstance(node, Scalar) and isinstance(node.value, str):
            earlier = frame.node.entries.get(node.value)
            if earlier is None:
                frame.key = node
                return
            related = (Related(place=earlier.key.place, label="first written here"),)
            problem = _problem(
                "YML002",
                node.place,
                f"the key `{node.value}` is here twice",
                label="this one would silently win",
                related=related,
                help_="keep one of them",
            )
        elif isinstance(node, Scalar):
            help_ = f'write "{node.raw}" with quotes' if node.raw else "write a key before the `:`"
            problem = _problem("YML007", node.place, f"a key must be text; found `{node.raw}`", help_=help_)
        elif flow and self._is_template(node):
            problem = _problem(
                "YML007",
                node.place,
                "a template must stand between quotes",
                help_='write "{{ … }}" with quotes: YAML takes a bare { for the begin of `{key: value}`',
            )
        else:
            problem = _problem(
                "YML007", node.place, "a key must be text; found `[…]` or `{…}`", help_="quote it if it is text"
            )
        self.problems.append(problem)
        frame.drop = True

    def _is_template(self, node: Node) -> bool:
        return (
            isinstance(node, Mapping)
            and lines(self.text)[node.place.line - 1][node.place.column - 2 : node.place.column] == "{{"
        )
