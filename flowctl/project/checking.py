"""The questions that the rules of `scope` share: does a value fit, is a property declared, is a window said."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from flowctl.language.faults import invalid
from flowctl.language.source import Mapping as MappingNode
from flowctl.language.values import Comparison, From, comparison
from flowctl.project.comparisons import Misfit, misfit, misfits, same_family, spoken
from flowctl.project.references import Names, child, no_such, node_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from flowctl.language.conditions import SurveyLeaf
    from flowctl.language.model import Model
    from flowctl.language.problem import Place, Problem
    from flowctl.language.settings import FieldType
    from flowctl.language.source import Node
    from flowctl.language.survey import Question
    from flowctl.language.triggers import SurveyTrigger
    from flowctl.language.workflow import Workflow
    from flowctl.project.project import Project

_QUESTION_TYPES: dict[str, FieldType] = {
    "scale": "number",
    "number": "number",
    "choice": "choice",
    "text": "text",
    "boolean": "boolean",
    "choices": "tags",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Scope:
    """What is around a model: the workflow it belongs to, what it may take values from, which question is being asked."""

    context: str = ""  # segment, audience, if, wait_for, goal, fact: where a condition stands
    workflow: Workflow | None = None
    steps: Mapping[str, str] = field(default_factory=dict)  # step name: verb
    trigger: Mapping[str, FieldType | None] | None = None  # None: anything goes
    data: frozenset[str] = frozenset()


class Checking:
    """A project, its names, and whether a file exists."""

    def __init__(self, project: Project, names: Names, exists: Callable[[str], bool]) -> None:
        self.project = project
        self.names = names
        self.exists = exists

    def misfit_at(self, wrong: Misfit, node: Node | None, place: Place) -> Problem:
        """A misfit as a problem at a node, or at the place where there is none."""
        return invalid(node.place if node else place, wrong.message, help_=wrong.help)

    def compare(
        self,
        asked: Comparison,
        node: Node | None,
        called: str,
        type_: FieldType,
        values: Sequence[str] | None,
        scope: Scope,
    ) -> Iterator[Problem]:
        """Whether operators and values fit a type; `node` is the comparison's, or the bare value's."""
        place = node.place if node else asked.place
        for wrong in misfits(asked, called, type_, values):
            below = node
            if isinstance(node, MappingNode) and (entry := node.entries.get(wrong.operator)):
                below = entry.key if wrong.message.startswith(f"`{wrong.operator}` does not fit") else entry.value
                below = child(below, wrong.item) if wrong.item is not None else below
            yield self.misfit_at(wrong, below, place)
        for operator, value in asked.operators().items():
            for one in value if isinstance(value, list) else [value]:
                if (
                    isinstance(one, From)
                    and (other := self.source_type(one.from_, scope))
                    and not same_family(type_, other)
                ):
                    yield invalid(
                        one.place,
                        f"`{called}` is {spoken(type_)}, `{one.from_}` is {spoken(other)}: `{operator}` cannot compare them",
                    )

    def where(self, model: Model, key: str, event: str, scope: Scope) -> Iterator[Problem]:
        """The properties that a `where` or `last` asks of an event."""
        below = node_of(model, key)
        for name, asked in (getattr(model, key) or {}).items():
            type_, problem = self.property(event, name, key_node(below, name), key_place(below, name, model))
            if problem:
                yield problem
            elif type_ is not None:
                declared = self.project.settings.events.get(event)
                values = declared.properties[name].values if declared else None
                yield from self.compare(comparison(asked), child(below, name), name, type_, values, scope)

    def property(
        self, event: str, name: str, node: Node | None, place: Place
    ) -> tuple[FieldType | None, Problem | None]:
        """The type of an event's property, or the problem that it has none; neither where the event is unknown."""
        known = self.project.settings.event_properties.get(event)
        if known is None or "event" in self.names.unsure:
            return None, None
        if name in known:
            return known[name], None
        help_ = f"add it in flowctl.yaml under `events: {{{event}: {{properties: …}}}}`"
        return None, no_such("property", name, node, place, known, of=f"the event `{event}`", help_=help_)

    def named_values(
        self, model: Model, key: str, types: Mapping[str, FieldType | None], what: str, scope: Scope
    ) -> Iterator[Problem]:
        """The names and values that a `trigger`, `input` or record `where` asks for."""
        below = node_of(model, key)
        for name, asked in getattr(model, key).items():
            first = name.split(".")[0]
            if first not in types:
                yield no_such(what, first, key_node(below, name), key_place(below, name, model), types)
            elif (type_ := types[first]) is not None and first == name:
                yield from self.compare(comparison(asked), child(below, name), name, type_, None, scope)

    def answer(self, model: SurveyLeaf | SurveyTrigger, scope: Scope) -> Iterator[Problem]:
        """The question and the answer asked of a survey."""
        survey = self.project.surveys.get(model.survey)
        if survey is None or (model.answer is None and model.question is None):
            return
        if model.question is not None and model.question not in survey.questions:
            yield no_such(
                "question",
                model.question,
                node_of(model, "question"),
                model.place_of("question"),
                survey.questions,
                of=f"the survey `{survey.name}`",
            )
            return
        if model.question is None and len(survey.questions) > 1:
            yield invalid(
                model.place_of_key("answer"),
                f"`{survey.name}` has several questions: say which",
                help_=f"add `question: {next(iter(survey.questions))}`",
            )
            return
        question: Question = survey.questions[model.question or next(iter(survey.questions))]
        if model.answer is not None:
            called = model.question or "answer"
            yield from self.compare(
                model.answer, node_of(model, "answer"), called, _QUESTION_TYPES[question.type], question.options, scope
            )

    def window(self, model: Model, since: object, scope: Scope, *, between: bool = False) -> Iterator[Problem]:
        """Whether a leaf says the window it must say where it stands, and names a step that exists."""
        kind = str(getattr(model, "subject", ""))
        if scope.context in ("segment", "audience", "if") and since is None and not between:
            needs = scope.context != "if" or kind == "event"
            if needs:
                ends = (
                    "`since: 30d` or `since: ever`"
                    if scope.context != "if"
                    else "`since: entry`, `since: 30d`, `since: ever` or a step's id"
                )
                yield invalid(
                    model.place_of_key(kind),
                    "the window is missing: since when?",
                    label="needs `since:`",
                    help_=f"add {ends}",
                )
            return
        if not isinstance(since, str) or since == "ever":
            return
        below = node_of(model, "since")
        place = below.place if below else model.place
        if scope.context in ("segment", "audience"):
            yield invalid(
                place,
                f"`since: {since}` means nothing in {'a segment' if scope.context == 'segment' else 'an audience'}: no journey has begun",
                help_="write a duration such as 30d, or ever",
            )
        elif since != "entry" and scope.workflow is not None and since not in scope.steps:
            yield no_such(
                "step", since, below, place, scope.steps, help_="`since` is a duration, `ever`, `entry` or a step's id"
            )

    def source(self, source: str, node: Node | None, place: Place, scope: Scope) -> Iterator[Problem]:
        """Whether `trigger.x`, `contact.x`, `data.x` or `input.x` exists."""
        root, _, rest = source.partition(".")
        name, at = rest.split(".")[0], node.place if node else place
        if root == "contact" and "field" not in self.names.unsure and name not in self.project.field_types:
            yield no_such(
                "contact field",
                name,
                None,
                at,
                self.project.field_types,
                help_="declare it in flowctl.yaml under `contacts: {fields: …}`",
            )
        elif root not in ("now", "contact") and scope.workflow is None:
            yield invalid(
                at, f"`{root}` is known inside workflows only", help_="take the value from `contact.` or `now`"
            )
        elif root == "trigger" and scope.trigger is not None and name not in scope.trigger:
            yield no_such("trigger value", name, None, at, scope.trigger)
        elif root == "data" and name not in scope.data:
            yield no_such(
                "fetched data", name, None, at, scope.data, help_="a `fetch` step gives it its name: `save_as:`"
            )
        elif root == "input" and scope.workflow is not None and name not in scope.workflow.inputs:
            yield no_such("input", name, None, at, scope.workflow.inputs, help_="declare it under `inputs:`")

    def source_type(self, source: str, scope: Scope) -> FieldType | None:
        """The type of a value taken from elsewhere, where it is known."""
        root, _, name = source.partition(".")
        match root:
            case "now":
                return "datetime"
            case "contact":
                return self.project.field_types.get(name)
            case "trigger":
                return (scope.trigger or {}).get(name)
            case "input" if scope.workflow is not None and name in scope.workflow.inputs:
                return scope.workflow.inputs[name].type
            case _:
                return None

    def assigned(self, values: Mapping[str, Any], node: Node | None, place: Place, scope: Scope) -> Iterator[Problem]:
        """Values given to contact fields."""
        for name, value in values.items():
            type_ = self.project.field_types.get(name)
            if type_ is None:
                continue
            below = child(node, name)
            if type_ == "tags" and isinstance(value, list):
                for index, one in enumerate(value):
                    if wrong := misfit(one, name, type_, self.project.field_values(name)):
                        yield self.misfit_at(wrong, child(below, index), place)
            elif wrong := misfit(value, name, type_, self.project.field_values(name)):
                yield self.misfit_at(wrong, below, place)
            elif (
                isinstance(value, From)
                and (other := self.source_type(value.from_, scope))
                and not same_family(type_, other)
            ):
                yield invalid(value.place, f"`{name}` is {spoken(type_)}, `{value.from_}` is {spoken(other)}")

    def properties(
        self, event: str, values: Mapping[str, Any], node: Node | None, place: Place, *, literal: bool
    ) -> Iterator[Problem]:
        """Properties given to an event; with `literal` their values must fit too."""
        for name, value in values.items():
            at = key_node(node, name)
            type_, problem = self.property(event, name, at, at.place if at else place)
            if problem:
                yield problem
            elif literal and type_ is not None and (wrong := misfit(value, name, type_, None)):
                yield self.misfit_at(wrong, child(node, name), place)


def key_node(node: Node | None, key: str) -> Node | None:
    """The node of a key itself."""
    return node.entries[key].key if isinstance(node, MappingNode) and key in node.entries else None


def key_place(node: Node | None, key: str, model: Model) -> Place:
    """Where a key stands; the model's place where that is unknown."""
    found = key_node(node, key)
    return found.place if found else node.place if node else model.place
