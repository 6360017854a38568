"""What each kind of model must hold beyond its own keys: names in scope, types that fit, windows that are said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from flowctl.language.faults import invalid
from flowctl.language.settings import BUILT_IN_RECORDS
from flowctl.project.checking import Scope, key_node, key_place
from flowctl.project.comparisons import misfit, same_family, spoken
from flowctl.project.providers import channel_faults, provider_faults
from flowctl.project.references import child, mentioned, no_such, node_of, parts
from flowctl.project.resources import ResourceChecking

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.language.assumptions import Assumptions, Consequence
    from flowctl.language.conditions import (
        DataLeaf,
        EventLeaf,
        FieldLeaf,
        InputLeaf,
        MessageLeaf,
        SurveyLeaf,
        TriggerLeaf,
    )
    from flowctl.language.message import MessageBody
    from flowctl.language.model import Model
    from flowctl.language.problem import Problem
    from flowctl.language.provider import Provider
    from flowctl.language.scenario import Fact, Past, Scenario
    from flowctl.language.score import Score
    from flowctl.language.settings import FieldType, Settings
    from flowctl.language.source import Node
    from flowctl.language.steps import (
        AddStep,
        CreateStep,
        FetchStep,
        SendStep,
        SetStep,
        StartStep,
        TagStep,
        UntagStep,
        WaitUntilStep,
    )
    from flowctl.language.triggers import DateTrigger, EventTrigger, FieldTrigger, RecordTrigger, SurveyTrigger, Unless
    from flowctl.language.values import From
    from flowctl.language.workflow import Reentry, Workflow

_CONTEXT_OF = {
    "match": "segment",
    "who": "segment",
    "audience": "audience",
    "if": "if",
    "when": "if",
    "while": "if",
    "wait_for": "wait_for",
    "goal": "goal",
    "exit_when": "goal",
    "secondary_goals": "goal",
    "rules": "fact",
}


Rule = Callable[["Checks", Any, Scope], "Iterator[Problem]"]
_RULES: dict[str, Rule] = {}


def _rule(*models: str) -> Callable[[Rule], Rule]:
    """Register what models of these names must hold beyond their own keys; by name, so that no model is loaded for it."""

    def register(found: Rule) -> Rule:
        _RULES.update(dict.fromkeys(models, found))
        return found

    return register


class Checks(ResourceChecking):
    """Walks resources and finds what does not hold together."""

    def settings(self) -> Iterator[Problem]:
        """flowctl.yaml."""
        if self.project.settings_sound:
            yield from self._walk(self.project.settings, None, Scope())

    def resource(self, resource: Model) -> Iterator[Problem]:
        """One resource of any kind but a workflow."""
        yield from self._walk(resource, None, Scope())

    def workflow(self, workflow: Workflow) -> Iterator[Problem]:
        """A workflow, whose steps, trigger and fetched data its parts may name."""
        from flowctl.language.steps import FetchStep, TaskStep, walk  # noqa: PLC0415 - only where there are workflows
        from flowctl.project.triggered import trigger_types  # noqa: PLC0415

        every = [*walk(workflow.steps), *walk(workflow.on_goal)]
        data = frozenset(step.fetch.save_as for step in every if isinstance(step, FetchStep))
        data |= {step.id for step in every if isinstance(step, TaskStep) and step.id}
        steps = {step.name: step.verb for step in every if step.name}
        scope = Scope(workflow=workflow, steps=steps, trigger=trigger_types(workflow, self.project), data=data)
        yield from self._walk(workflow, None, scope)

    def _walk(self, model: Model, node: Node | None, scope: Scope) -> Iterator[Problem]:
        for kind, name, where, place in mentioned(model, node):
            if (
                kind != "step"
                and not (kind == "message" and name == "any")
                and (problem := self.names.unknown(kind, name, where, place))
            ):
                yield problem
        for base in type(model).__mro__:
            if found := _RULES.get(base.__name__):
                yield from found(self, model, scope)
                break
        for key, inner, below in parts(model, node):
            context = "fact" if scope.context == "fact" else _CONTEXT_OF.get(key, scope.context)
            yield from self._walk(inner, below, replace(scope, context=context) if context != scope.context else scope)

    # --- rules, by kind of model

    @_rule("Settings")
    def _(self, model: Settings, _scope: Scope) -> Iterator[Problem]:
        yield from self.of_settings(model)
        yield from channel_faults(self.project)

    @_rule("Provider")
    def _(self, model: Provider, _scope: Scope) -> Iterator[Problem]:
        yield from provider_faults(model)

    @_rule("Workflow")
    def _(self, model: Workflow, scope: Scope) -> Iterator[Problem]:
        yield from self.of_workflow(model, scope)

    @_rule("Reentry")
    def _(self, model: Reentry, scope: Scope) -> Iterator[Problem]:
        if model.key:
            yield from self.source(model.key, node_of(model, "key"), model.place, scope)

    @_rule("From")
    def _(self, model: From, scope: Scope) -> Iterator[Problem]:
        yield from self.source(model.from_, node_of(model, "from"), model.place, scope)

    @_rule("WaitUntilStep")
    def _(self, model: WaitUntilStep, scope: Scope) -> Iterator[Problem]:
        from flowctl.language.steps.wait_until import UntilField  # noqa: PLC0415 - loaded with the step

        until = model.wait_until
        if isinstance(until, UntilField):
            below = node_of(until, "from")
            yield from self.source(until.from_, below, until.place, scope)
            type_ = self.source_type(until.from_, scope)
            if type_ is not None and not same_family(type_, "date"):
                yield invalid(
                    below.place if below else until.place,
                    f"one waits until a date; `{until.from_}` is {spoken(type_)}",
                    help_="name a date field",
                )

    # --- conditions

    @_rule("FieldLeaf")
    def _(self, model: FieldLeaf, scope: Scope) -> Iterator[Problem]:
        if (type_ := self.project.field_types.get(model.field)) is not None:
            yield from self.compare(
                model,
                model.node,
                model.field,
                type_,
                self.project.field_values(model.field),
                scope,
            )

    @_rule("EventLeaf")
    def _(self, model: EventLeaf, scope: Scope) -> Iterator[Problem]:
        yield from self.where(model, "where", model.event, scope)
        yield from self.where(model, "last", model.event, scope)
        for name in model.sum_ or {}:
            below = node_of(model, "sum")
            type_, problem = self.property(model.event, name, key_node(below, name), key_place(below, name, model))
            if problem:
                yield problem
            elif type_ is not None and not same_family(type_, "number"):
                yield invalid(
                    below.place if below else model.place, f"`{name}` cannot be summed: it is {spoken(type_)}"
                )
        yield from self.window(model, model.since, scope, between=model.between is not None)

    @_rule("MessageLeaf")
    def _(self, model: MessageLeaf, scope: Scope) -> Iterator[Problem]:
        yield from self.window(model, model.since, scope)

    @_rule("SurveyLeaf")
    def _(self, model: SurveyLeaf, scope: Scope) -> Iterator[Problem]:
        yield from self.answer(model, scope)
        yield from self.window(model, model.since, scope)

    @_rule("TriggerLeaf")
    def _(self, model: TriggerLeaf, scope: Scope) -> Iterator[Problem]:
        if scope.workflow is None or scope.context == "segment":
            yield invalid(
                model.place_of_key("trigger"),
                "a segment has no `trigger`: only a workflow is started by something",
                help_="ask for an `event:` or a `field:`",
            )
        elif scope.trigger is not None:
            yield from self.named_values(model, "trigger", scope.trigger, "trigger value", scope)

    @_rule("DataLeaf")
    def _(self, model: DataLeaf, scope: Scope) -> Iterator[Problem]:
        for name in model.data:
            if name.split(".")[0] not in scope.data:
                below = node_of(model, "data")
                yield no_such(
                    "fetched data",
                    name.split(".")[0],
                    None,
                    key_place(below, name, model),
                    scope.data,
                    help_="a `fetch` step gives it its name: `save_as:`",
                )

    @_rule("InputLeaf")
    def _(self, model: InputLeaf, scope: Scope) -> Iterator[Problem]:
        types: dict[str, FieldType | None] = (
            {name: said.type for name, said in scope.workflow.inputs.items()} if scope.workflow else {}
        )
        yield from self.named_values(model, "input", types, "input", scope)

    # --- triggers

    @_rule("EventTrigger")
    def _(self, model: EventTrigger, scope: Scope) -> Iterator[Problem]:
        yield from self.where(model, "where", model.event, scope)

    @_rule("Unless")
    def _(self, model: Unless, scope: Scope) -> Iterator[Problem]:
        yield from self.where(model, "where", model.event, scope)

    @_rule("SurveyTrigger")
    def _(self, model: SurveyTrigger, scope: Scope) -> Iterator[Problem]:
        yield from self.answer(model, scope)

    @_rule("FieldTrigger")
    def _(self, model: FieldTrigger, _scope: Scope) -> Iterator[Problem]:
        type_ = self.project.field_types.get(model.field)
        if type_ is None:
            return
        for key, value in (("to", model.to), ("from", model.from_)):
            if value is not None and (
                wrong := misfit(value, model.field, type_, self.project.field_values(model.field))
            ):
                yield self.misfit_at(wrong, node_of(model, key), model.place)
        for key in ("rises_to", "rises_above", "drops_below"):
            if getattr(model, key) is not None and not same_family(type_, "number"):
                yield invalid(
                    model.place_of_key(key),
                    f"`{key}` does not fit `{model.field}`, which is {spoken(type_)}",
                    help_="only a number rises and drops; write `changes: true` or `to:`",
                )

    @_rule("DateTrigger")
    def _(self, model: DateTrigger, _scope: Scope) -> Iterator[Problem]:
        type_ = self.project.field_types.get(model.date)
        if type_ is not None and not same_family(type_, "date"):
            yield invalid(
                model.place_of("date"),
                f"`{model.date}` is {spoken(type_)}, no date",
                help_="name a field of type date or datetime",
            )

    @_rule("RecordTrigger")
    def _(self, model: RecordTrigger, scope: Scope) -> Iterator[Problem]:
        if (declared := self.project.settings.records.get(model.record)) is not None:
            types = {name: said.type for name, said in declared.fields.items()}
            yield from self.named_values(model, "where", types, f"{model.record} value", scope)

    # --- steps

    @_rule("SendStep")
    def _(self, model: SendStep, scope: Scope) -> Iterator[Problem]:
        from flowctl.language.steps.send import AllChannels, SameChannel  # noqa: PLC0415 - loaded with the step

        for index, source in enumerate(model.to or []):
            yield from self.source(source, child(node_of(model, "to"), index), model.place, scope)
        message = self.project.messages.get(model.send)
        via = node_of(model, "via")
        if isinstance(model.via, SameChannel):
            below = node_of(model.via, "same_as")
            if model.via.same_as not in scope.steps:
                yield no_such(
                    "step",
                    model.via.same_as,
                    below,
                    below.place if below else model.via.place,
                    [name for name, verb in scope.steps.items() if verb == "send"],
                )
            elif scope.steps[model.via.same_as] != "send":
                yield invalid(
                    below.place if below else model.place,
                    f"`{model.via.same_as}` sends nothing",
                    help_="name the step of an earlier `send`",
                )
            return
        if model.via is None or message is None:
            return
        asked = (
            model.via.all_
            if isinstance(model.via, AllChannels)
            else [model.via]
            if isinstance(model.via, str)
            else model.via
        )
        items = child(via, "all") if isinstance(model.via, AllChannels) else via
        for index, channel in enumerate(asked):
            if channel not in message.channels:
                below = child(items, index) or via
                yield no_such(
                    "channel",
                    channel,
                    below,
                    below.place if below else model.place,
                    message.channels,
                    of=f"the message `{model.send}`",
                    help_=f"add `{channel}:` to the message",
                )

    @_rule("SetStep")
    def _(self, model: SetStep, scope: Scope) -> Iterator[Problem]:
        yield from self.assigned(model.set, node_of(model, "set"), model.place, scope)

    @_rule("AddStep")
    def _(self, model: AddStep, _scope: Scope) -> Iterator[Problem]:
        for name in model.add:
            type_ = self.project.field_types.get(name)
            if type_ is not None and not same_family(type_, "number"):
                yield invalid(
                    key_place(node_of(model, "add"), name, model),
                    f"`{name}` is {spoken(type_)}; only a number can be added to",
                    help_="write `set:`",
                )

    @_rule("TagStep", "UntagStep")
    def _(self, model: TagStep | UntagStep, _scope: Scope) -> Iterator[Problem]:
        tags: dict[str, list[str]] = getattr(model, model.verb)
        below = node_of(model, model.verb)
        for name, values in tags.items():
            type_ = self.project.field_types.get(name)
            if type_ is not None and type_ != "tags":
                yield invalid(
                    key_place(below, name, model), f"`{name}` is {spoken(type_)}, no set of tags", help_="write `set:`"
                )
            elif type_ is not None:
                for index, value in enumerate(values):
                    if wrong := misfit(value, name, type_, self.project.field_values(name)):
                        yield self.misfit_at(wrong, child(child(below, name), index), model.place)

    @_rule("CreateStep")
    def _(self, model: CreateStep, scope: Scope) -> Iterator[Problem]:
        creation = model.create
        if creation.key:
            yield from self.source(creation.key, node_of(creation, "key"), creation.place, scope)
        declared = self.project.settings.records.get(creation.record)
        if declared is None or (creation.record in BUILT_IN_RECORDS and not declared.fields):
            return
        below = node_of(creation, "values")
        for name, value in creation.values.items():
            if name not in declared.fields:
                yield no_such(
                    "field",
                    name,
                    None,
                    key_place(below, name, creation),
                    declared.fields,
                    of=f"the record `{creation.record}`",
                )
            elif wrong := misfit(value, name, declared.fields[name].type, declared.fields[name].values):
                yield self.misfit_at(wrong, child(below, name), creation.place)

    @_rule("StartStep")
    def _(self, model: StartStep, _scope: Scope) -> Iterator[Problem]:
        from flowctl.language.steps import walk  # noqa: PLC0415 - loaded with the step

        handed, target = model.start, self.project.workflows.get(model.start.workflow)
        if target is None:
            return
        names = [step.name for step in walk(target.steps) if step.name]
        if handed.at_step and handed.at_step not in names:
            yield no_such(
                "step",
                handed.at_step,
                node_of(handed, "at_step"),
                handed.place_of("at_step"),
                names,
                of=f"the workflow `{target.name}`",
            )
        for name in handed.with_:
            if name not in target.inputs:
                yield no_such(
                    "input",
                    name,
                    None,
                    key_place(node_of(handed, "with"), name, handed),
                    target.inputs,
                    of=f"the workflow `{target.name}`",
                    help_="declare it there under `inputs:`",
                )
        for name, said in target.inputs.items():
            if said.required and name not in handed.with_:
                yield invalid(
                    model.place_of("start"),
                    f"`{target.name}` needs the input `{name}`",
                    help_=f"add `with: {{{name}: …}}`",
                )

    @_rule("FetchStep")
    def _(self, model: FetchStep, _scope: Scope) -> Iterator[Problem]:
        if model.fetch.sample:
            yield from self.file(model.fetch, "sample", model.fetch.sample)

    # --- messages, scores, tests, assumptions

    @_rule("MessageBody")
    def _(self, model: MessageBody, _scope: Scope) -> Iterator[Problem]:
        yield from self.of_message(model)

    @_rule("Score")
    def _(self, model: Score, _scope: Scope) -> Iterator[Problem]:
        yield from self.of_score(model)

    @_rule("Scenario")
    def _(self, model: Scenario, _scope: Scope) -> Iterator[Problem]:
        yield from self.of_scenario(model)

    @_rule("Past")
    def _(self, model: Past, _scope: Scope) -> Iterator[Problem]:
        yield from self.properties(
            model.event, model.properties, node_of(model, "properties"), model.place, literal=True
        )

    @_rule("Fact")
    def _(self, model: Fact, scope: Scope) -> Iterator[Problem]:
        if model.event:
            yield from self.properties(
                model.event, model.properties, node_of(model, "properties"), model.place, literal=True
            )
        yield from self.assigned(model.set or {}, node_of(model, "set"), model.place, scope)

    @_rule("Assumptions")
    def _(self, model: Assumptions, _scope: Scope) -> Iterator[Problem]:
        below = node_of(model, "events")
        for event, rate in model.events.items():
            yield from self.properties(
                event, rate.properties, child(child(below, event), "properties"), model.place, literal=False
            )

    @_rule("Consequence")
    def _(self, model: Consequence, _scope: Scope) -> Iterator[Problem]:
        yield from self.properties(
            model.then, model.properties, node_of(model, "properties"), model.place, literal=False
        )
