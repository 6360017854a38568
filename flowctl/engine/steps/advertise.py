"""`advertise`: into and out of an advertising audience."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowctl.engine.work import HERE
from flowctl.language.steps import AdvertiseStep

if TYPE_CHECKING:
    from flowctl.engine.compiler import Compiler
    from flowctl.engine.runtime import Version
    from flowctl.engine.work import Batch
    from flowctl.program.instructions import Instruction


def compiled(instruction: Instruction, compiler: Compiler) -> dict[str, Any]:
    """The audience, and which way."""
    step = instruction.step
    assert isinstance(step, AdvertiseStep)  # noqa: S101 - the op says so
    said = step.advertise
    return {"audience": said.add or said.remove, "way": "add" if said.add else "remove"}


def run(batch: Batch, version: Version, pc: int, said: dict[str, Any]) -> None:
    """Set algebra: twice changes nothing more."""
    audience, here = said["audience"], batch.here(version, pc)
    if said["way"] == "add":
        batch.execute(
            "INSERT INTO audience_members (audience, contact_id, since) SELECT :audience, w.contact_id, min(w.at) "
            f"FROM work w WHERE {HERE} GROUP BY w.contact_id ON CONFLICT (audience, contact_id) DO NOTHING",
            audience=audience,
            **here,
        )
    else:
        batch.execute(
            f"DELETE FROM audience_members WHERE audience = :audience AND contact_id IN (SELECT w.contact_id FROM work w WHERE {HERE})",
            audience=audience,
            **here,
        )
    batch.note(
        version, pc, "advertised", "json_object('audience', :audience, 'way', :way)", audience=audience, way=said["way"]
    )
    batch.move(version, pc, said["targets"]["next"])
