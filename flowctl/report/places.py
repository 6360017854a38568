"""Where a step stands: what `file:line@commit` a version and a position of its program mean."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import sqlite3


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """A step of a workflow version, and where it is written. `name` is '' where nobody named it."""

    workflow: str
    version: int
    name: str
    op: str
    role: str  # of a branch: when, if, choose
    path: str
    line: int
    commit: str

    @property
    def where(self) -> str:
        """`path:line@commit`; the file's name alone where no line is known."""
        place = f"{self.path}:{self.line}" if self.line else self.path
        return f"{place}@{self.commit}"

    @property
    def label(self) -> str:
        """Its name, or what it does and on which line."""
        return self.name or f"{self.op} (line {self.line})"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Version:
    workflow: str
    number: int
    path: str
    commit: str
    instructions: list[dict[str, Any]]


class Steps:
    """Looks steps up; each version's program is read once."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._versions: dict[int, _Version | None] = {}

    def at(self, version_id: int | None, pc: int | None) -> Step | None:
        """The step at a position; without a position the version's file. None where there is no such version."""
        version = self._version(version_id) if version_id is not None else None
        if version is None:
            return None
        inside = pc is not None and 0 <= pc < len(version.instructions)
        said = version.instructions[pc] if inside and pc is not None else {}
        return Step(
            workflow=version.workflow,
            version=version.number,
            name=said.get("step", ""),
            op=said.get("op", ""),
            role=said.get("role", ""),
            path=said.get("path", version.path),
            line=said.get("line", 0),
            commit=version.commit,
        )

    def of(self, version_id: int) -> list[tuple[int, Step]]:
        """Every position of a version, in order, with its step."""
        version = self._version(version_id)
        found = ((pc, self.at(version_id, pc)) for pc in range(len(version.instructions) if version else 0))
        return [(pc, step) for pc, step in found if step is not None]

    def _version(self, version_id: int) -> _Version | None:
        if version_id not in self._versions:
            row = self._connection.execute(
                'SELECT v.workflow, v.number, v.path, r."commit", v.program FROM workflow_versions v '
                "JOIN releases r ON r.id = v.release_id WHERE v.id = ?",
                (version_id,),
            ).fetchone()
            self._versions[version_id] = row and _Version(
                workflow=row[0],
                number=row[1],
                path=row[2],
                commit=row[3],
                instructions=json.loads(row[4])["instructions"],
            )
        return self._versions[version_id]
