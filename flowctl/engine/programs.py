"""A workflow compiled: its flat program with the SQL of every step, what ends it, and how people come in."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from flowctl.engine.conditions.scope import ENTRY
from flowctl.engine.guards import CODES
from flowctl.engine.localtime import instant
from flowctl.engine.runtime import Judged
from flowctl.engine.seen import seen_pairs, written
from flowctl.engine.steps import kind_of as step_kind
from flowctl.engine.triggers import kind_of as trigger_kind
from flowctl.language.conditions import FieldLeaf, SegmentLeaf, leaves
from flowctl.language.durations import Duration
from flowctl.language.steps import WaitForStep, walk
from flowctl.program.compiling import compile_program

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.engine.compiler import Compiler
    from flowctl.language.conditions import Condition
    from flowctl.language.model import Model
    from flowctl.language.workflow import Workflow
    from flowctl.program.instructions import Program
    from flowctl.project.project import Project


def program_of(workflow: Workflow, compiler: Compiler) -> dict[str, Any]:
    """The flat program with the SQL of every step, what ends it early, and which steps leave a mark; faults go to the compiler."""
    program = compile_program(workflow)
    instructions = []
    for instruction in program.instructions:
        kind = step_kind(instruction.op)
        said: dict[str, Any] = {
            "op": instruction.op,
            "step": instruction.name,
            "line": instruction.place.line,
            "column": instruction.place.column,
            "targets": instruction.targets,
        }
        if kind is None:
            if instruction.step is not None:
                compiler.refuse(instruction.step, f"the step `{instruction.op}` does not run yet", instruction.op)
        else:
            said |= kind.compiled(instruction, compiler)
        if isinstance(instruction.step, WaitForStep):
            said["asks"] = written(instruction.step.wait_for)
        instructions.append(said)
    return {
        "instructions": instructions,
        "zone": compiler.scope.zone,
        "priority": workflow.priority,
        "goal": _goal(workflow, compiler),
        "exits": [
            *_outside(workflow, compiler),
            *(_exit(workflow, condition, compiler) for condition in workflow.exit_when),
        ],
        "secondary": [
            _judged(condition, compiler, name, workflow, "secondary_goals")
            for name, condition in workflow.secondary_goals.items()
        ],
        "on_goal": program.on_goal,
        "steps": program.step_positions,
        "marked": _marked(program),
    }


def _judged(
    condition: Condition, compiler: Compiler, reason: str, model: Model, key: str, **said: Any
) -> dict[str, Any]:
    judged = Judged(
        sql=compiler.condition(condition, since=ENTRY),
        probes=compiler.probes(condition),
        reason=reason,
        at=compiler.exact_time(condition, since=ENTRY, until=":now"),
        asks=written(condition),
        line=model.place_of(key).line,
        state_only=all(isinstance(leaf, FieldLeaf | SegmentLeaf) for leaf in leaves(condition)),
        **said,
    )
    return judged.to_json()


def _goal(workflow: Workflow, compiler: Compiler) -> dict[str, Any] | None:
    goal = workflow.goal
    if goal is None:
        return None
    within = goal.within.elapsed_ms if goal.within else None
    return _judged(goal.condition, compiler, "goal", workflow, "goal", within_ms=within, ends=goal.ends)


def _exit(workflow: Workflow, condition: Condition, compiler: Compiler) -> dict[str, Any]:
    first = next(leaves(condition))
    named = getattr(first, first.subject, None)
    return _judged(
        condition, compiler, f"exit_when {named}" if isinstance(named, str) else "exit_when", workflow, "exit_when"
    )


def _outside(workflow: Workflow, compiler: Compiler) -> Iterator[dict[str, Any]]:
    """`leave_when_outside`: the audience no longer holds."""
    if workflow.leave_when_outside and workflow.audience is not None:
        sql, probes = compiler.condition(workflow.audience), compiler.probes(workflow.audience)
        yield Judged(
            sql=f"({sql}) IS NOT TRUE",
            probes=probes,
            reason="outside",
            asks=f"audience: {written(workflow.audience)}",
            line=workflow.place_of("leave_when_outside").line,
        ).to_json()


def guards_of(project: Project, workflow: Workflow) -> list[dict[str, Any]]:
    """The workflow's own guards and the project's."""
    return [
        {
            "shares": {word: share for word in CODES if (share := getattr(guard, word)) is not None},
            "over_ms": guard.over.elapsed_ms,
            "over": str(guard.over),
            "at_least": guard.at_least,
            "then": guard.then,
            "notify": guard.notify,
        }
        for guard in [*workflow.guards, *project.settings.guards]
    ]


def _marked(program: Program) -> list[str]:
    """The steps that some condition's `since` names."""
    conditions = [instruction.condition for instruction in program.instructions if instruction.condition is not None]
    conditions += [instruction.step.wait_for for instruction in program.instructions if instruction.op == "wait_for"]  # type: ignore[union-attr]
    conditions += program.workflow.exit_when
    if program.workflow.goal:
        conditions.append(program.workflow.goal.condition)
    said = {getattr(leaf, "since", None) for condition in conditions for leaf in leaves(condition)}
    names = {since for since in said if isinstance(since, str)} - {"ever", "entry"}
    return sorted(names & {step.name for step in walk([*program.workflow.steps, *program.workflow.on_goal])})


def entrance_of(workflow: Workflow, compiler: Compiler) -> dict[str, Any]:
    """How people come in: triggers, audience, re-entry, active days; as `runtime.Entrance` without its version."""
    triggers = []
    for index, trigger in enumerate(workflow.triggers):
        kind = trigger_kind(trigger.kind)
        if kind is None:
            compiler.refuse(trigger, f"the trigger `{trigger.kind}` does not run yet", trigger.kind)
        else:
            said = {"kind": trigger.kind, "asks": written(trigger), "line": trigger.place.line}
            triggers.append(said | kind.compiled(trigger, compiler, index))
    reentry, active = workflow.reentry, workflow.active
    alone = replace(compiler, scope=replace(compiler.scope, enrollment=False))
    asks_everybody = any(trigger.kind in ("moment", "schedule") for trigger in workflow.triggers)
    day = timedelta(days=1)
    return {
        "workflow": workflow.name,
        "zone": compiler.scope.zone,
        "triggers": triggers,
        "audience": compiler.condition(workflow.audience) if workflow.audience is not None else None,
        "audience_alone": alone.condition(workflow.audience)
        if workflow.audience is not None and asks_everybody
        else None,
        "audience_seen": seen_pairs(workflow.audience, compiler.scope) if workflow.audience is not None else "",
        "audience_asks": written(workflow.audience) if workflow.audience is not None else "",
        "after_ms": reentry.after.elapsed_ms if isinstance(reentry.after, Duration) else None,
        "since_exit": reentry.since == "exit",
        "while_active": reentry.while_active,
        "key": compiler.value_of(reentry.key) if reentry.key else None,
        "priority": workflow.priority,
        "group": workflow.exclusive_group,
        "from_at": instant(_midnight(active.from_), compiler.zone_name) if active and active.from_ else None,
        "until_at": instant(_midnight(active.until + day), compiler.zone_name) if active and active.until else None,
        "at_end_exit": bool(active and active.at_end == "exit"),
    }


def _midnight(day: Any) -> Any:
    from datetime import datetime, time  # noqa: PLC0415 - only workflows with `active`

    return datetime.combine(day, time())
