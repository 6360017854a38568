"""What apply needs to turn a workflow into SQL: names to numbers, conditions to text, and the faults of what does not run yet."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from flowctl.engine.conditions import probes as condition_probes
from flowctl.engine.conditions import sql as condition_sql
from flowctl.engine.conditions import survey, unsupported
from flowctl.engine.conditions.event import first_at
from flowctl.engine.conditions.scope import ARRIVAL, Frame, Scope
from flowctl.engine.conditions.values import operand_of
from flowctl.engine.seen import seen_pairs
from flowctl.language.conditions import (
    EventLeaf,
    MessageLeaf,
    ReachableLeaf,
    SurveyLeaf,
)
from flowctl.language.problem import Problem
from flowctl.language.values import From

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flowctl.engine.rendering import Templates
    from flowctl.engine.segments import Probe
    from flowctl.language.conditions import Condition
    from flowctl.language.message import Message
    from flowctl.language.model import Model
    from flowctl.language.settings import FieldType
    from flowctl.language.steps import SendStep
    from flowctl.program.instructions import Instruction
    from flowctl.project.project import Project

# Built-in fields that a step may set; the others are identity, or need more than their own column.
_SETTABLE_BUILT_IN = frozenset({"language", "owner", "country"})
_ADDRESS = {"email": "c.email", "sms": "c.phone", "whatsapp": "c.phone"}


@dataclass(kw_only=True)
class Compiler:
    """One workflow's compilation; `problems` collects what `apply` refuses."""

    project: Project
    scope: Scope
    message_ids: Mapping[str, int]
    channel_ids: Mapping[str, int]
    workflow: str = ""  # its name
    zone_name: str  # the workflow's, else the project's
    problems: list[Problem] = field(default_factory=list)

    def refuse(self, model: Model, message: str, key: str | None = None) -> None:
        """Say that something does not run, where it stands."""
        place = model.place_of_key(key) if key else model.place
        help_ = "`flowctl validate` knows it and `apply` will take it once the engine runs it; leave it out until then"
        self.problems.append(Problem(code="RUN001", slug="does-not-run-yet", message=message, place=place, help=help_))

    def condition(self, condition: Condition, *, since: str | None = None) -> str:
        """Boolean SQL over `c` and `w`; leaves the engine does not run are refused where they stand."""
        scope = replace(self.scope, since=since) if since else self.scope
        faults = unsupported(condition, scope)
        for model, message in faults:
            self.refuse(model, message)
        return "0" if faults else condition_sql(condition, scope)

    def probes(self, condition: Condition) -> tuple[Probe, ...]:
        """Who may be judged anew."""
        return tuple(condition_probes(condition, self.scope)) if not unsupported(condition, self.scope) else ()

    def values_seen(self, condition: Condition) -> str:
        """SQL of a JSON object: the way taken, and what the condition looked at."""
        pairs = seen_pairs(condition, self.scope)
        return f"json_object('way', CASE w.way WHEN 1 THEN 'then' ELSE 'else' END{', ' if pairs else ''}{pairs})"

    def value_of(self, source: str) -> str:
        """SQL of what a `trigger.x` or `contact.x` yields, of whatever type."""
        return operand_of(From.model_validate({"from": source}), None, Frame(scope=self.scope)).sql

    def found_at(self, leaf: Condition) -> str:
        """SQL of the time at which an awaited fact came, NULL while it has not; never after `w.until_at` or `:now`."""
        limit = "min(:now, w.until_at)"
        exact = self.exact_time(leaf, since=ARRIVAL, until=limit)
        if exact is not None:
            return exact
        # A state has no history: it is taken as found when it is looked at, which is whenever it changed.
        return f"CASE WHEN {self.condition(leaf, since=ARRIVAL)} THEN max(w.at, {limit}) END"

    def exact_time(self, condition: Condition, *, since: str, until: str) -> str | None:
        """SQL of the time of the fact that made a leaf true, NULL while none did; None where only the state tells."""
        if not isinstance(condition, EventLeaf | MessageLeaf | SurveyLeaf):
            return None
        scope = replace(self.scope, since=since)
        if unsupported(condition, scope):
            return None
        if isinstance(condition, SurveyLeaf):
            return survey.first_at(condition, Frame(scope=scope), until=until)
        return first_at(condition, scope, until=until)

    def new_value(self, model: Model, name: str, value: Any, templates: Templates) -> str:
        """SQL of what a `set` gives a field, in the field's type."""
        if not self.settable(model, name, None):
            return "NULL"
        if value is None:
            return "NULL"
        declared = self.project.settings.contacts.fields.get(name)
        values = tuple(declared.values or ()) if declared else ()
        return templates.value(model, value, self.project.settings.field_types[name], key="set", values=values)

    def settable(self, model: Model, name: str, types: tuple[FieldType, ...] | None) -> bool:
        """Whether a step may write a field of one of these types."""
        declared = self.project.settings.contacts.fields
        if name not in declared and name not in _SETTABLE_BUILT_IN:
            self.refuse(model, f"`{name}` is built in and not a step's to change")
            return False
        found = self.project.settings.field_types[name]
        if types is not None and found not in types:
            self.refuse(model, f"`{name}` is of type {found}; this step writes {' or '.join(types)}")
            return False
        return True

    def default_number(self, name: str) -> float:
        """What an unknown number counts as."""
        declared = self.project.settings.contacts.fields.get(name)
        default = declared.default if declared else None
        return default if isinstance(default, int | float) else 0

    def message(self, step: SendStep) -> Message | None:
        """The message of a send."""
        return self.project.messages.get(step.send)

    def channel(self, step: SendStep, message: Message, name: str) -> dict[str, Any]:
        """A channel of a send: its number, what makes the contact reachable on it, the address."""
        if name not in self.project.settings.channels:
            self.refuse(
                step,
                f"message `{message.name}` goes by {name}, and flowctl.yaml declares no `channels: {name}:`",
                "send",
            )
        if name not in message.channels:
            self.refuse(step, f"message `{message.name}` has no {name} variant", "via")
        address = _ADDRESS.get(name)
        if address is None:
            if name not in self.project.settings.contacts.fields:
                self.refuse(step, f"no address for {name}: contacts have no `{name}` field", "send")
                address = "NULL"
            else:
                address = f'c."{name}"'
        leaf = ReachableLeaf.model_validate({"reachable": {"channel": name, "purpose": message.purpose}})
        return {"id": self.channel_ids[name], "name": name, "reach": self.condition(leaf), "recipient": address}

    def hash_numbers(self, instruction: Instruction) -> tuple[int, int]:
        """Multiplier and increment of a portable hash of `_seed`, from workflow and step."""
        step = instruction.name or str(instruction.pc)
        digest = hashlib.sha256(f"{instruction.place.path}:{step}".encode()).digest()
        return int.from_bytes(digest[:4], "big") % 2147483646 + 1, int.from_bytes(digest[4:8], "big") % 2147483647
