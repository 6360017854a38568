"""What is wrong with a file, as a value: where, what was found, what was expected, what to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Severity = Literal["error", "warning", "info"]
Confidence = Literal["proved", "possible"]


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Place:
    """A stretch of a file. Lines and columns count from 1; `end_column` is exclusive; columns count characters."""

    path: str  # relative to the project, with forward slashes
    line: int = 1
    column: int = 1
    end_line: int = 1
    end_column: int = 1

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Related:
    """Another place that has part in a problem, and what it did."""

    place: Place
    label: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Edit:
    """A text edit that mends a problem: the stretch `place` becomes `text`."""

    place: Place
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Fix:
    """Edits that belong together; a safe one never changes what the file means."""

    title: str
    edits: tuple[Edit, ...]
    safe: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """A fault or a finding: `code` is family and number (`YML006`), `slug` its name (`unknown-key`)."""

    code: str
    slug: str
    message: str
    place: Place
    severity: Severity = "error"
    confidence: Confidence = "proved"
    label: str = ""  # stands behind the carets
    related: tuple[Related, ...] = ()
    detail: tuple[str, ...] = ()  # lines shown below the excerpt, as they are
    help: str = ""
    note: str = ""
    fix: Fix | None = field(default=None)
    step: str = ""  # the step or name a baseline keys on
