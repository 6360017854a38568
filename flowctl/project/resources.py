"""What whole resources must hold: messages, scores, tests, and flowctl.yaml."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowctl.language.arm import DEFAULT_ARM
from flowctl.language.faults import invalid
from flowctl.language.problem import Place, Problem, Related
from flowctl.project.checking import Checking, Scope, key_place
from flowctl.project.comparisons import misfit, same_family, spoken
from flowctl.project.load import body_path
from flowctl.project.references import child, no_such, node_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.language.message import Message, MessageBody, Variant
    from flowctl.language.model import Model
    from flowctl.language.scenario import ExpectedSend, Scenario
    from flowctl.language.score import Score
    from flowctl.language.settings import QuietHours, Settings
    from flowctl.language.source import Node
    from flowctl.language.workflow import Workflow


class ResourceChecking(Checking):
    """The rules that concern a resource as a whole."""

    def of_settings(self, model: Settings) -> Iterator[Problem]:
        """flowctl.yaml: defaults that fit, services and assumptions that exist."""
        for name, declared in model.contacts.fields.items():
            if declared.default is not None and (
                wrong := misfit(declared.default, name, declared.type, declared.values)
            ):
                below = child(child(node_of(model.contacts, "fields"), name), "default")
                yield self.misfit_at(wrong, below, declared.place)
        for record in model.records.values():
            if record.service and record.service not in model.services:
                yield no_such(
                    "service", record.service, node_of(record, "service"), record.place_of("service"), model.services
                )
        for hours in (model.quiet_hours, *(each.quiet_hours or {} for each in model.environments.values())):
            yield from self._subdivisions(hours, model)
        known = self.project.declared.get("assumptions", {})
        if model.assumptions and model.assumptions not in known:
            yield no_such(
                "assumptions", model.assumptions, node_of(model, "assumptions"), model.place_of("assumptions"), known
            )

    def _subdivisions(self, quiet_hours: QuietHours, model: Settings) -> Iterator[Problem]:
        """Fields that tell the part of a country exist and are text."""
        texts = [name for name, type_ in model.field_types.items() if type_ in ("text", "choice")]
        for by_country in quiet_hours.values():
            for said in by_country.values() if isinstance(by_country, dict) else (by_country,):
                scope, _, name = (said.subdivision or "").partition(".")
                if scope == "contact" and name not in texts:
                    node = node_of(said, "subdivision")
                    yield no_such("text field", name, node, said.place_of("subdivision"), texts)

    def of_workflow(self, model: Workflow, scope: Scope) -> Iterator[Problem]:
        """Steps with one name each, moves to steps that exist, a topic that is declared."""
        from flowctl.language.steps import walk  # noqa: PLC0415 - only where there are workflows

        seen: dict[str, Place] = {}
        for step in [*walk(model.steps), *walk(model.on_goal)]:
            if step.id and step.id in seen:
                related = (Related(place=seen[step.id], label="the first"),)
                yield Problem(
                    code="REF002",
                    slug="duplicate-name",
                    message=f"there are two steps named `{step.id}`",
                    place=step.place_of("id"),
                    related=related,
                    label="the second",
                    help="rename one of them",
                )
            elif step.id:
                seen[step.id] = step.place_of("id")
        for old, new in model.move.items():
            if new not in scope.steps:
                below = child(node_of(model, "move"), old)
                yield no_such("step", new, below, below.place if below else model.place, scope.steps)
        yield from self._topic(model)

    def of_message(self, model: MessageBody) -> Iterator[Problem]:
        """Channels that are set up, languages of the project, files that are there."""
        yield from self._topic(model)
        for variant in (model, *model.variants.values()):
            yield from self._variant(variant)

    def of_score(self, model: Score) -> Iterator[Problem]:
        """The number field it feeds."""
        type_ = self.project.settings.field_types.get(model.score)
        below = node_of(model, "score")
        if type_ is None and self.project.settings_sound:
            yield no_such(
                "contact field",
                model.score,
                None,
                below.place if below else model.place,
                (),
                help_=f"a score feeds a number field: add `{model.score}: {{type: number, default: 0}}` to `contacts: {{fields: …}}`",
            )
        elif type_ is not None and not same_family(type_, "number"):
            yield invalid(
                below.place if below else model.place,
                f"a score feeds a number field; `{model.score}` is {spoken(type_)}",
            )

    def of_scenario(self, model: Scenario) -> Iterator[Problem]:
        """The workflows it is of, and the contact's fields."""
        known = self.project.declared.get("workflow", {})
        for index, name in enumerate(model.of):
            below = child(node_of(model, "of"), index)
            if name != "all" and name not in known:
                yield no_such("workflow", name, below, below.place if below else model.place, known)
        yield from self.assigned(model.contact, node_of(model, "contact"), model.place, Scope())
        for expectation in model.expect:
            for send in expectation.sends or []:
                yield from self._arm(send)
        for name, arm in model.arms.items():
            message = self.project.messages.get(name)
            if message is not None and message.variants:
                below = child(node_of(model, "arms"), name)
                yield from _no_such_arm(message, arm, below, below.place if below else model.place)

    def _arm(self, send: ExpectedSend) -> Iterator[Problem]:
        """The variant that a send is expected to be of."""
        message = self.project.messages.get(send.message)
        if message is not None and send.variant is not None:
            yield from _no_such_arm(message, send.variant, node_of(send, "variant"), send.place_of("variant"))

    def _variant(self, model: Variant) -> Iterator[Problem]:
        for channel in ("email", "sms", "whatsapp", "push", "web_push", "in_app", "on_site"):
            part = getattr(model, channel)
            if part is None:
                continue
            if (
                self.project.settings_sound
                and self.project.settings.channels
                and channel not in self.project.settings.channels
            ):
                place = model.place_of_key(channel)
                message = f"the channel `{channel}` is not set up: nothing can leave on it"
                yield Problem(
                    code="REF001",
                    slug="unknown-reference",
                    severity="warning",
                    message=message,
                    place=place,
                    help="add it to flowctl.yaml under `channels:`",
                )
            for key in ("subject", "preheader", "title", "text"):
                yield from self._languages(part, key)
            if file := getattr(part, "file", None):
                yield from self.file(part, "file", file)
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
                yield no_such(
                    "language",
                    language,
                    None,
                    place,
                    known,
                    of="the project",
                    help_="add it in flowctl.yaml under `languages:`",
                )

    def file(self, part: Model, key: str, file: str) -> Iterator[Problem]:
        """Whether a file named beside a resource exists: the first language's, where it has one a language."""
        languages = self.project.settings.languages if "{lang}" in file else [""]
        paths = [body_path(part, file.replace("{lang}", language)) for language in languages]
        if self.exists(paths[0]):
            return
        where = "the first language's file" if "{lang}" in file else "the file"
        message = (
            f"{where} `{paths[0]}` does not exist"
            if not paths[0].startswith("..")
            else f"`{file}` lies outside the project"
        )
        yield Problem(
            code="REF001",
            slug="unknown-reference",
            message=message,
            place=part.place_of(key),
            help="paths count from the folder of this file",
        )

    def _topic(self, model: Workflow | MessageBody) -> Iterator[Problem]:
        topics = self.project.settings.topics
        if model.topic and topics and model.topic not in topics:
            yield no_such(
                "topic",
                model.topic,
                node_of(model, "topic"),
                model.place_of("topic"),
                topics,
                help_="declare it in flowctl.yaml under `topics:`",
            )


def _no_such_arm(message: Message, arm: str, node: Node | None, place: Place) -> Iterator[Problem]:
    known = [DEFAULT_ARM, *message.variants] if message.variants else []
    if arm not in known:
        help_ = "" if known else "give it `variants:`; without any there is nothing to tell apart"
        yield no_such("variant", arm, node, place, known, of=f"message `{message.name}`", help_=help_)
