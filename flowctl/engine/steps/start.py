"""`start`: an entry into another workflow, with inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowctl.engine.conditions.literal import literal
from flowctl.engine.rendering import Templates, fill
from flowctl.engine.work import HERE
from flowctl.language.steps import StartStep
from flowctl.language.steps import walk as walk_steps

if TYPE_CHECKING:
    from flowctl.engine.compiler import Compiler
    from flowctl.engine.runtime import Version
    from flowctl.engine.work import Batch
    from flowctl.program.instructions import Instruction


def compiled(instruction: Instruction, compiler: Compiler) -> dict[str, Any]:
    """The target, its step, and SQL of a JSON object of inputs, the target's defaults filled in."""
    step = instruction.step
    assert isinstance(step, StartStep)  # noqa: S101 - the op says so
    said = step.start
    target = compiler.project.workflows.get(said.workflow)
    inputs = target.inputs if target else {}
    if target and said.at_step and said.at_step not in {each.name for each in walk_steps(target.steps)}:
        compiler.refuse(step, f"workflow `{said.workflow}` has no step `{said.at_step}`", "start")
    templates = Templates(compiler=compiler)
    types = {name: declared.type for name, declared in inputs.items()}
    given = {name: templates.value(step, value, types.get(name), key="start") for name, value in said.with_.items()}
    values = {**{name: literal(declared.default) for name, declared in inputs.items()}, **given}
    pairs = ", ".join(f"{literal(name)}, {value}" for name, value in values.items())
    return {
        "workflow": said.workflow,
        "at_step": said.at_step,
        "inputs": f"json_object({pairs})",
        "templates": templates.found,
    }


def run(batch: Batch, version: Version, pc: int, said: dict[str, Any]) -> None:
    """The cause names enrollment, step and visit: however often it is looked at, one entry."""
    fill(batch, version, pc, said["templates"])
    here = batch.here(version, pc)
    batch.facts += batch.execute(
        "INSERT INTO entries (contact_id, workflow, at, cause, trigger, data, step) SELECT w.contact_id, :workflow, w.at, "
        "'start:' || w.eid || ':' || w.pc || ':' || w.visit || ':' || w.at, json_object('workflow', :by, 'at', w.at), "
        f"json_object('input', {said['inputs']}), :step FROM work w CROSS JOIN contacts c ON c.id = w.contact_id "
        f"WHERE {HERE} ON CONFLICT (workflow, contact_id, cause) DO NOTHING",
        workflow=said["workflow"],
        by=version.workflow,
        step=said["at_step"],
        **here,
    )
    batch.note(version, pc, "started", "json_object('workflow', :workflow)", workflow=said["workflow"])
    batch.move(version, pc, said["targets"]["next"])
