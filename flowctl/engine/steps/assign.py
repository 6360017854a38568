"""`assign`: the contact's owner, somebody of a team."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Any

from flowctl.engine.steps.change import change
from flowctl.engine.work import HERE
from flowctl.language.steps import AssignStep

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.engine.compiler import Compiler
    from flowctl.engine.runtime import Version
    from flowctl.engine.work import Batch
    from flowctl.program.instructions import Instruction

_CREATE = "CREATE TEMP TABLE IF NOT EXISTS assigned (contact_id INTEGER PRIMARY KEY, owner TEXT NOT NULL)"
_OWNER = "coalesce((SELECT a.owner FROM assigned a WHERE a.contact_id = w.contact_id), c.owner)"


def compiled(instruction: Instruction, compiler: Compiler) -> dict[str, Any]:
    """The team and how it shares; who is in it follows the newest release."""
    step = instruction.step
    assert isinstance(step, AssignStep)  # noqa: S101 - the op says so
    said = step.assign
    team = compiler.project.settings.teams.get(said.team)
    if team is not None and not team.members:
        compiler.refuse(step, f"team `{said.team}` has no `members:` to assign contacts to", "assign")
    return {"team": said.team, "by": said.by, "keep": said.keep, "hash": compiler.hash_numbers(instruction)}


def run(batch: Batch, version: Version, pc: int, said: dict[str, Any]) -> None:
    """One choice a contact, in order of enrollments; where the team is empty by now the owner stays."""
    members: list[str] = batch.runtime.said["teams"].get(said["team"], {}).get("members", [])
    rows = batch.connection.execute(
        "SELECT c.id, c._seed FROM work w CROSS JOIN contacts c ON c.id = w.contact_id "
        f"WHERE {HERE}{' AND c.owner IS NULL' if said['keep'] else ''} GROUP BY c.id ORDER BY min(w.eid)",
        batch.here(version, pc),
    ).fetchall()
    batch.execute(_CREATE)
    batch.execute("DELETE FROM assigned")
    if members:
        chosen = _chosen(batch, said, members, [seed for _, seed in rows])
        pairs = [(contact, owner) for (contact, _), owner in zip(rows, chosen, strict=False)]
        batch.connection.executemany("INSERT INTO assigned VALUES (?, ?)", pairs)
    change(batch, version, pc, "assigned", "owner", _OWNER, combine="last")
    batch.move(version, pc, said["targets"]["next"])


def _chosen(batch: Batch, said: dict[str, Any], members: list[str], seeds: list[int]) -> Iterator[str]:
    match said["by"]:
        case "hash":
            multiplier, increment = said["hash"]
            return (members[(seed * multiplier + increment) % 2147483647 % len(members)] for seed in seeds)
        case "least_loaded":
            return _least_loaded(batch, members)
        case _:
            first = _take_turns(batch, said["team"], len(seeds))
            return (members[(first + number) % len(members)] for number in range(len(seeds)))


def _take_turns(batch: Batch, team: str, count: int) -> int:
    """The number of the first turn, after which `count` are taken."""
    (after,) = batch.connection.execute(
        "INSERT INTO rotations (team, turn) VALUES (?1, ?2) ON CONFLICT (team) DO UPDATE SET turn = turn + ?2 RETURNING turn",
        (team, count),
    ).fetchone()
    return int(after) - count


def _least_loaded(batch: Batch, members: list[str]) -> Iterator[str]:
    """Who has the fewest contacts, each time; the first named among equals."""
    loads = []
    for place, member in enumerate(members):
        (load,) = batch.connection.execute("SELECT count(*) FROM contacts WHERE owner = ?", (member,)).fetchone()
        loads.append((load, place, member))
    heapq.heapify(loads)
    while True:
        load, place, member = loads[0]
        heapq.heapreplace(loads, (load + 1, place, member))
        yield member
