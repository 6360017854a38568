"""What each kind of model must hold beyond its own keys: names in scope, types that fit, windows that are said."""

from __future__ import annotations

from dataclasses import replace
from functools import singledispatchmethod
from typing import TYPE_CHECKING

from flowctl.language.assumptions import Assumptions, Consequence
from flowctl.language.conditions import DataLeaf, EventLeaf, FieldLeaf, InputLeaf, MessageLeaf, SurveyLeaf, TriggerLeaf
from flowctl.language.faults import invalid
from flowctl.language.message import MessageBody, Variant
from flowctl.language.model import Model
from flowctl.language.problem import Place, Problem, Related
from flowctl.language.scenario import Fact, Past, Scenario
from flowctl.language.score import Score
from flowctl.language.settings import BUILT_IN_RECORDS, Settings
from flowctl.language.steps import AddStep, CreateStep, FetchStep, SendStep, SetStep, StartStep, TagStep, UntagStep, WaitUntilStep, walk
from flowctl.language.steps.send import AllChannels, SameChannel
from flowctl.language.steps.wait_until import UntilField
from flowctl.language.triggers import DateTrigger, EventTrigger, FieldTrigger, RecordTrigger, SurveyTrigger, Unless
from flowctl.language.values import From
from flowctl.language.workflow import Reentry, Workflow
from flowctl.project.comparisons import misfit, same_family, spoken
from flowctl.project.load import body_path
from flowctl.project.references import child, mentioned, no_such, node_of, parts
from flowctl.project.checking import Checking, Scope, key_node, key_place
from flowctl.project.triggered import trigger_types

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.language.settings import FieldType
    from flowctl.language.source import Node

_CONTEXT_OF = {"match": "segment", "who": "segment", "audience": "audience", "if": "if", "when": "if", "while": "if", "wait_for": "wait_for", "goal": "goal", "exit_when": "goal", "secondary_goals": "goal"}


class Checks(Checking):
    """Walks resources and finds what does not hold together."""

    def settings(self) -> Iterator[Problem]:
        """flowctl.yaml."""
        if self.project.settings_sound:
            yield from self._walk(self.project.settings, None, Scope())

    def resource(self, resource: Model) -> Iterator[Problem]:
        """One resource of any kind."""
        yield from self._walk(resource, None, self._scope(resource) if isinstance(resource, Workflow) else Scope())

    def _scope(self, workflow: Workflow) -> Scope:
        every = [*walk(workflow.steps), *walk(workflow.on_goal)]
        data = frozenset(step.fetch.save_as for step in every if isinstance(step, FetchStep))
        steps = {step.name: step.verb for step in every if step.name}
        return Scope(workflow=workflow, steps=steps, trigger=trigger_types(workflow, self.project), data=data)

    def _walk(self, model: Model, node: Node | None, scope: Scope) -> Iterator[Problem]:
        for kind, name, where, place in mentioned(model, node):
            if kind != "step" and not (kind == "message" and name == "any") and (problem := self.names.unknown(kind, name, where, place)):
                yield problem
        yield from self.rule(model, node, scope)
        for key, inner, below in parts(model, node):
            context = "fact" if isinstance(model, Score) or scope.context == "fact" else _CONTEXT_OF.get(key, scope.context)
            yield from self._walk(inner, below, replace(scope, context=context) if context != scope.context else scope)

    # --- rules, by kind of model

    @singledispatchmethod
    def rule(self, model: Model, node: Node | None, scope: Scope) -> Iterator[Problem]:
        """What one model must hold; most need nothing beyond their names."""
        yield from ()

    @rule.register(Settings)
    def _(self, model: Settings, node: Node | None, scope: Scope) -> Iterator[Problem]:
        for name, declared in model.contacts.fields.items():
            if declared.default is not None and (wrong := misfit(declared.default, name, declared.type, declared.values)):
                below = child(child(node_of(model.contacts, "fields"), name), "default")
                yield self.misfit_at(wrong, below, declared.place)
        for name, record in model.records.items():
            if record.service and record.service not in model.services:
                yield no_such("service", record.service, node_of(record, "service"), record.place_of("service"), model.services)
        known = self.project.declared.get("assumptions", {})
        if model.assumptions and model.assumptions not in known:
            yield no_such("assumptions", model.assumptions, node_of(model, "assumptions"), model.place_of("assumptions"), known)

    @rule.register(Workflow)
    def _(self, model: Workflow, node: Node | None, scope: Scope) -> Iterator[Problem]:
        seen: dict[str, Place] = {}
        for step in [*walk(model.steps), *walk(model.on_goal)]:
            if step.id and step.id in seen:
                related = (Related(place=seen[step.id], label="the first"),)
                yield Problem(code="REF002", slug="duplicate-name", message=f"there are two steps named `{step.id}`", place=step.place_of("id"), related=related, label="the second", help="rename one of them")
            elif step.id:
                seen[step.id] = step.place_of("id")
        for old, new in model.move.items():
            if new not in scope.steps:
                below = child(node_of(model, "move"), old)
                yield no_such("step", new, below, below.place if below else model.place, scope.steps)
        yield from self._topic(model)

    @rule.register(Reentry)
    def _(self, model: Reentry, node: Node | None, scope: Scope) -> Iterator[Problem]:
        if model.key:
            yield from self.source(model.key, node_of(model, "key"), model.place, scope)

    @rule.register(From)
    def _(self, model: From, node: Node | None, scope: Scope) -> Iterator[Problem]:
        yield from self.source(model.from_, node_of(model, "from"), model.place, scope)

    @rule.register(WaitUntilStep)
    def _(self, model: WaitUntilStep, node: Node | None, scope: Scope) -> Iterator[Problem]:
        until = model.wait_until
        if isinstance(until, UntilField):
            below = node_of(until, "from")
            yield from self.source(until.from_, below, until.place, scope)
            type_ = self.source_type(until.from_, scope)
            if type_ is not None and not same_family(type_, "date"):
                yield invalid(below.place if below else until.place, f"one waits until a date; `{until.from_}` is {spoken(type_)}", help_="name a date field")

    # --- conditions

    @rule.register(FieldLeaf)
    def _(self, model: FieldLeaf, node: Node | None, scope: Scope) -> Iterator[Problem]:
        if (type_ := self.project.field_types.get(model.field)) is not None:
            yield from self.compare(model, model._node, model.field, type_, self.project.field_values(model.field), scope)  # noqa: SLF001 - our own model

    @rule.register(EventLeaf)
    def _(self, model: EventLeaf, node: Node | None, scope: Scope) -> Iterator[Problem]:
        yield from self.where(model, "where", model.event, scope)
        yield from self.where(model, "last", model.event, scope)
        for name in model.sum_ or {}:
            below = node_of(model, "sum")
            type_, problem = self.property(model.event, name, key_node(below, name), key_place(below, name, model))
            if problem:
                yield problem
            elif type_ is not None and not same_family(type_, "number"):
                yield invalid(below.place if below else model.place, f"`{name}` cannot be summed: it is {spoken(type_)}")
        yield from self.window(model, model.since, scope, between=model.between is not None)

    @rule.register(MessageLeaf)
    def _(self, model: MessageLeaf, node: Node | None, scope: Scope) -> Iterator[Problem]:
        yield from self.window(model, model.since, scope)

    @rule.register(SurveyLeaf)
    def _(self, model: SurveyLeaf, node: Node | None, scope: Scope) -> Iterator[Problem]:
        yield from self.answer(model, scope)
        yield from self.window(model, model.since, scope)

    @rule.register(TriggerLeaf)
    def _(self, model: TriggerLeaf, node: Node | None, scope: Scope) -> Iterator[Problem]:
        if scope.workflow is None or scope.context == "segment":
            yield invalid(model.place_of_key("trigger"), "nothing started a segment: `trigger` is known inside workflows only", help_="ask for an `event:` or a `field:`")
        elif scope.trigger is not None:
            yield from self.named_values(model, "trigger", scope.trigger, "trigger value", scope)

    @rule.register(DataLeaf)
    def _(self, model: DataLeaf, node: Node | None, scope: Scope) -> Iterator[Problem]:
        for name in model.data:
            if name.split(".")[0] not in scope.data:
                below = node_of(model, "data")
                yield no_such("fetched data", name.split(".")[0], None, key_place(below, name, model), scope.data, help_="a `fetch` step gives it its name: `save_as:`")

    @rule.register(InputLeaf)
    def _(self, model: InputLeaf, node: Node | None, scope: Scope) -> Iterator[Problem]:
        types: dict[str, FieldType | None] = {name: said.type for name, said in scope.workflow.inputs.items()} if scope.workflow else {}
        yield from self.named_values(model, "input", types, "input", scope)

    # --- triggers

    @rule.register(EventTrigger)
    def _(self, model: EventTrigger, node: Node | None, scope: Scope) -> Iterator[Problem]:
        yield from self.where(model, "where", model.event, scope)

    @rule.register(Unless)
    def _(self, model: Unless, node: Node | None, scope: Scope) -> Iterator[Problem]:
        yield from self.where(model, "where", model.event, scope)

    @rule.register(SurveyTrigger)
    def _(self, model: SurveyTrigger, node: Node | None, scope: Scope) -> Iterator[Problem]:
        yield from self.answer(model, scope)

    @rule.register(FieldTrigger)
    def _(self, model: FieldTrigger, node: Node | None, scope: Scope) -> Iterator[Problem]:
        type_ = self.project.field_types.get(model.field)
        if type_ is None:
            return
        for key, value in (("to", model.to), ("from", model.from_)):
            if value is not None and (wrong := misfit(value, model.field, type_, self.project.field_values(model.field))):
                yield self.misfit_at(wrong, node_of(model, key), model.place)
        for key in ("rises_to", "rises_above", "drops_below"):
            if getattr(model, key) is not None and not same_family(type_, "number"):
                yield invalid(model.place_of_key(key), f"`{key}` does not fit `{model.field}`, which is {spoken(type_)}", help_="only a number rises and drops; write `changes: true` or `to:`")

    @rule.register(DateTrigger)
    def _(self, model: DateTrigger, node: Node | None, scope: Scope) -> Iterator[Problem]:
        type_ = self.project.field_types.get(model.date)
        if type_ is not None and not same_family(type_, "date"):
            yield invalid(model.place_of("date"), f"`{model.date}` is {spoken(type_)}, no date", help_="name a field of type date or datetime")

    @rule.register(RecordTrigger)
    def _(self, model: RecordTrigger, node: Node | None, scope: Scope) -> Iterator[Problem]:
        if (declared := self.project.settings.records.get(model.record)) is not None:
            types = {name: said.type for name, said in declared.fields.items()}
            yield from self.named_values(model, "where", types, f"{model.record} value", scope)

    # --- steps

    @rule.register(SendStep)
    def _(self, model: SendStep, node: Node | None, scope: Scope) -> Iterator[Problem]:
        for index, source in enumerate(model.to or []):
            yield from self.source(source, child(node_of(model, "to"), index), model.place, scope)
        message = self.project.messages.get(model.send)
        via = node_of(model, "via")
        if isinstance(model.via, SameChannel):
            below = node_of(model.via, "same_as")
            if model.via.same_as not in scope.steps:
                yield no_such("step", model.via.same_as, below, below.place if below else model.via.place, [name for name, verb in scope.steps.items() if verb == "send"])
            elif scope.steps[model.via.same_as] != "send":
                yield invalid(below.place if below else model.place, f"`{model.via.same_as}` sends nothing", help_="name the step of an earlier `send`")
            return
        if model.via is None or message is None:
            return
        asked = model.via.all_ if isinstance(model.via, AllChannels) else [model.via] if isinstance(model.via, str) else model.via
        items = child(via, "all") if isinstance(model.via, AllChannels) else via
        for index, channel in enumerate(asked):
            if channel not in message.channels:
                below = child(items, index) or via
                yield no_such("channel", channel, below, below.place if below else model.place, message.channels, of=f"the message `{model.send}`", help_=f"add `{channel}:` to the message")

    @rule.register(SetStep)
    def _(self, model: SetStep, node: Node | None, scope: Scope) -> Iterator[Problem]:
        yield from self.assigned(model.set, node_of(model, "set"), model.place, scope)

    @rule.register(AddStep)
    def _(self, model: AddStep, node: Node | None, scope: Scope) -> Iterator[Problem]:
        for name in model.add:
            type_ = self.project.field_types.get(name)
            if type_ is not None and not same_family(type_, "number"):
                yield invalid(key_place(node_of(model, "add"), name, model), f"`{name}` is {spoken(type_)}; only a number can be added to", help_="write `set:`")

    @rule.register(TagStep)
    @rule.register(UntagStep)
    def _(self, model: TagStep | UntagStep, node: Node | None, scope: Scope) -> Iterator[Problem]:
        tags = model.tag if isinstance(model, TagStep) else model.untag
        below = node_of(model, model.verb)
        for name, values in tags.items():
            type_ = self.project.field_types.get(name)
            if type_ is not None and type_ != "tags":
                yield invalid(key_place(below, name, model), f"`{name}` is {spoken(type_)}, no set of tags", help_="write `set:`")
            elif type_ is not None:
                for index, value in enumerate(values):
                    if wrong := misfit(value, name, type_, self.project.field_values(name)):
                        yield self.misfit_at(wrong, child(child(below, name), index), model.place)

    @rule.register(CreateStep)
    def _(self, model: CreateStep, node: Node | None, scope: Scope) -> Iterator[Problem]:
        creation = model.create
        if creation.key:
            yield from self.source(creation.key, node_of(creation, "key"), creation.place, scope)
        declared = self.project.settings.records.get(creation.record)
        if declared is None or creation.record in BUILT_IN_RECORDS and not declared.fields:
            return
        below = node_of(creation, "values")
        for name, value in creation.values.items():
            if name not in declared.fields:
                yield no_such("field", name, None, key_place(below, name, creation), declared.fields, of=f"the record `{creation.record}`")
            elif wrong := misfit(value, name, declared.fields[name].type, declared.fields[name].values):
                yield self.misfit_at(wrong, child(below, name), creation.place)

    @rule.register(StartStep)
    def _(self, model: StartStep, node: Node | None, scope: Scope) -> Iterator[Problem]:
        handed, target = model.start, self.project.workflows.get(model.start.workflow)
        if target is None:
            return
        names = [step.name for step in walk(target.steps) if step.name]
        if handed.at_step and handed.at_step not in names:
            yield no_such("step", handed.at_step, node_of(handed, "at_step"), handed.place_of("at_step"), names, of=f"the workflow `{target.name}`")
        for name in handed.with_:
            if name not in target.inputs:
                yield no_such("input", name, None, key_place(node_of(handed, "with"), name, handed), target.inputs, of=f"the workflow `{target.name}`", help_="declare it there under `inputs:`")
        for name, said in target.inputs.items():
            if said.required and name not in handed.with_:
                yield invalid(model.place_of("start"), f"`{target.name}` needs the input `{name}`", help_=f"add `with: {{{name}: …}}`")

    @rule.register(FetchStep)
    def _(self, model: FetchStep, node: Node | None, scope: Scope) -> Iterator[Problem]:
        if model.fetch.sample:
            yield from self._file(model.fetch, "sample", model.fetch.sample)

    # --- messages, scores, tests, assumptions

    @rule.register(MessageBody)
    def _(self, model: MessageBody, node: Node | None, scope: Scope) -> Iterator[Problem]:
        yield from self._topic(model)
        for variant in (model, *model.variants.values()):
            yield from self._variant(variant)

    def _variant(self, model: Variant) -> Iterator[Problem]:
        for channel in ("email", "sms", "whatsapp", "push", "web_push", "in_app", "on_site"):
            part = getattr(model, channel)
            if part is None:
                continue
            if self.project.settings_sound and self.project.settings.channels and channel not in self.project.settings.channels:
                place = model.place_of_key(channel)
                message = f"the channel `{channel}` is not set up: nothing can leave on it"
                yield Problem(code="REF001", slug="unknown-reference", severity="warning", message=message, place=place, help="add it to flowctl.yaml under `channels:`")
            for key in ("subject", "preheader", "title", "text"):
                yield from self._languages(part, key)
            if file := getattr(part, "file", None):
                yield from self._file(part, "file", file)
            for index, attached in enumerate(getattr(part, "attach", [])):
                below = child(node_of(part, "attach"), index)
                if isinstance(attached, str) and not self.exists(body_path(part, attached)):
                    yield no_such("file", attached, below, below.place if below else part.place, ())

    def _languages(self, part: Model, key: str) -> Iterator[Problem]:
        said = getattr(part, key, None)
        if not said or not self.project.settings_sound:
            return
        known = self.project.settings.languages
        below = node_of(part, key)
        for language in said:
            if language != "*" and language not in known:
                place = key_place(below, language, part)
                yield no_such("language", language, None, place, known, of="the project", help_="add it in flowctl.yaml under `languages:`")

    def _file(self, part: Model, key: str, file: str) -> Iterator[Problem]:
        languages = self.project.settings.languages if "{lang}" in file else [""]
        paths = [body_path(part, file.replace("{lang}", language)) for language in languages]
        if self.exists(paths[0]):
            return
        where = "the first language's file" if "{lang}" in file else "the file"
        message = f"{where} `{paths[0]}` does not exist" if not paths[0].startswith("..") else f"`{file}` lies outside the project"
        yield Problem(code="REF001", slug="unknown-reference", message=message, place=part.place_of(key), help="paths count from the folder of this file")

    def _topic(self, model: Workflow | MessageBody) -> Iterator[Problem]:
        topics = self.project.settings.topics
        if model.topic and topics and model.topic not in topics:
            yield no_such("topic", model.topic, node_of(model, "topic"), model.place_of("topic"), topics, help_="declare it in flowctl.yaml under `topics:`")

    @rule.register(Score)
    def _(self, model: Score, node: Node | None, scope: Scope) -> Iterator[Problem]:
        type_ = self.project.settings.field_types.get(model.score)
        below = node_of(model, "score")
        if type_ is None and self.project.settings_sound:
            yield no_such("contact field", model.score, None, below.place if below else model.place, (), help_=f"a score feeds a number field: add `{model.score}: {{type: number, default: 0}}` to `contacts: {{fields: …}}`")
        elif type_ is not None and not same_family(type_, "number"):
            yield invalid(below.place if below else model.place, f"a score feeds a number field; `{model.score}` is {spoken(type_)}")

    @rule.register(Scenario)
    def _(self, model: Scenario, node: Node | None, scope: Scope) -> Iterator[Problem]:
        known = self.project.declared.get("workflow", {})
        for index, name in enumerate(model.of):
            below = child(node_of(model, "of"), index)
            if name != "all" and name not in known:
                yield no_such("workflow", name, below, below.place if below else model.place, known)
        yield from self.assigned(model.contact, node_of(model, "contact"), model.place, scope)

    @rule.register(Past)
    def _(self, model: Past, node: Node | None, scope: Scope) -> Iterator[Problem]:
        yield from self.properties(model.event, model.properties, node_of(model, "properties"), model.place, literal=True)

    @rule.register(Fact)
    def _(self, model: Fact, node: Node | None, scope: Scope) -> Iterator[Problem]:
        if model.event:
            yield from self.properties(model.event, model.properties, node_of(model, "properties"), model.place, literal=True)
        yield from self.assigned(model.set or {}, node_of(model, "set"), model.place, scope)

    @rule.register(Assumptions)
    def _(self, model: Assumptions, node: Node | None, scope: Scope) -> Iterator[Problem]:
        below = node_of(model, "events")
        for event, rate in model.events.items():
            yield from self.properties(event, rate.properties, child(child(below, event), "properties"), model.place, literal=False)

    @rule.register(Consequence)
    def _(self, model: Consequence, node: Node | None, scope: Scope) -> Iterator[Problem]:
        yield from self.properties(model.then, model.properties, node_of(model, "properties"), model.place, literal=False)
