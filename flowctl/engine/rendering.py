"""Templates as values of steps: checked by apply, rendered a row at a time by a tick, read back by set statements."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

from flowctl.engine.conditions.literal import literal
from flowctl.engine.conditions.scope import Frame
from flowctl.engine.conditions.values import operand_of
from flowctl.engine.contact import typed_values
from flowctl.engine.runtime import FAILED
from flowctl.engine.work import HERE
from flowctl.language.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from flowctl.engine.called import Calls
    from flowctl.engine.compiler import Compiler
    from flowctl.engine.runtime import Version
    from flowctl.engine.work import Batch
    from flowctl.language.model import Model

if TYPE_CHECKING:
    Functions = Callable[[Callable[[Any], Any]], dict[str, Any]]

NAMES = frozenset({"contact", "trigger", "data", "input", "now", "events", "survey_url", "coupon"})
_CREATE = (
    "CREATE TEMP TABLE IF NOT EXISTS rendered (eid INTEGER NOT NULL, slot INTEGER NOT NULL, value ANY, "
    "PRIMARY KEY (eid, slot)) WITHOUT ROWID"
)
_OWN = 6  # columns of the query below before those of the contact
_FAULT = -1  # the slot that says why a row could not be rendered


def is_template(value: Any) -> bool:
    """Whether a value is to be rendered rather than taken as it stands."""
    return isinstance(value, str) and ("{{" in value or "{%" in value)


@dataclass(kw_only=True)
class Templates:
    """The templates of one step: each gets a slot, and SQL that reads what was rendered for `w`."""

    compiler: Compiler
    found: list[dict[str, Any]] = field(default_factory=list)

    def value(
        self, model: Model, value: Any, type_: str | None, *, key: str | None = None, values: Sequence[str] = ()
    ) -> str:
        """SQL of a literal, a `from` or a template, cast to a type; without one a template gives text."""
        if not is_template(value):
            return operand_of(value, type_, Frame(scope=self.compiler.scope)).sql  # type: ignore[arg-type]  # one of FieldType
        called = self._check(model, value, key)
        return self._slot({"source": value, "type": type_, "values": list(values), **called})

    def text(self, model: Model, value: str, key: str, *, quoted: bool = False) -> str:
        """SQL of a text that may be a template; `quoted` percent-encodes the values in it, for a path."""
        if not is_template(value):
            return literal(value)
        called = self._check(model, value, key)
        if quoted and "urlencode" in value:
            self._problem(
                model,
                key,
                "YML007",
                "invalid-value",
                "values in a path are percent-encoded already: leave out `urlencode`",
            )
        return self._slot({"source": value, "type": None, "values": [], "quoted": quoted, **called})

    def _slot(self, said: dict[str, Any]) -> str:
        self.found.append(said)
        return f"(SELECT r.value FROM rendered r WHERE r.eid = w.eid AND r.slot = {len(self.found) - 1})"

    def _check(self, model: Model, source: str, key: str | None) -> dict[str, Any]:
        """Note what is wrong with a template; returns what it calls for, as `called.Wanted` reads it."""
        from jinja2 import TemplateError, meta  # noqa: PLC0415 - only where there are templates

        from flowctl.engine.called import Wanted  # noqa: PLC0415 - the same
        from flowctl.engine.sandbox import sandbox  # noqa: PLC0415
        from flowctl.engine.templates import CALLS, calls  # noqa: PLC0415

        try:
            tree = sandbox(html=False).parse(source)
            used = meta.find_undeclared_variables(tree) - {"range", "namespace"}
            sandbox(html=False).compile(source)
        except TemplateError as error:
            self._problem(model, key, "YML007", "invalid-value", f"template: {error.message}")
            return {}
        for name in sorted(used - NAMES):
            self._problem(model, key, "CNT003", "missing-variable", f"nothing provides `{name}`")
        made: dict[str, dict[str, int]] = {}
        for name in sorted(used & CALLS.keys()):
            called = calls(tree, name)
            if called is None:
                text = f"`{name}` must be written out, like {CALLS[name]}"
                self._problem(model, key, "YML007", "invalid-value", text)
            else:
                made[name] = called
        place = model.place_of_key(key) if key else model.place
        self.compiler.problems.extend(Wanted.of([{"calls": made}]).faults(self.compiler.project, place))
        return {"calls": made} if made else {}

    def _problem(self, model: Model, key: str | None, code: str, slug: str, message: str) -> None:
        place = model.place_of_key(key) if key else model.place
        help_ = f"a template here may use {', '.join(sorted(NAMES))}"
        self.compiler.problems.append(Problem(code=code, slug=slug, message=message, place=place, help=help_))


def fill(batch: Batch, version: Version, pc: int, templates: list[dict[str, Any]], *, where: str = "") -> None:
    """Render a step's templates for the rows at a position; a row that cannot be rendered fails alone."""
    if not templates:
        return
    batch.execute(_CREATE)
    batch.execute("DELETE FROM rendered")
    cursor = batch.connection.execute(
        "SELECT w.eid, w.visit, w.at, w.trigger, w.data, z.name, c.* FROM work w CROSS JOIN contacts c ON c.id = w.contact_id "
        f"LEFT JOIN zones z ON z.id = c._zone WHERE {HERE}{where}",
        batch.here(version, pc),
    )
    columns = [column[0] for column in cursor.description][_OWN:]
    fields, zone = batch.runtime.said["fields"], _zone_name(batch, version)
    rows = cursor.fetchall()
    calls = _calls(batch, templates, [row[_OWN + columns.index("id")] for row in rows])
    faults: set[str] = set()
    made: list[tuple[int, int, Any]] = []
    for row in rows:
        eid, visit, at, trigger, data, own = row[:_OWN]
        contact = typed_values(dict(zip(columns, row[_OWN:], strict=True)), fields)
        who = {"contact_id": contact["id"], "at": at, "place": (eid, pc, visit)}
        functions = partial(calls.functions, **who) if calls else None
        case = _Case(contact=contact, zone=own or zone, at=at, trigger=trigger, data=data, functions=functions)
        values, fault = case.rendered(templates)
        made += [(eid, slot, value) for slot, value in values.items()]
        if fault:
            faults.add(fault)
    batch.connection.executemany("INSERT INTO rendered VALUES (?, ?, ?)", made)
    for fault in sorted(faults):
        mine = f" AND w.eid IN (SELECT r.eid FROM rendered r WHERE r.slot = {_FAULT} AND r.value = :reason)"
        batch.end(version, pc, FAILED, fault, where=mine)


def _calls(batch: Batch, templates: list[dict[str, Any]], contacts: list[int]) -> Calls | None:
    """What the templates call, with the contacts' codes given; None where they call nothing."""
    if not any(said.get("calls") for said in templates):
        return None
    from flowctl.engine.called import Calls, Wanted  # noqa: PLC0415 - only where templates call something

    calls = Calls(batch.connection, Wanted.of(templates), public_url=batch.runtime.said["public_url"])
    calls.give(contacts, now=batch.now)
    return calls


def _zone_name(batch: Batch, version: Version) -> str:
    (name,) = batch.connection.execute("SELECT name FROM zones WHERE id = ?", (version.zone,)).fetchone()
    return str(name)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Case:
    """What the templates of a step see of one row."""

    contact: Mapping[str, Any]
    zone: str
    at: int
    trigger: str | None
    data: str | None
    functions: Functions | None = None  # what the templates call, each value through the function given

    def rendered(self, templates: list[dict[str, Any]]) -> tuple[dict[int, Any], str]:
        """The value of each slot, and '' or why there is none."""
        from flowctl.engine.sandbox import compiled, reason_of, render  # noqa: PLC0415 - jinja2, only where it is used
        from flowctl.store.casting import CastError  # noqa: PLC0415

        values: dict[int, Any] = {}
        variables: dict[bool, dict[str, Any]] = {}
        for slot, said in enumerate(templates):
            quoted = said.get("quoted", False)
            if quoted not in variables:
                variables[quoted] = self._variables(quoted=quoted)
            try:
                text = render(compiled(said["source"], html=False), variables[quoted])
                values[slot] = text if said["type"] is None else self._cast(said, text)
            except CastError as error:
                fault = f"template: {error}"[:200]
            except Exception as error:  # noqa: BLE001 - whatever a template runs into is one row's failure
                fault = f"template: {reason_of(error).removeprefix('template: ')}"[:200]
            else:
                continue
            return {_FAULT: fault}, fault
        return values, ""

    def _cast(self, said: dict[str, Any], text: str) -> Any:
        from flowctl.store.casting import Kind, Reading, caster  # noqa: PLC0415

        kind = Kind(type=said["type"], values=tuple(said["values"]))
        return caster(kind, Reading(zone=ZoneInfo(self.zone)))(text)

    def _variables(self, *, quoted: bool) -> dict[str, Any]:
        from flowctl.engine.sandbox import Record  # noqa: PLC0415

        data = json.loads(self.data) if self.data else {}
        trigger = json.loads(self.trigger) if self.trigger else {}
        roots: dict[str, Mapping[str, Any]] = {
            "contact": self.contact, "trigger": trigger, "data": data, "input": data.get("input", {}),
        }  # fmt: skip
        form = _quoted if quoted else _as_it_is
        known = {name: Record(name, form(values)) for name, values in roots.items()}
        called = self.functions(form) if self.functions else {}
        return {**known, **called, "now": datetime.fromtimestamp(self.at / 1000, UTC).astimezone(ZoneInfo(self.zone))}


def _as_it_is(value: Any) -> Any:
    return value


def _quoted(value: Any) -> Any:
    """Texts percent-encoded, so that no value can be more than one segment of a path or one value of a query."""
    if isinstance(value, str):
        return quote(value, safe="")
    if isinstance(value, dict):
        return {name: _quoted(inner) for name, inner in value.items()}
    return [_quoted(inner) for inner in value] if isinstance(value, list) else value
