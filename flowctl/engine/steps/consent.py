"""`consent`: a row of consent, with its time and source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowctl.engine.conditions.literal import literal
from flowctl.engine.rendering import Templates, fill
from flowctl.engine.work import HERE
from flowctl.language.steps import ConsentStep
from flowctl.store import consents

if TYPE_CHECKING:
    from flowctl.engine.compiler import Compiler
    from flowctl.engine.runtime import Version
    from flowctl.engine.work import Batch
    from flowctl.program.instructions import Instruction


def compiled(instruction: Instruction, compiler: Compiler) -> dict[str, Any]:
    """The channel, which way, and the source: the step's own word, else workflow and step."""
    step = instruction.step
    assert isinstance(step, ConsentStep)  # noqa: S101 - the op says so
    said = step.consent
    if said.purpose != "marketing":
        compiler.refuse(step, "only marketing asks for consent; transactional messages need none", "consent")
    templates = Templates(compiler=compiler)
    source = said.source or f"workflow {instruction.place.path}:{instruction.place.line}"
    return {
        "channel": said.grant or said.withdraw,
        "granted": said.grant is not None,
        "source": templates.text(said, source, "source") if said.source else literal(source),
        "templates": templates.found,
    }


def run(batch: Batch, version: Version, pc: int, said: dict[str, Any]) -> None:
    """As every other statement of consent: the newest wins."""
    fill(batch, version, pc, said["templates"])
    rows = batch.connection.execute(
        f"SELECT DISTINCT w.contact_id, w.at, {said['source']} FROM work w WHERE {HERE}", batch.here(version, pc)
    ).fetchall()
    statements = [
        consents.Statement(contact_id=contact, channel=said["channel"], granted=said["granted"], at=at, source=source)
        for contact, at, source in rows
    ]
    consents.record(batch.connection, statements, now=batch.now)
    batch.facts += len(rows)
    batch.note(
        version,
        pc,
        "set",
        "json_object('field', 'consent.' || :channel, 'new', :granted)",
        channel=said["channel"],
        granted="granted" if said["granted"] else "withdrawn",
    )
    batch.move(version, pc, said["targets"]["next"])
