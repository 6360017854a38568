"""CNT003 missing-variable: a template asks for what is not there.

## What it does

Reads every template: subjects, titles, texts, URLs and body files of messages, in each language and variant, and the templates in
`set`, `create`, `notify`, `task`, `fetch` and `start`. Reports

- names that do not exist: a contact field that is not declared, a property that no trigger of any workflow that sends the
  message hands over, data that no `fetch` saves, an input that the workflow does not declare, an unknown survey or event;
- names that may be unknown and have no `default`. A contact field may always be unknown, but for `id`, `created_at`, a field
  declared with a default, the address of the channel itself (`email` in an e-mail, `phone` in an SMS or on WhatsApp). A trigger value may be
  where a workflow has another trigger as well, or is started by another workflow or by hand; a property of the event that
  starts the workflow is taken to be there, as the tracking plan promises. `data` may be where its `fetch` says `on_error: continue`; an input where it
  is neither `required` nor has a default;
- templates that Jinja2 cannot read.

`{{ x | default("…") }}`, `{% if x %}…{% endif %}`, `x or y` and `x if x else y` cope with an unknown value.

## Why is this bad

Names are strict: a message that asks for what is not there does not leave, and the contact learns nothing. With a blank instead,
the contact reads "Hello ,".

## Example

```yaml
subject: "{{ contact.first_name }}, your basket is waiting"
```

## Use instead

```yaml
subject: "{{ contact.first_name | default('Hello') }}, your basket is waiting"
```

## Options

None.

## Source

Jinja2's StrictUndefined finds some of it when a message is rendered, one contact at a time; `default` hides misspelt names from it
altogether.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from flowctl.language.faults import listed, nearest
from flowctl.language.problem import Edit, Fix, Problem, Related
from flowctl.language.steps import FetchStep, TaskStep
from flowctl.lint.templates import read
from flowctl.lint.texts import Text, message_texts, step_texts
from flowctl.project.load import body_path
from flowctl.project.triggered import handed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from flowctl.language.problem import Place, Severity
    from flowctl.lint.context import Context, Journey
    from flowctl.lint.templates import Use

CODE = "CNT003"
SLUG = "missing-variable"
SEVERITY: Severity = "error"

ROOTS = (
    "contact",
    "trigger",
    "data",
    "input",
    "now",
    "events",
    "survey_url",
    "coupon",
    "unsubscribe_url",
    "preferences_url",
)
OF_JINJA = frozenset(
    {"range", "dict", "lipsum", "cycler", "joiner", "namespace", "true", "false", "none", "True", "False", "None"}
)
ALWAYS_KNOWN = frozenset({"id", "created_at"})
ADDRESS = {"email": "email", "sms": "phone", "whatsapp": "phone"}
SAMPLE_DEPTH_MAX = 20
_PRINTED = re.compile(r"\s*\}\}")  # behind a name that is printed as it is


@dataclass(frozen=True, slots=True)
class _Fault:
    """What is wrong with a use, what stands instead, and who has part in it."""

    message: str
    help: str
    related: tuple[Related, ...] = ()
    near: str = ""  # the name that exists
    lacks_default: bool = False


def check(context: Context) -> Iterator[Problem]:
    """Every use of every template that nothing provides, or not surely."""
    names = _Names(context)
    for message in context.project.messages.values():
        journeys = list({journey.name: journey for journey, _ in context.senders.get(message.name, ())}.values())
        for text in message_texts(message, context.project):
            yield from _in_text(text, names, journeys, message.name)
    for journey in context.journeys:
        for step in journey.steps:
            for text in step_texts(step, context.project):
                yield from _in_text(text, names, [journey], journey.label(step))


def _in_text(text: Text, names: _Names, journeys: Sequence[Journey], step: str) -> Iterator[Problem]:
    if "{{" not in text.value and "{%" not in text.value:
        return
    template = read(text.value)
    if template.fault:
        place = text.place_at(template.fault_offset, "")
        yield Problem(
            code=CODE,
            slug=SLUG,
            severity=SEVERITY,
            message=f"this template cannot be read: {template.fault.rstrip('.')}",
            place=place,
            step=step,
        )
    told: set[tuple[str, ...]] = set()
    for use in template.uses:
        fault = None if use.chain in told else names.fault(use, text.channel, journeys)
        if fault is not None:
            told.add(use.chain)
            place = text.place_at(use.offset, _written(text.value, use))
            yield Problem(
                code=CODE,
                slug=SLUG,
                severity=SEVERITY,
                message=fault.message,
                place=place,
                related=fault.related,
                help=fault.help,
                fix=_fix(fault, text, use, place),
                step=step,
            )


def _fix(fault: _Fault, text: Text, use: Use, place: Place) -> Fix | None:
    """The name that exists, or nothing where the value is unknown; neither is sure to be what was meant."""
    word = _written(text.value, use)
    if text.at(place) != word:
        return None  # escapes hide where it stands
    if fault.near and word == ".".join(use.chain):
        return Fix(title=f"write `{fault.near}`", edits=(Edit(place=place, text=fault.near),), safe=False)
    behind = text.value[use.offset + len(word) :]
    if not fault.lacks_default or word != ".".join(use.chain) or not _PRINTED.match(behind):
        return None
    quotes = '""' if text.is_single_quoted else "''"
    end = replace(place, line=place.end_line, column=place.end_column)
    return Fix(title="print nothing instead", edits=(Edit(place=end, text=f" | default({quotes})"),), safe=False)


def _written(text: str, use: Use) -> str:
    """The name as it stands in the text: at least its first part, all of it where it is written with dots."""
    dotted = ".".join(use.chain)
    return dotted if text.startswith(dotted, use.offset) else use.chain[0]


class _Names:
    """What templates can ask for."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.project = context.project
        self.fields = self.project.field_types

    def fault(self, use: Use, channel: str, journeys: Sequence[Journey]) -> _Fault | None:
        """What is wrong with a use in a text of a channel that these workflows send."""
        root = use.chain[0]
        match root:
            case _ if root in OF_JINJA:
                return None
            case "contact" if len(use.chain) > 1:
                return self._contact(use, channel)
            case "trigger" | "data" | "input" if len(use.chain) > 1 and journeys:
                return self._of_journeys(use, journeys)
            case "survey_url":
                return self._named(use.argument, "survey", self.project.declared.get("survey", {}))
            case "events":
                return self._named(use.argument, "event", self.project.settings.event_properties)
            case _ if root in ROOTS:
                return None
            case _:
                bare = next(
                    (
                        f"{source}.{root}"
                        for source in ("contact", "trigger")
                        if self._is_provided(source, root, journeys)
                    ),
                    "",
                )
                near = bare or nearest(root, ROOTS)
                return _Fault(
                    f"nothing provides `{root}`" + (f"; did you mean `{near}`?" if near else ""),
                    f"there is {listed(ROOTS)}",
                    near=near if len(use.chain) == 1 else "",
                )

    def _is_provided(self, source: str, name: str, journeys: Sequence[Journey]) -> bool:
        return (
            name in self.fields
            if source == "contact"
            else any(name in self._sources("trigger", journey)[0] for journey in journeys)
        )

    def _named(self, name: str | None, kind: str, known: Any) -> _Fault | None:
        if name is None or name in known or (kind == "event" and not self.project.settings_sound):
            return None
        near = nearest(name, known)
        return _Fault(f"there is no {kind} `{name}`" + (f"; did you mean `{near}`?" if near else ""), "")

    def _contact(self, use: Use, channel: str) -> _Fault | None:
        name = use.chain[1]
        if name not in self.fields:
            if not self.project.settings_sound:
                return None
            near = nearest(name, self.fields)
            hint = f"; did you mean `contact.{near}`?" if near else ""
            return _Fault(
                f"no contact field is named `{name}`{hint}",
                "declare it in flowctl.yaml under `contacts: {fields: …}`, or mend the name",
                near=f"contact.{near}" if near and len(use.chain) == 2 else "",  # noqa: PLR2004 - `contact` and its field
            )
        declared = self.project.settings.contacts.fields.get(name)
        is_sure = (
            name in ALWAYS_KNOWN
            or ADDRESS.get(channel) == name
            or (declared is not None and declared.default is not None)
        )
        return None if is_sure or use.is_guarded else _unknown(use, "of a contact it may be unknown")

    def _of_journeys(self, use: Use, journeys: Sequence[Journey]) -> _Fault | None:
        """A value that each of the workflows that send the text must provide."""
        root, name = use.chain[0], use.chain[1]
        told = [(journey, *self._sources(root, journey)) for journey in journeys]
        lacking = [
            journey for journey, sure, maybe in told if name not in sure and name not in maybe and ANY not in maybe
        ]
        if len(lacking) == len(told):
            known = sorted({one for _, sure, maybe in told for one in (*sure, *maybe)} - {ANY})
            near = nearest(name, known)
            hint = f"; did you mean `{root}.{near}`?" if near else ""
            who = " and ".join(f"`{journey.name}`" for journey in lacking[:2])
            there = f"there is {listed([f'{root}.{one}' for one in known])}" if known else _PROVIDE[root]
            found = f"{root}.{near}" if near and len(use.chain) == 2 else ""  # noqa: PLR2004 - the root and the name
            return _Fault(f"nothing in {who} provides `{root}.{name}`{hint}", there, near=found)
        if use.is_guarded:
            return None
        if lacking:
            related = (
                Related(
                    place=lacking[0].workflow.place_of("workflow"), label=f"sends it too, and has no `{root}.{name}`"
                ),
            )
            return _unknown(use, f"`{lacking[0].name}` does not provide it", related)
        unsure = [journey for journey, sure, _ in told if name not in sure]
        if unsure:
            return _unknown(use, _WHY[root].format(workflow=unsure[0].name))
        return self._in_sample(use, journeys) if root == "data" else None

    def _sources(self, root: str, journey: Journey) -> tuple[set[str], set[str]]:
        """The names a workflow surely provides, and those it perhaps does; ANY among the latter: nobody knows."""
        workflow = journey.workflow
        if root == "input":
            sure = {name for name, said in workflow.inputs.items() if said.required or said.default is not None}
            return sure, set(workflow.inputs) - sure
        if root == "data":
            fetches = [step.fetch for step in journey.steps if isinstance(step, FetchStep)]
            sure = {fetch.save_as for fetch in fetches if fetch.on_error == "exit"}
            # The outcome is there where the task was done, which is where its `then` asks for it.
            sure |= {step.id for step in journey.steps if isinstance(step, TaskStep) and step.id}
            return sure, {fetch.save_as for fetch in fetches} - sure
        each = [handed(trigger, self.project) for trigger in workflow.triggers]
        maybe = {name for names in each for name in names or ()} | ({ANY} if None in each else set())
        is_alone = None not in each and journey.name not in self.context.starters
        shared = set.intersection(*(set(names or ()) for names in each)) - {"old", "link"} if is_alone else set()
        return {"at"} | shared, maybe - shared

    def _in_sample(self, use: Use, journeys: Sequence[Journey]) -> _Fault | None:
        """A path that a fetch's sample does not have."""
        for journey in journeys:
            for step in journey.steps:
                if isinstance(step, FetchStep) and step.fetch.save_as == use.chain[1] and step.fetch.sample:
                    path = body_path(step.fetch, step.fetch.sample)
                    missing = _missing_in(self.project.bodies.get(path, ""), use.chain[2:])
                    if missing:
                        related = (Related(place=step.fetch.place_of("sample"), label="the sample"),)
                        return _Fault(
                            f"the sample `{path}` has no `{missing}`",
                            "mend the name, or the sample where it is out of date",
                            related,
                        )
        return None


ANY = "*"
_PROVIDE = {
    "trigger": "its triggers hand over nothing but `trigger.at`",
    "data": "a `fetch` step gives it its name: `save_as:`",
    "input": "declare it: `inputs: {…}`",
}
_WHY = {
    "trigger": "not every way into `{workflow}` provides it",
    "data": "its `fetch` in `{workflow}` says `on_error: continue`",
    "input": "`{workflow}` neither requires it nor gives it a default",
}


def _unknown(use: Use, why: str, related: tuple[Related, ...] = ()) -> _Fault:
    name = ".".join(use.chain)
    return _Fault(
        f"`{name}` has no `default`: {why}",
        f'write `{{{{ {name} | default("…") }}}}`, or `{{% if {name} %}}…{{% endif %}}`',
        related,
        lacks_default=True,
    )


def _missing_in(sample: str, path: Sequence[str]) -> str:
    """The first part of a path that a JSON text does not have; empty where it has all of it, or is no JSON object."""
    try:
        here: object = json.loads(sample)
    except ValueError:
        return ""
    for index, part in enumerate(path[:SAMPLE_DEPTH_MAX]):
        if not isinstance(here, dict):
            return ""
        if part not in here:
            return "" if part in ("items", "keys", "values", "get") else ".".join(path[: index + 1])
        here = here[part]
    return ""
