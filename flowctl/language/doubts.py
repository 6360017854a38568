"""YML003 and YML009: what is valid YAML, but perhaps not what was meant. Lint asks; validate does not."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from flowctl.language.problem import Edit, Fix, Place, Problem
from flowctl.language.scalars import other_reading, quoted
from flowctl.language.source import Mapping, Scalar, Sequence, comments, lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.language.source import Node

_CONTINUED = re.compile(r"(?:- |[\w-]+:(?: |$))")


def warnings(root: Mapping, text: str) -> list[Problem]:
    """Every doubt about one file, in its order: its root as parsed, and its text."""
    found = [*ambiguous(root), *swallowed(root, text)]
    return sorted(found, key=lambda problem: problem.place)


def ambiguous(root: Node) -> Iterator[Problem]:
    """YML003: plain scalars that are text here and something else to other YAML readers. The fix, which is safe, quotes them."""
    for scalar in scalars(root):
        if scalar.plain and isinstance(scalar.value, str) and (other := other_reading(scalar.raw)):
            fix = Fix(title="quote it", edits=(Edit(place=scalar.place, text=quoted(scalar.raw)),), safe=True)
            message = f"`{scalar.raw}` is text here, but other YAML readers take it for {other}"
            yield Problem(
                code="YML003",
                slug="ambiguous-scalar",
                severity="warning",
                message=message,
                place=scalar.place,
                help=f"write {quoted(scalar.raw)}",
                fix=fix,
            )


def swallowed(root: Mapping, text: str) -> Iterator[Problem]:
    """YML009: a ` #` that made a comment of what looks like text, and lines that became part of the text above them."""
    ends = {(scalar.place.end_line, scalar.place.end_column): scalar for scalar in scalars(root) if scalar.plain}
    rows = lines(text)
    for line, column, written in comments(text):
        comment = written.rstrip()
        before = rows[line - 1][: column - 1]
        scalar = ends.get((line, len(before.rstrip()) + 1))
        if scalar is None or not comment[1:2].strip() or comment.startswith("##"):
            continue  # a comment on its own line, or one written `# like this`
        place = Place(path=scalar.place.path, line=line, column=column, end_line=line, end_column=column + len(comment))
        message = f"`{comment}` is a comment to YAML: the text ends before it"
        whole = (before[scalar.place.column - 1 :] + comment).strip()
        help_ = f'if it is text, write "{whole}" with quotes; if not, write `# ` with a space'
        yield replace(_swallowed(place, message, help_), fix=_as_text(scalar, place, whole))
    for scalar in scalars(root):
        if scalar.plain and scalar.place.line != scalar.place.end_line:
            for line in range(scalar.place.line + 1, scalar.place.end_line + 1):
                row = rows[line - 1]
                if _CONTINUED.match(row.strip()):
                    start = len(row) - len(row.lstrip()) + 1
                    place = Place(
                        path=scalar.place.path, line=line, column=start, end_line=line, end_column=len(row.rstrip()) + 1
                    )
                    yield _swallowed(
                        place,
                        "this line became part of the text above it",
                        "indent it less if it is a line of its own; else put the whole text between quotes",
                    )


def _as_text(scalar: Scalar, comment: Place, whole: str) -> Fix | None:
    """The text and what was cut off it between quotes: not safe, since it may have been a comment."""
    if scalar.place.line != scalar.place.end_line:
        return None
    place = replace(scalar.place, end_line=comment.end_line, end_column=comment.end_column)
    return Fix(title="put all of it between quotes", edits=(Edit(place=place, text=quoted(whole)),), safe=False)


def scalars(node: Node) -> Iterator[Scalar]:
    """Every scalar below a node, keys included, in the order written."""
    if isinstance(node, Scalar):
        yield node
    elif isinstance(node, Mapping):
        for entry in node.entries.values():
            yield entry.key
            yield from scalars(entry.value)
    elif isinstance(node, Sequence):
        for item in node.items:
            yield from scalars(item)


def _swallowed(place: Place, message: str, help_: str) -> Problem:
    return Problem(
        code="YML009",
        slug="swallowed-text",
        severity="warning",
        confidence="possible",
        message=message,
        place=place,
        help=help_,
    )
