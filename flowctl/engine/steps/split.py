"""`split`: shares of the contacts, by a stable hash of contact, workflow and step."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Any

from flowctl.engine.conditions.literal import literal
from flowctl.engine.work import HERE
from flowctl.language.steps import SplitStep

if TYPE_CHECKING:
    from flowctl.engine.compiler import Compiler
    from flowctl.engine.runtime import Version
    from flowctl.engine.work import Batch
    from flowctl.program.instructions import Instruction

_PARTS = 1_000_000  # a share is a whole number of millionths


def compiled(instruction: Instruction, compiler: Compiler) -> dict[str, Any]:
    """Paths with the upper ends of their shares, and the numbers of the hash.

    The same contact takes the same path whenever it comes, as long as step, workflow and shares stay.
    """
    step = instruction.step
    assert isinstance(step, SplitStep)  # noqa: S101 - the op says so
    ends = accumulate(round(share * _PARTS / 100) for share in step.split.values())
    return {
        "shares": [[path, end] for path, end in zip(step.split, ends, strict=True)],
        "hash": compiler.hash_numbers(instruction),
    }


def run(batch: Batch, version: Version, pc: int, said: dict[str, Any]) -> None:
    """Hash, remember, go."""
    multiplier, increment = said["hash"]
    paths = [path for path, _ in said["shares"]]
    forced = batch.arms.get(said["step"])
    hashed = f"((SELECT c._seed FROM contacts c WHERE c.id = w.contact_id) * {multiplier} + {increment}) % 2147483647 % {_PARTS}"
    cases = " ".join(f"WHEN {index} THEN {literal(path)}" for index, path in enumerate(paths))
    ends = " ".join(f"WHEN w.way < {end} THEN {index}" for index, (_, end) in enumerate(said["shares"]))
    here = f"WHERE {HERE}"
    drawn = str(paths.index(forced)) if forced in paths else None
    batch.execute(f"UPDATE work AS w SET way = {drawn or hashed} {here}", **batch.here(version, pc))
    if drawn is None:
        batch.execute(
            f"UPDATE work AS w SET way = CASE {ends} ELSE {len(paths) - 1} END {here}", **batch.here(version, pc)
        )
    batch.note(version, pc, "branch", f"json_object('way', CASE w.way {cases} END)")
    for index, path in enumerate(paths):
        batch.move(version, pc, said["targets"][path], f" AND w.way = {index}")
