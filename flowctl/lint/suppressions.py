"""`# flowctl: ignore[CODE] reason`: which findings a comment covers, and which comments are at fault."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from flowctl.language.problem import Edit, Fix, Place, Problem
from flowctl.language.source import Mapping, Node, Sequence, comments, lines, parse_text
from flowctl.lint.rules import READING, SLUGS
from flowctl.project.find import SETTINGS_FILE

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from collections.abc import Mapping as AnyMapping

MARK = "flowctl: ignore"
_FULL = re.compile(r"#\s*flowctl:\s*ignore\s*(?:\[(?P<codes>[^\]]*)\])?\s*[:–—-]?\s*(?P<reason>.*)")
_BY_SLUG = {slug: code for code, slug in SLUGS.items()}


@dataclass(slots=True, kw_only=True)
class Suppression:
    """One comment: which codes it silences, why, and over which stretch of the file."""

    place: Place  # of the comment
    codes: tuple[str, ...]
    unknown: tuple[str, ...]
    reason: str
    covers: Place | None
    used: set[str] = field(default_factory=set)

    @property
    def is_sound(self) -> bool:
        """Whether it silences anything: without a reason or codes it does not."""
        return bool(self.codes and self.reason and self.covers)

    def covers_place(self, place: Place) -> bool:
        """Whether a finding at that place lies in the covered stretch."""
        covered = self.covers
        if covered is None or covered.path != place.path:
            return False
        return (covered.line, covered.column) <= (place.line, place.column) < (covered.end_line, covered.end_column)


class Suppressions:
    """Every suppression of a project."""

    def __init__(self, sources: AnyMapping[str, str]) -> None:
        self.found = [one for path, text in sources.items() if MARK in text for one in _read(path, text)]

    def silence(self, problems: Iterable[Problem]) -> Iterator[Problem]:
        """What no comment covers. Faults of reading are never covered."""
        for problem in problems:
            covering = [
                one
                for one in self.found
                if one.is_sound and problem.code in one.codes and any(map(one.covers_place, _silenced_at(problem)))
            ]
            if not covering or problem.code in READING:
                yield problem
            for one in covering:
                one.used.add(problem.code)

    def faults(self, ran: Collection[str]) -> Iterator[tuple[Suppression, str, str]]:
        """Comments at fault, each with what is wrong and what to do; `ran`: the rules that were asked."""
        for one in self.found:
            if not one.codes and not one.unknown:
                yield one, "it names no rule", "write `# flowctl: ignore[CODE] reason`"
                continue
            for name in one.unknown:
                yield one, f"there is no rule `{name}`", "`flowctl rule` lists them"
            if not one.reason:
                yield (
                    one,
                    "it gives no reason, so it silences nothing",
                    "write why behind the bracket: `# flowctl: ignore[CODE] reason`",
                )
            elif refused := [code for code in one.codes if code in READING]:
                yield one, f"{refused[0]} is a fault of the file and cannot be silenced", "mend the fault"
            elif unused := [code for code in one.codes if code in ran and code not in one.used]:
                yield one, f"nothing here is found by {', '.join(unused)}", "delete the comment"


def _silenced_at(problem: Problem) -> Iterator[Place]:
    """Where a comment silences a finding: at its place, and at the setting of flowctl.yaml that it measures by."""
    yield problem.place
    yield from (related.place for related in problem.related if related.place.path == SETTINGS_FILE)


def remove(one: Suppression, sources: AnyMapping[str, str]) -> Fix:
    """The edit that deletes a comment, its line too where nothing else stands on it."""
    line = lines(sources[one.place.path])[one.place.line - 1]
    before = line[: one.place.column - 1].rstrip()
    place = Place(
        path=one.place.path,
        line=one.place.line,
        column=len(before) + 1,
        end_line=one.place.line if before else one.place.line + 1,
        end_column=len(line) + 1 if before else 1,
    )
    return Fix(title="delete the comment", edits=(Edit(place=place, text=""),), safe=True)


def _read(path: str, text: str) -> Iterator[Suppression]:
    rows = lines(text)
    root, _ = parse_text(path, text)
    blocks = list(_blocks(root)) if root is not None else []
    for line, column, comment in comments(text):
        match = _FULL.match(comment)
        if match is None:
            continue
        names = [name.strip() for name in (match["codes"] or "").split(",") if name.strip()]
        known = [_BY_SLUG.get(name.lower(), name.upper()) for name in names]
        place = Place(path=path, line=line, column=column, end_line=line, end_column=column + len(comment))
        stands_alone = not rows[line - 1][: column - 1].strip()
        yield Suppression(
            place=place,
            codes=tuple(code for code in known if code in SLUGS),
            unknown=tuple(name for name, code in zip(names, known, strict=True) if code not in SLUGS),
            reason=match["reason"].strip(),
            covers=_covered(blocks, _next_line(rows, line) if stands_alone else line),
        )


def _next_line(rows: list[str], line: int) -> int:
    """The first line below that says something."""
    for number in range(line + 1, len(rows) + 1):
        said = rows[number - 1].strip()
        if said and not said.startswith("#"):
            return number
    return line


def _blocks(root: Node) -> Iterator[tuple[Place, bool]]:
    """What a comment can cover: the file, each `key: block`, each block of a list; and whether it is one of a list, as steps are."""
    yield root.place, False
    pending = [root]
    while pending:
        here = pending.pop()
        if isinstance(here, Mapping):
            for entry in here.entries.values():
                if isinstance(entry.value, Mapping):
                    end = entry.value.place
                    yield replace(entry.key.place, end_line=end.end_line, end_column=end.end_column), False
                pending.append(entry.value)
        elif isinstance(here, Sequence):
            yield from ((item.place, True) for item in here.items if isinstance(item, Mapping))
            pending += here.items


def _covered(blocks: list[tuple[Place, bool]], line: int) -> Place | None:
    """What a comment on a line covers: the step that begins there, else the one around it; else the block that begins there."""
    items = [
        place for place, is_item in blocks if is_item and place.line <= line <= place.end_line and _reaches(place, line)
    ]
    if begins := [place for place in items if place.line == line]:
        return max(begins, key=_extent)
    if items:
        return min(items, key=_extent)
    others = [place for place, is_item in blocks if not is_item and place.line <= line <= place.end_line]
    if begins := [place for place in others if place.line == line]:
        return max(begins, key=_extent)
    return min(others, key=_extent, default=None)


def _reaches(place: Place, line: int) -> bool:
    """Whether a block has part of a line: one that ends at its very beginning has not."""
    return line < place.end_line or place.end_column > 1


def _extent(place: Place) -> tuple[int, int]:
    return (place.end_line - place.line, place.end_column - place.column)
