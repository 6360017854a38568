"""Cuts a workflow in two at a step, as edits of its text: the tail becomes a workflow of its own, which a `start` enters."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowctl.failure import UsageFailure
from flowctl.language.conditions import DataLeaf, EventLeaf, MessageLeaf, SurveyLeaf, leaves
from flowctl.language.faults import nearest
from flowctl.language.offsets import offset, span
from flowctl.language.source import Mapping, Scalar, Sequence
from flowctl.language.steps import FetchStep, SendStep, StartStep, StopStep, TaskStep, branches, walk
from flowctl.lint.cutting import free_name, mentioned, module_of
from flowctl.lint.steps import questions, size, told
from flowctl.lint.templates import read
from flowctl.lint.texts import message_texts
from flowctl.project.load import load_texts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.language.conditions import Condition
    from flowctl.language.source import Node
    from flowctl.language.steps import Step
    from flowctl.language.workflow import Workflow
    from flowctl.project.project import Project

CARRIED = (
    "owner", "type", "state", "timezone", "topic", "learn", "goal", "on_goal", "secondary_goals", "exit_when", "leave_when_outside", "exclusive_group",
    "priority", "holdout", "guards",
)  # fmt: skip
"""Keys that the new workflow says as the old one does, in the order it says them."""
_SOURCE = re.compile(r"\btrigger\.([A-Za-z0-9_]+)")
_INPUT = re.compile(r"\binput\.([A-Za-z0-9_]+)")
_INPUT_TYPES = frozenset({"text", "number", "integer", "boolean", "date", "datetime"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Cut:
    """Where a workflow is cut: the steps before in the same list, the tail, and whether the journey ends behind it."""

    workflow: Workflow
    before: tuple[Step, ...]
    tail: tuple[Step, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Split:
    """What a cut makes of the project: new texts by path, and what the owner should know."""

    name: str
    texts: dict[str, str]
    notes: tuple[str, ...]


def find_cut(workflow: Workflow, at: str = "") -> Cut:
    """The cut in front of a step; without a name the one that CPX004 tells.

    Raises:
        UsageFailure: there is no such step, or no cut there.
    """
    if not at:
        module = module_of(workflow.steps)
        if module is None:
            message = f"`{workflow.name}` has no stretch of steps that stands for itself"
            raise UsageFailure(message, help="say where to cut: --at STEP")
        first = module.steps[0]
    else:
        named = {step.name: step for step in walk(workflow.steps) if step.name}
        if at not in named:
            near = nearest(at, named)
            message = f"`{workflow.name}` has no step `{at}`"
            raise UsageFailure(message, help=f"did you mean `{near}`?" if near else f"there is: {', '.join(named)}")
        first = named[at]
    found, is_end = _list_of(workflow.steps, first, is_end=True)
    index = next(number for number, step in enumerate(found) if step is first)
    if not is_end:
        _refuse(workflow, f"behind {told(first)} the journey goes on where that list of steps ends")
    if index == 0:
        _refuse(workflow, f"{told(first)} is the first of its list: nothing would be left before it")
    return Cut(workflow=workflow, before=tuple(found[:index]), tail=tuple(found[index:]))


def split(project: Project, cut: Cut, name: str = "") -> Split:
    """The texts of both workflows, and of the scenario tests that follow them; `name` is the new one's.

    Raises:
        UsageFailure: the cut would change what the workflow means; it says why.
    """
    declared = project.declared.get("workflow", {})
    name = name or free_name(cut.workflow.name, declared)
    if name in declared:
        message = f"there is a workflow `{name}` already"
        raise UsageFailure(message, help="say another name: --name NAME")
    path = cut.workflow.place.path
    _check(project, cut)
    made = _Splitter(project, cut, name)
    texts = {path: made.head(), f"{path.rpartition('/')[0]}/{name}.yaml".lstrip("/"): made.tail()}
    texts |= dict(_tests(project, cut.workflow.name, name))
    _try_out(project, cut.workflow, texts)
    return Split(name=name, texts=texts, notes=tuple(_notes(project, cut, name)))


class _Splitter:
    """Takes the text of a workflow's file apart by lines, and puts both parts together."""

    def __init__(self, project: Project, cut: Cut, name: str) -> None:
        self.project, self.cut, self.name = project, cut, name
        self.workflow = cut.workflow
        self.text = project.sources[cut.workflow.place.path]
        self.lines = self.text.splitlines(keepends=True)
        root = cut.workflow.node
        assert root is not None  # noqa: S101 - it was read from a file
        self.root = root
        self.begin, self.end = self._lines_of_tail()
        self.inputs: dict[str, str] = {}
        self.carried, self.steps = "".join(self._carried()), self._tail_steps()
        self.inputs = dict(sorted(self.inputs.items()))

    def head(self) -> str:
        """The old file: a `start` in the place of the tail, and nobody enters who is still in the new workflow."""
        indent = " " * self._indent()
        hand = self.name
        if self.inputs:
            values = ", ".join(f"{key}: {{from: {source}}}" for key, source in self.inputs.items())
            hand = f"{{workflow: {self.name}, with: {{{values}}}}}"
        lines = [*self.lines[: self.begin], f"{indent}- start: {hand}\n", *self.lines[self.end :]]
        if self.workflow.reentry.after != "never":
            lines = self._guarded(lines)
        return "".join(lines)

    def tail(self) -> str:
        """The new file."""
        first = self.cut.tail[0]
        what = f"`{first.name}`" if first.name else f"its `{first.verb}`"
        types = {key: self._type(source) for key, source in self.inputs.items()}
        inputs = f"inputs: {{{', '.join(f'{key}: {said}' for key, said in types.items())}}}\n" if types else ""
        header = "".join(line for line in self.lines[:1] if line.startswith("# yaml-language-server"))
        return (
            f"{header}workflow: {self.name}\ndescription: The end of {self.workflow.name}, from {what} on.\n"
            f"{self.carried}triggers: [{{manual: true}}]\n{inputs}steps:\n{self.steps}"
        )

    def _carried(self) -> Iterator[str]:
        for key in CARRIED:
            entry = self.root.entries.get(key)
            if entry is not None:
                begin, end = self._lines_of_key(key)
                yield self._handed(begin, end, entry.value)
        audience = self.root.entries.get("audience")
        if audience is not None and self.workflow.leave_when_outside:
            begin, end = self._lines_of_key("audience")
            yield self._handed(begin, end, audience.value)
        active = self.workflow.active
        if active is not None and active.at_end == "exit":
            begin, end = self._lines_of_key("active")
            yield "".join(self.lines[begin:end])

    def _tail_steps(self) -> str:
        """The tail's lines, moved to the left as far as a new file has them."""
        text = "".join(
            self._handed(self.begin, self.end, *(step.node for step in self.cut.tail if step.node is not None))
        )
        by = self._indent() - 2
        out: list[str] = []
        for line in text.splitlines(keepends=True):
            shift = by if not line[:by].strip() else len(line) - len(line.lstrip())
            out.append(line[shift:] if by > 0 else f"{' ' * -by}{line}" if line.strip() else line)
        last = "" if out and out[-1].endswith("\n") else "\n"
        return "".join(out) + last

    def _handed(self, begin: int, end: int, *nodes: Node) -> str:
        """Some lines with `trigger.x` become `input.x` in the nodes given; notes which inputs that takes."""
        start = offset(self.text, begin + 1, 1)
        text = "".join(self.lines[begin:end])
        for at, until, new in sorted(self._renamed(nodes), reverse=True):
            text = text[: at - start] + new + text[until - start :]
        return text

    def _renamed(self, nodes: tuple[Node, ...]) -> Iterator[tuple[int, int, str]]:
        pending = list(nodes)
        while pending:
            node = pending.pop()
            if isinstance(node, Sequence):
                pending += node.items
            elif isinstance(node, Mapping):
                for key, entry in node.entries.items():
                    if key in ("trigger", "input") and isinstance(entry.value, Mapping):
                        for name in entry.value.entries:
                            first = name.partition(".")[0]
                            self.inputs.setdefault(first, f"{key}.{first}")
                        yield *span(self.text, entry.key.place), "input"
                    pending.append(entry.value)
            elif isinstance(node.value, str) and ("trigger." in node.value or "input." in node.value):
                begin, end = span(self.text, node.place)
                written = self.text[begin:end]
                if not _is_source(node):
                    continue
                for name in _SOURCE.findall(written):
                    self.inputs.setdefault(name, f"trigger.{name}")
                for name in _INPUT.findall(written):
                    self.inputs.setdefault(name, f"input.{name}")
                yield begin, end, _SOURCE.sub(r"input.\1", written)

    def _type(self, source: str) -> str:
        """The type of an input: what the trigger's property, or the old input, is declared as."""
        kind, _, name = source.partition(".")
        if kind == "input":
            declared = self.workflow.inputs.get(name)
            return declared.type if declared else "text"
        if name in ("at", "date"):
            return "datetime"
        properties = self.project.settings.event_properties
        for trigger in self.workflow.triggers:
            said = properties.get(getattr(trigger, "event", ""), {}).get(name)
            if said in _INPUT_TYPES:
                return str(said)
        return "text"

    def _guarded(self, lines: list[str]) -> list[str]:
        """With an audience that leaves out who is still in the new workflow: the old one never had them enter either."""
        inside = f"{{workflow: {self.name}, state: active}}"
        entry = self.root.entries.get("audience")
        if entry is None:
            begin, _ = self._lines_of_key("steps")
            return [*lines[:begin], f"audience: {{not: {inside}}}\n", *lines[begin:]]
        begin, end = self._lines_of_key("audience")
        first, last = span(self.text, entry.value.place)
        written = self.text[first:last]
        if entry.value.place.line == entry.key.place.line and entry.value.place.end_line == entry.key.place.line:
            line = self.lines[entry.key.place.line - 1]
            column = entry.value.place.column - 1
            rest = line[column + len(written) :]
            new = f"{line[:column]}{{all: [{written}, {{not: {inside}}}]}}{rest}"
            return [*lines[: entry.key.place.line - 1], new, *lines[entry.key.place.line :]]
        block = [f"      {line}" if line.strip() else line for line in lines[entry.key.place.line : end]]
        return [
            *lines[:begin], *lines[begin : entry.key.place.line - 1], "audience:\n", "  all:\n", f"    - not: {inside}\n", "    -\n", *block, *lines[end:],
        ]  # fmt: skip

    def _indent(self) -> int:
        """How far in the `-` of the tail's steps stands."""
        place = self.cut.tail[0].place
        line = self.lines[place.line - 1]
        before = line[: place.column - 1]
        if before.strip() != "-":
            _refuse(self.workflow, "its steps are written in brackets: write each on a line of its own")
        return len(before) - len(before.lstrip())

    def _lines_of_tail(self) -> tuple[int, int]:
        """From the comments above the first step to the end of the last one: line numbers from 0, the end exclusive."""
        self._indent()
        begin = self._above(self.cut.tail[0].place.line - 1)
        place = self.cut.tail[-1].place
        end = place.end_line if place.end_column > 1 else place.end_line - 1
        while end > begin and not self.lines[end - 1].strip():
            end -= 1
        return begin, end

    def _lines_of_key(self, key: str) -> tuple[int, int]:
        """A top-level key with its value, and the comments above it."""
        starts = sorted(entry.key.place.line - 1 for entry in self.root.entries.values())
        line = self.root.entries[key].key.place.line - 1
        following = [start for start in starts if start > line]
        end = self._above(following[0]) if following else len(self.lines)
        while end > line + 1 and not self.lines[end - 1].strip():
            end -= 1
        return self._above(line), end

    def _above(self, line: int) -> int:
        """The first of the comment lines right above a line."""
        while line > 0 and self.lines[line - 1].lstrip().startswith("#"):
            if line == 1 and self.lines[0].startswith("# yaml-language-server"):
                break
            line -= 1
        return line


def _is_source(node: Scalar) -> bool:
    """Whether a text names a source, or is a template that may print one."""
    text = str(node.value)
    return "{{" in text or "{%" in text or bool(re.fullmatch(r"(trigger|input)(\.[A-Za-z0-9_]+)+", text))


def _list_of(steps: list[Step], wanted: Step, *, is_end: bool) -> tuple[list[Step], bool]:
    """The list that a step stands in, and whether the journey ends behind that list."""
    for position, step in enumerate(steps):
        if step is wanted:
            return steps, is_end
        inner_is_end = is_end and position == len(steps) - 1 and step.verb != "repeat"
        for _, branch in branches(step):
            found, ends = _list_of(list(branch), wanted, is_end=inner_is_end)
            if found:
                return found, ends
    return [], False


def _refuse(workflow: Workflow, why: str) -> None:
    message = f"`{workflow.name}` cannot be cut there without a change of meaning: {why}"
    raise UsageFailure(message, help="cut it at another step: `flowctl rule CPX004` says where one stands for itself")


def _check(project: Project, cut: Cut) -> None:
    """Refuse what two workflows cannot mean together."""
    workflow, again = cut.workflow, cut.workflow.reentry
    if again.while_active != "ignore":
        _refuse(workflow, f"`while_active: {again.while_active}` would no longer see who is in the new workflow")
    if again.key is not None:
        _refuse(workflow, f"`reentry` is judged for each `{again.key}`, which the new workflow does not have")
    inside = {id(step) for step in walk(cut.tail)}
    head = [step for step in walk(workflow.steps) if id(step) not in inside]
    tail = [step for step in walk(workflow.steps) if id(step) in inside]
    _check_names(workflow, head, tail)
    _check_history(workflow, head, tail)
    _check_data(project, workflow, head, tail)
    _check_others(project, workflow, tail)


def _check_names(workflow: Workflow, head: list[Step], tail: list[Step]) -> None:
    """Steps that each part has and asks about."""
    both: list[Condition] = _shared(workflow)
    for part, others, where in ((tail, head, "before the cut"), (head, tail, "behind the cut")):
        names = {step.name for step in others if step.name} - {step.name for step in part if step.name}
        asked = {name for step in part for name in mentioned(step)}
        asked |= {
            leaf.since
            for one in both
            for leaf in leaves(one)
            if isinstance(leaf, EventLeaf | MessageLeaf | SurveyLeaf) and isinstance(leaf.since, str)
        }
        asked |= {name for step in workflow.on_goal for name in mentioned(step)}
        if crossing := sorted(names & asked):
            _refuse(workflow, f"`{crossing[0]}` stands {where}, and is asked about on the other side")
    if moved := sorted(set(workflow.move.values()) & {step.name for step in tail}):
        _refuse(workflow, f"`move:` carries contacts over to `{moved[0]}`, which the new workflow would hold")


def _shared(workflow: Workflow) -> list[Condition]:
    """Conditions that both workflows say."""
    goal = [workflow.goal.condition] if workflow.goal is not None else []
    asked = [one for step in walk(workflow.on_goal) for one in questions(step)]
    return [*goal, *workflow.exit_when, *workflow.secondary_goals.values(), *asked]


def _check_history(workflow: Workflow, head: list[Step], tail: list[Step]) -> None:
    """What is asked of this enrollment: the new workflow's begins at the cut."""
    before, behind = ({step.send for step in part if isinstance(step, SendStep)} for part in (head, tail))
    for condition in [*(one for step in tail for one in questions(step)), *_shared(workflow)]:
        is_shared = any(condition is one for one in _shared(workflow))
        for leaf in leaves(condition):
            since = getattr(leaf, "since", None)
            if isinstance(leaf, EventLeaf) and since == "entry":
                _refuse(
                    workflow,
                    f"what is behind the cut asks for `{leaf.event}` since entry, which would begin at the cut",
                )
            crossing = {"any", *before, *(behind if is_shared else ())}
            if isinstance(leaf, MessageLeaf) and since in (None, "entry") and leaf.message in crossing:
                _refuse(workflow, f"the message `{leaf.message}` is asked about for this enrollment, across the cut")
            if isinstance(leaf, SurveyLeaf) and since in (None, "entry"):
                _refuse(workflow, f"the survey `{leaf.survey}` is asked about for this enrollment, across the cut")


def _check_data(project: Project, workflow: Workflow, head: list[Step], tail: list[Step]) -> None:
    """What `fetch` and tasks saved before the cut is not known behind it; and messages print no input."""
    saved = {step.fetch.save_as for step in head if isinstance(step, FetchStep)}
    saved |= {step.name for step in head if isinstance(step, TaskStep) and step.name}
    saved -= {step.fetch.save_as for step in tail if isinstance(step, FetchStep)}
    for step in [*tail, *walk(workflow.on_goal)]:
        for condition in questions(step):
            for leaf in leaves(condition):
                if isinstance(leaf, DataLeaf) and (used := {name.partition(".")[0] for name in leaf.data} & saved):
                    _refuse(workflow, f"{told(step)} asks `data.{min(used)}`, which is saved before the cut")
        node = step.node
        written = (
            ""
            if node is None
            else project.sources[node.place.path][slice(*span(project.sources[node.place.path], node.place))]
        )
        for name in sorted(saved):
            if re.search(rf"\bdata\.{re.escape(name)}\b", written):
                _refuse(workflow, f"{told(step)} takes `data.{name}`, which is saved before the cut")
        message = project.messages.get(step.send) if isinstance(step, SendStep) else None
        for text in message_texts(message, project) if message is not None else ():
            for use in read(text.value).uses:
                if use.chain[0] in ("trigger", "input") or (
                    use.chain[0] == "data" and use.chain[1:2] and use.chain[1] in saved
                ):
                    _refuse(
                        workflow,
                        f"the message `{message.message if message else ''}` prints `{'.'.join(use.chain)}`, which the new workflow does not know",
                    )


def _check_others(project: Project, workflow: Workflow, tail: list[Step]) -> None:
    """Other workflows that enter the tail, or end the whole."""
    names = {step.name for step in tail}
    for other in project.workflows.values():
        for step in (*walk(other.steps), *walk(other.on_goal)):
            if isinstance(step, StartStep) and step.start.workflow == workflow.name and step.start.at_step in names:
                _refuse(workflow, f"`{other.name}` starts it at `{step.start.at_step}`, behind the cut")
            if isinstance(step, StopStep) and step.stop == workflow.name:
                _refuse(workflow, f"`{other.name}` stops it, and would not stop the new workflow")


def _notes(project: Project, cut: Cut, name: str) -> Iterator[str]:
    workflow = cut.workflow
    again = workflow.reentry
    if again.after != "never" and again.since == "exit":
        yield f"`reentry: {{after: {again.after}}}` now counts from the hand-over, not from the end of `{name}`"
    if workflow.goal is not None and workflow.goal.within is not None:
        yield f"`within: {workflow.goal.within}` of the goal counts in `{name}` from the hand-over"
    for segment in project.segments.values():
        if any(getattr(leaf, "workflow", None) == workflow.name for leaf in leaves(segment.match)):
            yield f"the segment `{segment.segment}` asks about `{workflow.name}`, which is over at the hand-over now"
    yield f"{size(cut.tail)} steps moved; contacts on them finish the version they entered"


def _tests(project: Project, old: str, new: str) -> Iterator[tuple[str, str]]:
    """The files of scenario tests of the old workflow, which now are of both."""
    edits: dict[str, list[tuple[int, int, str]]] = {}
    for scenario in project.scenarios.values():
        entry = scenario.entry("of")
        if entry is None or old not in scenario.of:
            continue
        path = entry.value.place.path
        text = project.sources[path]
        begin, end = span(text, entry.value.place)
        if isinstance(entry.value, Scalar):
            edits.setdefault(path, []).append((begin, end, f"[{old}, {new}]"))
        elif isinstance(entry.value, Sequence) and text[begin] == "[":
            edits.setdefault(path, []).append((end - 1, end - 1, f", {new}"))
        else:
            assert isinstance(entry.value, Sequence)  # noqa: S101 - the language has names or lists of names there
            last = entry.value.items[-1].place
            _, until = span(text, last)
            edits.setdefault(path, []).append((until, until, f"\n{' ' * (last.column - 3)}- {new}"))
        for expected in scenario.expect:
            said = expected.entry("enrolled")
            if said is not None and isinstance(said.value, Scalar):  # it counted the old workflow's
                first, until = span(text, said.value.place)
                edits[path].append((first, until, f"{{{old}: {said.value.raw}}}"))
    for path, changes in edits.items():
        text = project.sources[path]
        for begin, end, new_text in sorted(changes, reverse=True):
            text = text[:begin] + new_text + text[end:]
        yield path, text


def _try_out(project: Project, workflow: Workflow, texts: dict[str, str]) -> None:
    """Read the project with the new texts: what would no longer run is a reason to refuse."""
    made = load_texts({**project.sources, **project.bodies, **texts}, project.root)
    if made.errors:
        problem = made.errors[0]
        _refuse(workflow, f"{problem.place}: {problem.message}")
