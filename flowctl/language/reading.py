"""One file's root node to models: what it declares, and every fault in words, each at its place."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module

from pydantic import ValidationError

from flowctl.language.faults import Faults, nearest, unknown_key
from flowctl.language.model import Model
from flowctl.language.problem import Place, Problem, Related
from flowctl.language.source import Entry, Mapping, Node, Scalar, Sequence, plain

SINGULAR = {
    "workflow": "workflow",
    "segment": "segment",
    "segments": "segment",
    "message": "message",
    "messages": "message",
    "score": "score",
    "survey": "survey",
    "geofence": "geofence",
    "geofences": "geofence",
    "test": "test",
    "tests": "test",
    "assumptions": "assumptions",
    "provider": "provider",
}
"""Every key that declares a resource, with its kind."""
KINDS = tuple(dict.fromkeys(SINGULAR.values()))
SETTINGS = "settings"
_CUTS_MAX = 5  # rounds of cutting out what is wrong, so that the names in the rest are checked as well


@dataclass(frozen=True, kw_only=True, slots=True)
class Declaration:
    """One resource a file declares: its name where it says one, and its model where it is sound."""

    kind: str
    name: str
    place: Place  # of the name
    model: Model | None
    partial: Model | None = None  # of an unsound one: what is left without its faults, for its names to be checked


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """What a file declares, and what is wrong with it."""

    declarations: tuple[Declaration, ...]
    problems: tuple[Problem, ...]


def read(root: Mapping) -> Reading:
    """Read a resource file's root by its one declaring key."""
    keys = [key for key in root.entries if key in SINGULAR]
    if not keys:
        return Reading(declarations=(), problems=(_nothing_known(root),))
    if len(keys) > 1:
        return Reading(declarations=_names_only(root, keys), problems=(_two_kinds(root, keys),))
    key = keys[0]
    if key == SINGULAR[key]:
        return _read_blocks(SINGULAR[key], [root])
    others = [_beside(root.entries[other].key, key) for other in root.entries if other != key]
    blocks, problems = _blocks_of(key, root.entries[key])
    reading = _read_blocks(SINGULAR[key], blocks)
    known = {declaration.name for declaration in reading.declarations}
    unsound = [declaration for declaration in _names_only(root, [key]) if declaration.name not in known]
    return Reading(declarations=(*reading.declarations, *unsound), problems=(*others, *problems, *reading.problems))


def read_settings(root: Mapping) -> Reading:
    """Read flowctl.yaml's root."""
    model, problems = validate(model_of(SETTINGS), root)
    name, place = _name(root, "project")
    return Reading(
        declarations=(Declaration(kind=SETTINGS, name=name, place=place, model=model),), problems=tuple(problems)
    )


def validate(model: type[Model], root: Mapping) -> tuple[Model | None, list[Problem]]:
    """Make a model of a mapping; None and the faults where it cannot be one."""
    block = plain(root)
    try:
        return model.model_validate(block, by_alias=True, by_name=False), []
    except ValidationError:
        seen: dict[int, list[type[Model]]] = {}
        try:  # once more, to learn which model each block was to be
            model.model_validate(block, by_alias=True, by_name=False, context=seen)
        except ValidationError as again:
            fault = again
        return None, Faults(root, seen).problems(fault)


def model_of(kind: str) -> type[Model]:
    """The model of a kind of resource, imported when first needed."""
    module, name = {"test": ("scenario", "Scenario")}.get(kind, (kind, kind.capitalize()))
    found: type[Model] = getattr(import_module(f"flowctl.language.{module}"), name)
    return found


def _read_blocks(kind: str, blocks: list[Mapping]) -> Reading:
    model = model_of(kind)
    declarations: list[Declaration] = []
    problems: list[Problem] = []
    for block in blocks:
        made, faults = validate(model, block)
        name, place = _name(block, kind)
        partial = _salvaged(model, block, faults) if made is None else None
        declarations.append(Declaration(kind=kind, name=name, place=place, model=made, partial=partial))
        problems += faults
    return Reading(declarations=tuple(declarations), problems=tuple(problems))


def _salvaged(model: type[Model], block: Mapping, faults: list[Problem]) -> Model | None:
    """A model of what is left of a block when the places of its faults are cut out; None where that does not help."""
    for _ in range(_CUTS_MAX):
        left = _without(block, {fault.place for fault in faults})
        if not isinstance(left, Mapping) or left == block:
            return None
        block = left
        made, faults = validate(model, block)
        if made is not None:
            return made
    return None


def _without(node: Node, places: set[Place]) -> Node | None:
    """A copy of a node without the entries and items that stand at some places."""
    if node.place in places:
        return None
    match node:
        case Mapping():
            kept = {
                key: Entry(key=entry.key, value=value)
                for key, entry in node.entries.items()
                if entry.key.place not in places and (value := _without(entry.value, places)) is not None
            }
            return Mapping(entries=kept, place=node.place)
        case Sequence():
            items = [inner for item in node.items if (inner := _without(item, places)) is not None]
            return Sequence(items=items, place=node.place)
        case _:
            return node


def _blocks_of(key: str, entry: Entry) -> tuple[list[Mapping], list[Problem]]:
    """The mappings below a plural key, each with its name among its entries as the singular form has it."""
    kind, value = SINGULAR[key], entry.value
    problems: list[Problem] = []
    blocks: list[Mapping] = []
    if key == "tests":
        if not isinstance(value, Sequence):
            return [], [_invalid(value.place, "`tests:` is a list", "write each test as `- test: what it shows`")]
        for item in value.items:
            if isinstance(item, Mapping):
                blocks.append(item)
            else:
                problems.append(
                    _invalid(item.place, "a test is a block of keys", "begin it with `- test: what it shows`")
                )
        return blocks, problems
    if not isinstance(value, Mapping):
        return [], [
            _invalid(
                value.place,
                f"`{key}:` is a block of names, each with its own keys",
                f"write a name and `:` below `{key}:`",
            )
        ]
    for name, inner in value.entries.items():
        if not isinstance(inner.value, Mapping):
            problems.append(
                _invalid(inner.key.place, f"`{name}` says nothing", f"write the keys of the {kind} below it, indented")
            )
            continue
        if kind in inner.value.entries:
            again = inner.value.entries[kind].key
            problems.append(
                _invalid(
                    again.place,
                    f"the {kind} is named twice: `{name}` and `{kind}:`",
                    f"delete `{kind}:`; below `{key}:` the key is the name",
                )
            )
            continue
        start, end = inner.key.place, inner.value.place
        place = Place(
            path=start.path, line=start.line, column=start.column, end_line=end.end_line, end_column=end.end_column
        )
        named = Entry(key=inner.key, value=inner.key)
        blocks.append(Mapping(entries={kind: named, **inner.value.entries}, place=place))
    return blocks, problems


def _name(block: Mapping, key: str) -> tuple[str, Place]:
    entry = block.entries.get(key)
    if entry is None or not isinstance(entry.value, Scalar) or not isinstance(entry.value.value, str):
        return "", block.place
    return entry.value.value, entry.value.place


def _names_only(root: Mapping, keys: list[str]) -> tuple[Declaration, ...]:
    """Names alone, of what could not be read, so that what refers to them is not reported as well."""
    found: list[Declaration] = []
    for key in keys:
        kind, value = SINGULAR[key], root.entries[key].value
        if isinstance(value, Mapping):
            found += [
                Declaration(kind=kind, name=name, place=entry.key.place, model=None)
                for name, entry in value.entries.items()
            ]
        elif key == SINGULAR[key]:
            name, place = _name(root, key)
            found.append(Declaration(kind=kind, name=name, place=place, model=None))
    return tuple(found)


def _nothing_known(root: Mapping) -> Problem:
    listed = ", ".join(f"`{kind}:`" for kind in KINDS)
    help_ = f"a file begins with one of {listed}; what is not flowctl's goes under `exclude:` in flowctl.yaml"
    first = next(iter(root.entries.values()), None)
    if first is None:
        return _invalid(root.place, "the file declares nothing", help_)
    for entry in root.entries.values():
        if near := nearest(entry.key.value, SINGULAR):
            return unknown_key(entry.key, near=near, help_=help_)
    return Problem(
        code="YML006",
        slug="unknown-key",
        message=f"the file declares nothing flowctl knows; it begins with `{first.key.value}`",
        place=first.key.place,
        help=help_,
    )


def _two_kinds(root: Mapping, keys: list[str]) -> Problem:
    first, second = (root.entries[key].key for key in keys[:2])
    related = (Related(place=first.place, label=f"`{first.value}` is declared here"),)
    message = f"a file declares one thing; this one declares `{first.value}` and `{second.value}`"
    return Problem(
        code="YML007",
        slug="invalid-value",
        message=message,
        place=second.place,
        related=related,
        help="move one of them to a file of its own",
    )


def _beside(key: Scalar, plural: str) -> Problem:
    help_ = f"indent it below the name it belongs to, or leave only `{plural}:` at the margin"
    return Problem(
        code="YML006",
        slug="unknown-key",
        message=f"`{key.value}` cannot stand beside `{plural}:`",
        place=key.place,
        help=help_,
    )


def _invalid(place: Place, message: str, help_: str) -> Problem:
    return Problem(code="YML007", slug="invalid-value", message=message, place=place, help=help_)
