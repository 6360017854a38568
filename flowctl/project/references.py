"""Whether every name that files mention exists, and every comparison fits the type of what it compares."""

from __future__ import annotations

from functools import cache
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin

from flowctl.language.faults import listed, nearest
from flowctl.language.model import Model, Ref
from flowctl.language.problem import Edit, Fix, Place, Problem
from flowctl.language.settings import BUILT_IN_RECORDS
from flowctl.language.source import Mapping, Node, Scalar, Sequence
from flowctl.project.providers import packaged_names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from flowctl.project.project import Project

_DECLARE = {
    "field": "declare it in flowctl.yaml under `contacts: {fields: …}`",
    "event": "declare it in flowctl.yaml under `events:`",
    "record": "declare it in flowctl.yaml under `records:`",
    "team": "declare it in flowctl.yaml under `teams:`",
    "service": "declare it in flowctl.yaml under `services:`",
    "sender": "declare it in flowctl.yaml under `senders:`",
    "segment": "declare it in a file: `segment: NAME` and `match:`",
    "message": "declare it in a file: `message: NAME` and its channels",
    "workflow": "declare it in a file: `workflow: NAME`",
    "survey": "declare it in a file: `survey: NAME` and `questions:`",
    "geofence": "declare it in a file: `geofence: NAME`, `center:` and `radius:`",
    "provider": "describe it in a file: `provider: NAME`, `request:` and `answers:`",
}
_IN_SETTINGS = frozenset({"field", "event", "record", "team", "service", "sender"})
_KNOWN_SHOWN_MAX = 12


def check(project: Project, exists: Callable[[str], bool]) -> Iterator[Problem]:
    """REF001, REF002 of steps, and the YML007 of operators, types and windows, for the whole project; `exists` tells of files."""
    from flowctl.project.scope import Checks  # noqa: PLC0415 - loaded only where it is needed

    names = Names(project)
    checks = Checks(project, names, exists)
    yield from checks.settings()
    for workflow in project.workflows.values():
        yield from checks.workflow(workflow)
    shelves: tuple[dict[str, Any], ...] = (
        project.segments,
        project.messages,
        project.scores,
        project.surveys,
        project.geofences,
        project.scenarios,
        project.assumptions,
        project.providers,
    )
    for shelf in shelves:
        for resource in shelf.values():
            yield from checks.resource(resource)


def check_partial(
    project: Project, partial: Iterable[tuple[str, Any]], exists: Callable[[str], bool]
) -> Iterator[Problem]:
    """REF001 in what is left of unsound resources, so that all faults show at once; steps are not asked for: some were cut out."""
    from flowctl.project.scope import Checks  # noqa: PLC0415 - loaded only where it is needed

    checks = Checks(project, Names(project), exists)
    for kind, model in partial:
        for problem in checks.workflow(model) if kind == "workflow" else checks.resource(model):
            if problem.code == "REF001" and "step `" not in problem.message:
                yield problem


class Names:
    """Every name of the project by kind, and what to say of one that is none."""

    def __init__(self, project: Project) -> None:
        settings = project.settings
        self.by_kind: dict[str, Iterable[str]] = {
            **project.declared,
            "field": project.field_types,
            "event": settings.event_properties,
            "record": [*settings.records, *BUILT_IN_RECORDS],
            "team": settings.teams,
            "service": settings.services,
            "sender": settings.senders,
            "provider": [*project.providers, *packaged_names()],
        }
        self.unsure = frozenset() if project.settings_sound else _IN_SETTINGS

    def unknown(self, kind: str, name: str, node: Node | None, place: Place) -> Problem | None:
        """REF001 where nothing of the kind has the name."""
        if kind in self.unsure or name in self.by_kind[kind] or not name:
            return None
        what = "contact field" if kind == "field" else kind
        return no_such(what, name, node, place, self.by_kind[kind], help_=_DECLARE.get(kind, ""))


def no_such(
    what: str, name: str, node: Node | None, place: Place, known: Iterable[str], *, of: str = "", help_: str = ""
) -> Problem:
    """REF001: nothing (or nothing `of` something) is named so; with the nearest name that exists and the edit that writes it."""
    every = list(dict.fromkeys(known))
    near = nearest(name, every)
    fix = None
    if near and isinstance(node, Scalar) and node.value == name:
        fix = Fix(
            title=f"write `{near}`", edits=(Edit(place=place, text=near if node.plain else f'"{near}"'),), safe=False
        )
    if every and len(every) <= _KNOWN_SHOWN_MAX:
        help_ = f"there is {listed(sorted(every))}{f'; or {help_}' if help_ else ''}"
    hint = f"; did you mean `{near}`?" if near else ""
    label = f"did you mean `{near}`?" if near else f"no such {what}"
    missing = f"{of} has no" if of else "there is no"
    return Problem(
        code="REF001",
        slug="unknown-reference",
        message=f"{missing} {what} `{name}`{hint}",
        place=place,
        label=label,
        help=help_,
        fix=fix,
    )


def mentioned(model: Model, node: Node | None) -> Iterator[tuple[str, str, Node | None, Place]]:
    """Every name a model's own keys mention: kind, name, its node, its place. `node` stands in for a model written as one scalar."""
    for attribute, key, marks in _plan(type(model)):
        value = model.__dict__[attribute]
        if value:
            inner = node_of(model, key, node)
            yield from _names(value, marks, inner, inner.place if inner else model.place)


def parts(model: Model, node: Node | None) -> Iterator[tuple[str, Model, Node | None]]:
    """The models directly inside a model, each with the YAML key it stands under and its node."""
    keys = _keys(type(model))
    for attribute, value in model.__dict__.items():
        if isinstance(value, Model | list | tuple | dict) and value:
            key = keys[attribute]
            for inner, where in _inside(value, node_of(model, key, node)):
                yield key, inner, where


def node_of(model: Model, key: str, node: Node | None = None) -> Node | None:
    """The node of a key's value; the stand-in where the model was written as one scalar."""
    mapping = model.node
    if mapping is not None and (entry := mapping.entries.get(key)) is not None:
        return entry.value
    return node if isinstance(node, Scalar) else None


def _inside(value: object, node: Node | None) -> Iterator[tuple[Model, Node | None]]:
    if isinstance(value, Model):
        yield value, node
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _inside(item, child(node, index))
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _inside(item, child(node, key))


def child(node: Node | None, step: object) -> Node | None:
    """The node below another by key or index; None where there is none."""
    if isinstance(node, Mapping) and isinstance(step, str) and step in node.entries:
        return node.entries[step].value
    if isinstance(node, Sequence) and isinstance(step, int) and step < len(node.items):
        return node.items[step]
    return node if isinstance(node, Scalar) else None  # one written where a list may stand


class _Marks:
    """Where in a value names stand: the value itself, its items, its keys."""

    __slots__ = ("item", "key", "self_")

    def __init__(self) -> None:
        self.self_: str | None = None
        self.item: _Marks | None = None
        self.key: str | None = None

    def __bool__(self) -> bool:
        return bool(self.self_ or self.item or self.key)


def _names(
    value: object, marks: _Marks, node: Node | None, place: Place
) -> Iterator[tuple[str, str, Node | None, Place]]:
    if isinstance(value, str):
        if marks.self_:
            yield marks.self_, value, node, place
    elif isinstance(value, list | tuple) and marks.item:
        for index, item in enumerate(value):
            inner = child(node, index)
            yield from _names(item, marks.item, inner, inner.place if inner else place)
    elif isinstance(value, dict):
        for key, item in value.items():
            entry = node.entries.get(key) if isinstance(node, Mapping) else None
            if marks.key:
                yield marks.key, key, entry.key if entry else None, entry.key.place if entry else place
            if marks.item:
                yield from _names(
                    item, marks.item, entry.value if entry else None, entry.value.place if entry else place
                )


@cache
def _keys(model: type[Model]) -> dict[str, str]:
    """The YAML key of each attribute."""
    return {attribute: field.alias or attribute for attribute, field in model.model_fields.items()}


@cache
def _plan(model: type[Model]) -> tuple[tuple[str, str, _Marks], ...]:
    """The keys of a model that mention names: attribute, YAML key, where in the value."""
    plan: list[tuple[str, str, _Marks]] = []
    for attribute, field in model.model_fields.items():
        marks = _marks(field.annotation)
        for mark in field.metadata:
            if isinstance(mark, Ref):
                marks.self_ = mark.kind
        if marks:
            plan.append((attribute, field.alias or attribute, marks))
    return tuple(plan)


def _marks(annotation: Any) -> _Marks:
    marks = _Marks()
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        marks = _marks(args[0])
        for mark in args[1:]:
            if isinstance(mark, Ref):
                marks.self_ = mark.kind
    elif origin in (list, tuple) and args:
        marks.item = _marks(args[0]) or None
    elif origin is dict:
        marks.key = _marks(args[0]).self_
        marks.item = _marks(args[1]) or None
    elif origin in (Union, UnionType):
        for arm in args:
            inner = _marks(arm)
            marks.self_ = marks.self_ or inner.self_
            marks.item = marks.item or inner.item
            marks.key = marks.key or inner.key
    return marks
