"""What rules look at: the project, and for each workflow its program and time graph, made once."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from flowctl.failure import UsageFailure
from flowctl.language.faults import nearest
from flowctl.language.source import Mapping, parse_text
from flowctl.language.steps import SendStep, StartStep, Step, StopStep, walk
from flowctl.lint.bounds import Pressure
from flowctl.lint.budgets import measures
from flowctl.lint.exclusion import kept, written_fields
from flowctl.lint.steps import around, before, questions
from flowctl.program.compiling import compile_program
from flowctl.program.graph import TimeGraph, build_graph

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from flowctl.language.conditions import Condition
    from flowctl.language.message import Message
    from flowctl.language.settings import Settings
    from flowctl.language.workflow import Workflow
    from flowctl.lint.budgets import Measure
    from flowctl.lint.combined import Combined
    from flowctl.lint.exclusion import Kept
    from flowctl.lint.live import Live
    from flowctl.lint.suppressions import Suppressions
    from flowctl.program.instructions import Instruction, Program
    from flowctl.project.project import Project

MAXIMA = {
    "decisions": 6,
    "complexity": 15,
    "steps": 25,
    "steps_error": 50,
    "days": 90,
    "segments": 1,
    "review_days": 90,
}  # what `lint: {max: …}` may set, for the project or in one workflow


class Journey:
    """One workflow as rules see it."""

    def __init__(self, workflow: Workflow, context: Context) -> None:
        self.workflow = workflow
        self._context = context

    @property
    def name(self) -> str:
        """The workflow's."""
        return self.workflow.name

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """Every step in the order written, those inside steps too, then those after the goal."""
        return (*walk(self.workflow.steps), *walk(self.workflow.on_goal))

    @cached_property
    def sends(self) -> tuple[SendStep, ...]:
        """Every send, in the order written."""
        return tuple(step for step in self.steps if isinstance(step, SendStep))

    @cached_property
    def marketing_sends(self) -> tuple[SendStep, ...]:
        """The sends of marketing messages."""
        messages = self._context.project.messages
        return tuple(
            step for step in self.sends if step.send in messages and messages[step.send].purpose == "marketing"
        )

    @cached_property
    def questions(self) -> tuple[tuple[Step, Condition], ...]:
        """Every condition that a step asks, with the step."""
        return tuple((step, condition) for step in self.steps for condition in questions(step))

    @cached_property
    def above(self) -> dict[int, tuple[Condition, ...]]:
        """The conditions that hold for whoever comes to a step, by the step's identity."""
        return around(self.workflow)

    @cached_property
    def before(self) -> dict[int, Step]:
        """The step right before each step of its list, by the later one's identity."""
        return dict([*before(self.workflow.steps), *before(self.workflow.on_goal)])

    @cached_property
    def program(self) -> Program:
        """The flat program."""
        return compile_program(self.workflow)

    def behind(self, step: Step) -> tuple[Instruction, ...]:
        """Every instruction that can follow a step."""
        instructions = self.program.instructions
        pending = [target for one in instructions if one.step is step for target in one.targets.values()]
        seen: set[int] = set()
        while pending:
            pc = pending.pop()
            if pc not in seen:
                seen.add(pc)
                pending += instructions[pc].targets.values()
        return tuple(instructions[pc] for pc in sorted(seen))

    @cached_property
    def graph(self) -> TimeGraph:
        """The time graph."""
        context = self._context
        return build_graph(
            self.program,
            context.project.messages,
            stopped=self.name in context.stopped,
            started=self.name in context.starters,
        )

    @cached_property
    def kept(self) -> Kept:
        """The values of fixed fields that every contact inside has."""
        return kept(self.workflow.audience, self._context.project, self._context.written_fields)

    @cached_property
    def pressure(self) -> Pressure | None:
        """The bounds of what it sends; None where it sends no marketing."""
        return Pressure(self.graph) if self.marketing_sends else None

    def most(self, name: str) -> int:
        """The threshold of that name: the workflow's own, else the project's, else the language's."""
        own = self.workflow.lint.get("max")
        said = own.get(name) if isinstance(own, dict) else None
        return said if isinstance(said, int) else self._context.maxima[name]

    def label(self, step: Step) -> str:
        """What a baseline knows a step by."""
        return f"{self.name}/{step.name or step.verb}"


class Context:
    """The whole project as rules see it."""

    def __init__(self, project: Project, suppressions: Suppressions, live: Live | None = None) -> None:
        self.project = project
        self.live = live  # what a store says; None where nobody asked one
        self.suppressions = suppressions
        self.ran: frozenset[str] = frozenset()  # the rules that were asked; known once they ran
        self._roots: dict[str, Mapping | None] = {}
        self._measures: dict[tuple[str, ...], tuple[Measure, ...]] = {}
        self.journeys = [Journey(workflow, self) for workflow in project.workflows.values()]

    @property
    def settings(self) -> Settings:
        """flowctl.yaml."""
        return self.project.settings

    @cached_property
    def maxima(self) -> dict[str, int]:
        """Every threshold.

        Raises:
            UsageFailure: flowctl.yaml sets one that does not exist.
        """
        said = self.settings.lint.max
        for name in said:
            if name not in MAXIMA:
                near = nearest(name, MAXIMA)
                message = f"flowctl.yaml: `lint.max` has no `{name}`" + (f"; did you mean `{near}`?" if near else "")
                raise UsageFailure(message, help=f"there is: {', '.join(MAXIMA)}")
        return {**MAXIMA, **said}

    @cached_property
    def stopped(self) -> frozenset[str]:
        """Workflows that another one can end: by `stop`, or by a higher priority in the same exclusive group."""
        stopped = {step.stop for journey in self.journeys for step in journey.steps if isinstance(step, StopStep)}
        highest: dict[str | None, int] = {}
        for journey in self.journeys:
            group = journey.workflow.exclusive_group
            highest[group] = max(journey.workflow.priority, highest.get(group, 0))
        for journey in self.journeys:
            group = journey.workflow.exclusive_group
            if group is not None and journey.workflow.priority < highest[group]:
                stopped.add(journey.name)
        return frozenset(stopped)

    @cached_property
    def combined(self) -> Combined:
        """What all live workflows together can send one contact."""
        from flowctl.lint.combined import Combined  # noqa: PLC0415 - it needs this module's journeys

        return Combined(self)

    @cached_property
    def last_commits(self) -> dict[str, int]:
        """When each file was last part of a commit, in UTC ms; empty where git knows nothing of the project."""
        from flowctl.project.commit import last_commits  # noqa: PLC0415 - it starts git, for one rule

        return last_commits(self.project)

    @cached_property
    def written_fields(self) -> frozenset[str]:
        """Contact fields that something here writes."""
        return written_fields(self)

    @cached_property
    def starters(self) -> dict[str, list[tuple[Journey, StartStep]]]:
        """Who starts a workflow, by its name."""
        found: dict[str, list[tuple[Journey, StartStep]]] = {}
        for journey in self.journeys:
            for step in journey.steps:
                if isinstance(step, StartStep):
                    found.setdefault(step.start.workflow, []).append((journey, step))
        return found

    @cached_property
    def senders(self) -> dict[str, list[tuple[Journey, SendStep]]]:
        """Who sends a message, by its name."""
        found: dict[str, list[tuple[Journey, SendStep]]] = {}
        for journey in self.journeys:
            for step in journey.sends:
                found.setdefault(step.send, []).append((journey, step))
        return found

    def root(self, path: str) -> Mapping | None:
        """The nodes of a file, read again: few files give a rule reason to look that closely."""
        if path not in self._roots:
            self._roots[path] = parse_text(path, self.project.sources[path])[0]
        return self._roots[path]

    def measures(self, used: Sequence[str]) -> tuple[Measure, ...]:
        """The caps, or the budgets in their place, of what leaves on the channels used."""
        key = tuple(used)
        if key not in self._measures:
            self._measures[key] = tuple(measures(self.settings, used))
        return self._measures[key]

    def marketing(self) -> Iterator[Message]:
        """Every marketing message."""
        return (message for message in self.project.messages.values() if message.purpose == "marketing")
