"""What a tick loads of the newest release and of the workflow versions in flight: compiled, no YAML, no models."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from flowctl.engine.segments import Probe, SegmentPlan

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

COMPILER = (
    7  # counts up when what is compiled changes its shape; a release of another one is compiled anew by the next tick
)
ALERT = "alert:"  # before a team's name, as the recipient of a notice: the address holds secrets and stays in the environment
ACTIVE, COMPLETED, EXITED, FAILED, GOAL = range(5)
READY, CLAIMED, TRANSMITTING, SENT, REFUSED, IN_DOUBT, SKIPPED, CANCELLED = range(8)
KIND = {
    name: number
    for number, name in enumerate(
        (
            "entered", "refused", "branch", "waiting", "woken", "timed_out", "send", "sent", "held", "skipped", "failed", "in_doubt", "set", "added",
            "tagged", "exited", "completed", "goal", "cancelled", "resolved", "untagged",
            "started", "stopped", "assigned", "recorded", "notified", "task", "fetched", "advertised",
            "secondary_goal", "moved",
        ),
        start=1,
    )
}  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """A compiled condition that ends or records something: a goal, an exit, the audience one must stay in."""

    sql: str
    probes: tuple[Probe, ...]
    reason: str
    at: str | None = None  # SQL of the time of the fact that made it hold; None: only the state tells
    asks: str = ""  # the condition as written
    line: int = 0
    state_only: bool = False  # asks fields and segments alone: may hold already at entry
    within_ms: int | None = None
    ends: bool = True

    def to_json(self) -> dict[str, Any]:
        """As stored in a program."""
        said = {name: getattr(self, name) for name in self.__slots__}
        return said | {"probes": [probe.to_json() for probe in self.probes]}

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> Judged:
        """The opposite of `to_json`."""
        return cls(**{**said, "probes": _probes(said["probes"])})


@dataclass(frozen=True, kw_only=True, slots=True)
class Version:
    """One workflow version: flat instructions with their SQL, and what ends them.

    `instructions[pc]` is the JSON that `steps.<op>.compiled` made.
    """

    id: int
    workflow: str
    number: int
    path: str
    zone: int
    priority: int
    instructions: list[dict[str, Any]]
    sleepers: Mapping[int, tuple[Probe, ...]]  # positions where new facts can wake somebody, and which
    goal: Judged | None
    exits: list[Judged]
    secondary: list[Judged]  # goals that are recorded and end nothing
    on_goal: int | None
    steps: Mapping[str, int]  # step id → pc
    marked: frozenset[str]  # steps whose leaving is remembered

    @classmethod
    def from_row(cls, row: tuple[int, str, int, str, str]) -> Version:
        """From `id, workflow, number, path, program`."""
        said = json.loads(row[4])
        return cls(
            id=row[0],
            workflow=row[1],
            number=row[2],
            path=row[3],
            zone=said["zone"],
            priority=said["priority"],
            instructions=said["instructions"],
            sleepers={
                # Who waits was there before.
                pc: tuple(probe for probe in _probes(instruction["probes"]) if probe.kind != "created")
                for pc, instruction in enumerate(said["instructions"])
                if instruction.get("probes")
            },
            goal=Judged.from_json(said["goal"]) if said["goal"] else None,
            exits=[Judged.from_json(judged) for judged in said["exits"]],
            secondary=[Judged.from_json(judged) for judged in said["secondary"]],
            on_goal=said["on_goal"],
            steps=said["steps"],
            marked=frozenset(said["marked"]),
        )

    @property
    def judged(self) -> list[Judged]:
        """All that ends or records something; secondary goals first, as what ends the journey may be one, too."""
        return [*self.secondary, *([self.goal] if self.goal else []), *self.exits]

    def heads_around(self, pc: int) -> list[int]:
        """The heads of the repeats that a position stands in; a repeat lies between its head and its `again`."""
        agains = [
            (said["targets"]["next"], again) for again, said in enumerate(self.instructions) if said["op"] == "again"
        ]
        return [head for head, again in agains if head < pc <= again]


@dataclass(frozen=True, kw_only=True, slots=True)
class Entrance:
    """How people come into a workflow, by the newest release."""

    workflow: str
    version_id: int
    zone: int
    triggers: list[dict[str, Any]]
    audience: str | None  # over `c` and `w`
    audience_alone: str | None  # over `c` alone, for triggers that ask everybody
    audience_seen: str  # what it looks at: SQL of the arguments of a json_object
    audience_asks: str  # as written
    after_ms: int | None  # None: never again
    since_exit: bool
    while_active: str
    key: str | None  # SQL of the key's value
    priority: int
    group: str | None  # of whose workflows one is inside one at a time
    from_at: int | None
    until_at: int | None  # exclusive
    at_end_exit: bool

    def to_json(self) -> dict[str, Any]:
        """As stored in a release."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(kw_only=True, slots=True)
class Experiment:
    """What a test or a simulation wants of an engine, which then asks no network: paths of splits by step, answers; and positions executed."""

    arms: Mapping[str, str] = field(default_factory=dict)
    visited: set[tuple[int, int]] = field(default_factory=set)
    fetches: Mapping[str, Any] = field(
        default_factory=dict
    )  # service → its answer instead of the sample; None: it fails


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """The newest release, loaded."""

    release_id: int
    commit: str
    said: dict[str, Any]
    entrances: list[Entrance]
    segments: tuple[SegmentPlan, ...]
    states: dict[str, tuple[str, bool]]  # workflow → (state, paused by hand)
    versions: Versions = field(repr=False)
    experiment: Experiment | None = None

    def runs(self, workflow: str) -> bool:
        """Whether steps of a workflow are executed: neither paused nor a draft."""
        state, by_hand = self.states.get(workflow, ("draining", False))
        return state in {"live", "draining"} and not by_hand

    def admits(self, workflow: str) -> bool:
        """Whether somebody may enter it."""
        state, by_hand = self.states.get(workflow, ("draining", False))
        return state == "live" and not by_hand


class Versions:
    """Workflow versions, each loaded when first needed."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._loaded: dict[int, Version] = {}

    def __getitem__(self, version_id: int) -> Version:
        if version_id not in self._loaded:
            row = self._connection.execute(
                "SELECT id, workflow, number, path, program FROM workflow_versions WHERE id = ?", (version_id,)
            ).fetchone()
            self._loaded[version_id] = Version.from_row(row)
        return self._loaded[version_id]

    def in_flight(self) -> list[Version]:
        """The versions that somebody is inside."""
        # A loose index scan: one probe a version, however many enrollments there are.
        rows = self._connection.execute(
            "WITH RECURSIVE v(id) AS (SELECT min(version_id) FROM enrollments WHERE ended_at IS NULL UNION ALL "
            "SELECT (SELECT min(version_id) FROM enrollments WHERE ended_at IS NULL AND version_id > v.id) FROM v WHERE v.id IS NOT NULL) "
            "SELECT id FROM v WHERE id IS NOT NULL"
        ).fetchall()
        return [self[version_id] for (version_id,) in rows]


def _probes(said: list[dict[str, Any]]) -> tuple[Probe, ...]:
    return tuple(Probe.from_json(probe) for probe in said)


def load(connection: sqlite3.Connection) -> Runtime | None:
    """The newest release, or None where nothing was applied yet."""
    row = connection.execute('SELECT id, "commit", runtime FROM releases ORDER BY id DESC LIMIT 1').fetchone()
    if row is None:
        return None
    said = json.loads(row[2])
    states = connection.execute(
        "SELECT workflow, CASE WHEN by_hand = 'draining' AND state = 'live' THEN 'draining' ELSE state END, "
        "coalesce(by_hand IN ('paused', 'stopped'), 0) FROM workflow_states"
    ).fetchall()
    return Runtime(
        release_id=row[0],
        commit=row[1],
        said=said,
        entrances=[Entrance(**entrance) for entrance in said["entrances"]],
        segments=tuple(map(SegmentPlan.from_json, said["segments"])),
        states={workflow: (state, bool(by_hand)) for workflow, state, by_hand in states},
        versions=Versions(connection),
    )
