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
    asks: str = ""  # the condition of a decision or a wait, as written
    message: str = ""  # of a send

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
    judged: list[dict[str, Any]]  # goal, exits, secondary goals


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
        said = self._said(version_id, pc)
        return Step(
            workflow=version.workflow,
            version=version.number,
            name=said.get("step", ""),
            op=said.get("op", ""),
            role=said.get("role", ""),
            path=said.get("path", version.path),
            line=said.get("line", 0),
            commit=version.commit,
            asks=said.get("asks", ""),
            message=said.get("message", ""),
        )

    def ending(self, version_id: int | None, reason: str) -> tuple[int, str]:
        """The line and the condition of what ended or recorded something for this reason; 0 and '' where nothing of it is known."""
        version = self._version(version_id) if version_id is not None else None
        for judged in version.judged if version else ():
            if judged["reason"] == reason:
                return judged.get("line", 0), judged.get("asks", "")
        return 0, ""

    def channels(self, version_id: int | None, pc: int | None) -> list[str]:
        """The channels of a send, in order of preference."""
        return [channel["name"] for channel in self._said(version_id, pc).get("channels", ())]

    def markets(self, version_id: int | None, pc: int | None) -> bool:
        """Whether a send is marketing."""
        return bool(self._said(version_id, pc).get("marketing"))

    def _said(self, version_id: int | None, pc: int | None) -> dict[str, Any]:
        version = self._version(version_id) if version_id is not None else None
        inside = version is not None and pc is not None and 0 <= pc < len(version.instructions)
        return version.instructions[pc] if inside and version is not None and pc is not None else {}

    def sends(self, version_id: int, message: str) -> bool:
        """Whether a version has a step that sends a message."""
        version = self._version(version_id)
        return version is not None and any(said.get("message") == message for said in version.instructions)

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
                **_parts(json.loads(row[4])),
            )
        return self._versions[version_id]


def _parts(program: dict[str, Any]) -> dict[str, Any]:
    goal = [program["goal"]] if program.get("goal") else []
    judged = [*goal, *program.get("exits", []), *program.get("secondary", [])]
    return {"instructions": program["instructions"], "judged": judged}
