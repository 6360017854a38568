"""Pydantic's errors in words a marketer understands, each at the place it speaks of."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from flowctl.language.locating import locate
from flowctl.language.problem import Edit, Fix, Place, Problem
from flowctl.language.source import Block, Items, Mapping, Node, Scalar, Sequence, Text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import ValidationError

    from flowctl.language.model import Model

SHOWN_CHARACTERS_MAX = 60
LISTED_MAX = 24

_TYPES = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a block of keys",
    "model_type": "a block of keys",
    "model_attributes_type": "a block of keys",
}
_PATTERNS = {
    "^[a-z0-9]+(-[a-z0-9]+)*$": ("a name in small letters, digits and hyphens", "cart-recovery"),
    "^[a-z][a-z0-9_]*$": ("a name in small letters, digits and underscores", "first_name"),
    "^[a-z][a-z0-9_-]*$": ("a step's id in small letters, digits, hyphens and underscores", "reminder"),
    r"^(now|(trigger|contact|data|input)(\.[A-Za-z0-9_]+)+)$": (
        "where a value comes from: trigger.x, contact.x, data.x, input.x or now",
        "contact.due_date",
    ),
}
_EXAMPLES = {
    "goal": "goal: {event: purchase_completed, within: 7d}",
    "triggers": "triggers: [{event: cart_updated}]",
    "steps": "steps:, then below it `- send: my-message`",
    "reentry": "reentry: {after: 7d, since: exit}",
    "audience": "audience: {segment: subscribers}",
    "wait": "wait: 2d",
    "repeat": "repeat: {every: 7d, max: 4}",
    "split": "split: {a: 50, b: 50}",
    "task": 'task: {team: sales, title: "Call back"}',
    "notify": "notify: {team: sales}",
    "assign": "assign: {team: sales}",
    "create": "create: {record: opportunity}",
    "fetch": "fetch: {service: shop_api, path: /reco, save_as: reco}",
    "consent": "consent: {grant: email}",
    "active": "active: {from: 2026-12-01, until: 2026-12-31}",
    "email": "email: {subject: …, text: …}",
    "sms": "sms: {text: …}",
    "push": "push: {title: …, text: …}",
    "wait_until": "wait_until: {date: 2026-12-24T09:00}",
    "contacts": "contacts: {fields: {first_name: text}}",
    "pressure": "pressure: {email: [1 per 16h]}",
    "on_missing": "on_missing: exit",
    "on_past": "on_past: continue",
    "title": 'title: "Call back"',
    "max": "max: 4",
    "match": "match: {field: orders, gte: 1}",
    "every": "every: 7d",
    "save_as": "save_as: reco",
    "over": "over: 7d",
    "send": "send: my-message",
    "exit": "exit: not interested",
}
_TYPE_INSTEAD = {
    "string": "text",
    "str": "text",
    "int": "integer",
    "float": "number",
    "bool": "boolean",
    "timestamp": "datetime",
    "enum": "choice",
    "list": "tags",
}
_INSTEAD = {
    "and": "all",
    "or": "any",
    "none": "not",
    "delay": "wait",
    "sleep": "wait",
    "pause": "wait",
    "email": "send",
    "sms": "send",
    "otherwise": "else",
}


def nearest(name: object, known: Iterable[str]) -> str:
    """The known name most like a misspelt one; empty where none is near."""
    found = get_close_matches(str(name).lower().replace(" ", "_"), list(known), n=1, cutoff=0.6)
    return found[0] if found else ""


def listed(names: Iterable[str]) -> str:
    """Names for a message: `a, b or c`, cut where there are very many."""
    every = list(names)
    if len(every) > LISTED_MAX:
        return f"{', '.join(every[:LISTED_MAX])} …"
    return every[0] if len(every) == 1 else f"{', '.join(every[:-1])} or {every[-1]}" if every else ""


def _instead(name: str, known: Iterable[str]) -> str:
    """What another tool's word is called here, where it may stand."""
    word = _INSTEAD.get(name, "")
    return word if word in known else ""


def unknown_key(key: Scalar, *, near: str, what: str = "key", help_: str = "") -> Problem:
    """YML006 at a key, with the nearest one that exists and the edit that makes it so."""
    fix = Fix(title=f"write `{near}`", edits=(Edit(place=key.place, text=near),), safe=False) if near else None
    hint = f"; did you mean `{near}`?" if near else ""
    label = f"did you mean `{near}`?" if near else f"no such {what}"
    return Problem(
        code="YML006",
        slug="unknown-key",
        message=f"unknown {what} `{key.value}`{hint}",
        place=key.place,
        label=label,
        help=help_,
        fix=fix,
    )


def found(value: object) -> str:
    """What a value is, for a message."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return f"the number {value}"
    if isinstance(value, str):
        text = value if len(value) <= SHOWN_CHARACTERS_MAX else value[:SHOWN_CHARACTERS_MAX] + "…"
        return f"the text `{text}`"
    return "a list" if isinstance(value, list | tuple) else "a block of keys"


def invalid(place: Place, message: str, *, help_: str = "", label: str = "") -> Problem:
    """YML007 at a place."""
    return Problem(code="YML007", slug="invalid-value", message=message, place=place, help=help_, label=label)


class Faults:
    """Reads the errors of one file's validation; `seen` tells which models each block was tried as, by id of its node."""

    def __init__(self, root: Mapping, seen: dict[int, list[type[Model]]]) -> None:
        self.root = root
        self.seen = seen

    def problems(self, error: ValidationError) -> list[Problem]:
        """One problem a place, in the order of the file."""
        grouped: dict[tuple[Any, ...], list[Any]] = {}
        for item in error.errors(include_url=False):
            node, key, walked = self._locate(item)
            apart = (item["type"], item["loc"][-1]) if item["type"] in ("missing", "extra_forbidden") else ()
            grouped.setdefault((id(node), *apart), []).append((item, node, key, walked))
        typos = {(id(node), near) for (_, node, _, _), near in self._typos(grouped)}
        made: list[Problem] = []
        for group in grouped.values():
            item, node, key, walked = group[0]
            if item["type"] == "missing" and (id(node), item["loc"][-1]) in typos:
                continue  # the misspelt key is reported; that the right one is missing says the same
            made.append(self._problem([part[0] for part in group], node, key, walked))
        return sorted(made, key=lambda problem: problem.place)

    def _locate(self, item: Any) -> tuple[Node, Scalar | None, tuple[str | int, ...]]:
        value, loc = item["input"], item["loc"]
        if item["type"] == "missing" and isinstance(value, Block):
            _, key, walked = locate(self.root, loc[:-1], value)
            return value.node, key, walked
        node, key, walked = locate(self.root, loc, value)
        if item["type"] != "extra_forbidden" and isinstance(value, Text | Block | Items):
            node = value.node
        return node, key, walked

    def _typos(self, grouped: dict[tuple[Any, ...], list[Any]]) -> Iterable[tuple[Any, str]]:
        for group in grouped.values():
            item, _, key, walked = group[0]
            if item["type"] == "extra_forbidden" and key is not None:
                parent = self._at(walked[:-1])
                if near := nearest(key.value, self._expected(parent)):
                    yield (item, parent, key, walked), near

    def _problem(self, items: list[Any], node: Node, key: Scalar | None, walked: tuple[str | int, ...]) -> Problem:
        first = items[0]
        kind = first["type"]
        if kind == "missing":
            return self._missing(str(first["loc"][-1]), node, key)
        if kind == "extra_forbidden":
            return self._extra(key or Scalar(value=str(first["loc"][-1]), raw="", plain=True, place=node.place), walked)
        if kind in ("union_tag_not_found", "union_tag_invalid"):
            return self._no_tag(first, node, key)
        return self._value(items, node, key, walked)

    # --- keys

    def _missing(self, name: str, node: Node, key: Scalar | None) -> Problem:
        where = f" in `{key.value}`" if key is not None else ""
        # What a salvaged part lacks is found where its block was, whatever stands there.
        first = next(iter(node.entries.values()), None) if isinstance(node, Mapping) else None
        place = first.key.place if first else node.place
        help_ = self._field_help(name, node) if isinstance(node, Mapping) else ""
        if name == "steps":
            help_ = "add `steps:` with at least one step, or `steps: []` for a workflow that only records its goal"
        return invalid(place, f"`{name}:` is missing{where}", label=f"needs `{name}:`", help_=help_)

    def _extra(self, key: Scalar, walked: tuple[str | int, ...]) -> Problem:
        parent = self._at(walked[:-1])
        expected = self._expected(parent)
        name = str(key.value)
        if rival := self._rival(parent, key):
            return rival
        near = _instead(name, expected) or nearest(name, expected)
        value = parent.entries[name].value if isinstance(parent, Mapping) and name in parent.entries else None
        if not near and isinstance(value, Scalar) and value.value is None and not value.raw and " " in name:
            return invalid(
                key.place,
                f"a comma or `:` in an unquoted text made a key of `{name}`",
                help_='put the whole text between quotes: "…"',
            )
        if not near and (owner := self._enclosing(walked[:-1], name)):
            return unknown_key(key, near="", help_=f"`{name}` belongs to `{owner}`, further out: indent it less")
        present = set(parent.entries) if isinstance(parent, Mapping) else set()
        free = [one for one in expected if one not in present]
        return unknown_key(key, near=near, help_=f"here may stand {listed(free)}" if free else "")

    def _rival(self, parent: Node, key: Scalar) -> Problem | None:
        """Where a block has two verbs, subjects or kinds, say that instead."""
        from flowctl.language.conditions import SUBJECTS  # noqa: PLC0415 - loaded only where it is needed
        from flowctl.language.steps import VERBS  # noqa: PLC0415 - loaded only where it is needed
        from flowctl.language.triggers import KINDS  # noqa: PLC0415 - loaded only where it is needed

        for model in self.seen.get(id(parent), []):
            for attribute, names, what, help_ in (
                ("verb", VERBS, "a step does one thing", "make two steps of it, each with its own `-`"),
                (
                    "subject",
                    SUBJECTS,
                    "a condition asks one thing",
                    "put both under `all:` or `any:`, each with its own `-`",
                ),
                ("kind", KINDS, "a trigger has one cause", "make two triggers of it, each with its own `-`"),
            ):
                mine = getattr(model, attribute, None)
                if isinstance(mine, str) and key.value in names and mine != key.value:
                    return invalid(key.place, f"{what}; found `{mine}` and `{key.value}`", help_=help_)
        return None

    def _no_tag(self, item: Any, node: Node, key: Scalar | None) -> Problem:
        from flowctl.language.conditions import SUBJECTS  # noqa: PLC0415 - loaded only where it is needed
        from flowctl.language.steps import VERBS  # noqa: PLC0415 - loaded only where it is needed
        from flowctl.language.triggers import KINDS  # noqa: PLC0415 - loaded only where it is needed

        what, names = {
            "verb()": ("step", VERBS),
            "subject()": ("condition", SUBJECTS),
            "kind()": ("trigger", KINDS),
            "_fact()": ("fact", ("event", "message", "survey", "field", "enters", "exits")),
        }.get(item["ctx"]["discriminator"], ("value", ("date", "from", "slot", "best_time")))
        expected = f"a {what} begins with one of {listed(names)}"
        if isinstance(node, Mapping) and node.entries:
            for entry in node.entries.values():
                name = str(entry.key.value)
                if near := _instead(name, names) or nearest(name, names):
                    return unknown_key(entry.key, near=near, what=what, help_=expected)
            first = next(iter(node.entries.values()))
            return unknown_key(first.key, near="", what=what, help_=expected)
        if what == "condition" and isinstance(node, Sequence):
            return invalid(
                node.place,
                "a list is no condition",
                help_="put it under `all:` (every one must hold) or `any:` (at least one)",
            )
        where = f" in `{key.value}`" if key is not None else ""
        if isinstance(node, Scalar) and node.value in names:
            return invalid(
                node.place,
                f"the {what} `{node.value}` lacks its `:` and what comes behind it",
                help_=f"write `{node.value}: …`",
            )
        return invalid(node.place, f"{found(item['input'])} is no {what}{where}", help_=expected)

    # --- values

    def _value(self, items: list[Any], node: Node, key: Scalar | None, walked: tuple[str | int, ...]) -> Problem:
        value = items[0]["input"]
        name = self._called(key, walked)
        if items[0]["loc"][-1:] == ("[key]",) and key is not None:
            above = next((part for part in reversed(walked[:-1]) if isinstance(part, str)), "the file")
            node, name = key, f"a key of `{above}`"
        own = next((item for item in items if item["type"] == "value_error"), None)
        choices = [
            word for item in items if item["type"] == "literal_error" for word in _words(item["ctx"]["expected"])
        ]
        types = list(dict.fromkeys(_TYPES[item["type"]] for item in items if item["type"] in _TYPES))
        place = self._narrow(node)
        if own is not None:
            message = str(own["ctx"]["error"])
            instead = f"; or {listed(choices)}" if choices else ""
            return invalid(
                place,
                f"{message}{instead}",
                label=f"`{key.value}`"
                if key is not None and isinstance(node, Mapping) and len(message) > SHOWN_CHARACTERS_MAX
                else "",
            )
        if choices and not types:
            near = nearest(value, choices) if isinstance(value, str) else ""
            if isinstance(value, str) and _TYPE_INSTEAD.get(value) in choices:
                near = _TYPE_INSTEAD[value]
            label = f"did you mean `{near}`?" if near else ""
            return invalid(
                place,
                f"{name} cannot be {found(value).removeprefix('the text ').removeprefix('the number ')}; expected {listed(choices)}",
                label=label,
            )
        if types:
            shown = [name for name in types if name != "a whole number" or "a number" not in types]
            expected = listed([*shown, *choices])
            return invalid(
                place, f"{name} must be {expected}; found {found(value)}", help_=self._type_help(types, node, key)
            )
        return self._bound(items[0], name, place)

    def _bound(self, item: Any, name: str, place: Place) -> Problem:
        context = item.get("ctx", {})
        match item["type"]:
            case "string_pattern_mismatch":
                what, example = _PATTERNS.get(context["pattern"], ("a text of the right form", ""))
                return invalid(
                    place, f"{found(item['input'])} is not {what}", help_=f"write it like {example}" if example else ""
                )
            case "too_short":
                least = context["min_length"]
                sample = _EXAMPLES.get(name.strip("`"))
                help_ = (
                    f"write it like `{sample}`"
                    if sample
                    else "add to it, or leave the key out"
                    if not context["actual_length"]
                    else ""
                )
                return invalid(
                    place, f"{name} needs at least {least}; found {context['actual_length'] or 'none'}", help_=help_
                )
            case "too_long":
                return invalid(place, f"{name} takes at most {context['max_length']}; found {context['actual_length']}")
            case "string_too_long":
                return invalid(place, f"{name} is longer than {context['max_length']} characters")
            case "greater_than_equal":
                return invalid(place, f"{name} must be at least {context['ge']}; found {item['input']}")
            case "less_than_equal":
                return invalid(place, f"{name} must be at most {context['le']}; found {item['input']}")
            case _:
                return invalid(place, f"{name}: {item['msg'][:1].lower()}{item['msg'][1:]}")

    def _type_help(self, types: list[str], node: Node, key: Scalar | None) -> str:
        if "text" in types and isinstance(node, Scalar) and node.raw and node.value is not None:
            return f'write "{node.raw}" with quotes if it is a text'
        if "text" in types and isinstance(node, Mapping) and len(node.entries) == 1:
            inner = next(iter(node.entries.values()))
            if isinstance(inner.value, Scalar):
                return f'YAML sees a key and a value in it; put the whole between quotes: "{inner.key.value}: {inner.value.raw}"'
        if "a list" in types:
            return "begin each item with `- ` on its own line, or write [ … ]"
        example = _EXAMPLES.get(str(key.value)) if key is not None else None
        empty = isinstance(node, Scalar) and node.value is None
        return f"write it like `{example}`" if example and ("a block of keys" in types or empty) else ""

    def _called(self, key: Scalar | None, walked: tuple[str | int, ...]) -> str:
        last = walked[-1] if walked else ""
        if isinstance(last, int):
            above = next((part for part in reversed(walked) if isinstance(part, str)), "")
            return f"item {last + 1} of `{above}`" if above else f"item {last + 1}"
        return f"`{key.value}`" if key is not None else "this"

    def _narrow(self, node: Node) -> Place:
        """A place to point at: of a block that spans lines, only its first key."""
        if isinstance(node, Mapping) and node.place.line != node.place.end_line:
            first = next(iter(node.entries.values()), None)
            return first.key.place if first else node.place
        return node.place

    def _field_help(self, name: str, node: Mapping) -> str:
        for model in self.seen.get(id(node), []):
            for attribute, field in model.model_fields.items():
                if (field.alias or attribute) == name and (field.description or field.examples):
                    example = next(iter(field.examples or []), None)
                    return f"such as `{name}: {example}`" if example is not None else str(field.description)
        return f"write it like `{_EXAMPLES[name]}`" if name in _EXAMPLES else ""

    def _expected(self, node: Node) -> list[str]:
        names: dict[str, None] = {}
        for model in self.seen.get(id(node), []):
            names.update(dict.fromkeys(field.alias or attribute for attribute, field in model.model_fields.items()))
        if "condition" in names and "within" in names:  # a goal's own wrapping, which nobody writes
            del names["condition"]
        return list(names)

    def _enclosing(self, walked: tuple[str | int, ...], name: str) -> str:
        """The key of the nearest block further out that has such a key."""
        for length in range(len(walked) - 1, -1, -1):
            node = self._at(walked[:length])
            if name in self._expected(node):
                models = self.seen.get(id(node), [])
                verb = next((str(found) for model in models if (found := getattr(model, "verb", ""))), "")
                return verb or next(
                    (str(part) for part in reversed(walked[:length]) if isinstance(part, str)), "the file"
                )
        return ""

    def _at(self, walked: tuple[str | int, ...]) -> Node:
        node: Node = self.root
        for part in walked:
            if isinstance(node, Mapping):
                node = node.entries[str(part)].value
            elif isinstance(node, Sequence) and isinstance(part, int):
                node = node.items[part]
        return node


def _words(expected: str) -> list[str]:
    """Pydantic's `'a', 'b' or 'c'` as words."""
    return [word.strip(" '\"") for part in expected.split(", ") for word in part.split(" or ")]
