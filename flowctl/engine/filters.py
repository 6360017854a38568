"""The filters that templates have: jinja2's, each looked after by the budget, and its commonest made cheap."""

from __future__ import annotations

import functools
import inspect
from types import GeneratorType
from typing import TYPE_CHECKING, Any

from jinja2 import pass_context, pass_eval_context
from jinja2.filters import FILTERS
from jinja2.nodes import EvalContext
from jinja2.tests import TESTS
from markupsafe import Markup, escape, soft_str

from flowctl.engine.budget import (
    CHARS_PER_WORK,
    NUMBER_MAX,
    TEXT_CHARS_MAX,
    budget,
    charged,
    searched,
    text_size,
    too_much,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jinja2 import Environment
    from jinja2.runtime import Context

# What a message has use for. Missing are those that make text out of structure (pprint, tojson, xmlattr, format).
_NAMES = frozenset({
    "abs", "batch", "capitalize", "center", "default", "d", "e", "escape", "first", "float", "groupby", "indent",
    "int", "items", "join", "last", "length", "count", "list", "lower", "map", "max", "min", "reject", "rejectattr",
    "replace", "reverse", "round", "safe", "select", "selectattr", "slice", "sort", "string", "striptags", "sum",
    "title", "trim", "truncate", "unique", "upper", "urlencode", "wordcount",
})  # fmt: skip
_HOLDERS = (list, tuple, dict)
_COUNTING = frozenset({"center", "indent", "batch", "slice", "truncate", "round"})
# Those that take no entry apart: each is paid for where something is made of it.
_LOOKING_ON = frozenset({
    "count", "d", "default", "first", "last", "length", "map", "reject", "rejectattr", "select", "selectattr",
})  # fmt: skip
# What weighs nothing as a filter's argument: asked first, for most are. The sandbox adds what it hands to filters itself.
LIGHT: set[type] = {float, bool, type(None), GeneratorType, EvalContext}


def filters() -> dict[str, Callable[..., Any]]:
    """All of them, by the name that templates call them by."""
    known = {name: _guarded(name, FILTERS[name]) for name in _NAMES}
    known["replace"] = _guarded("replace", _replace)
    known["round"] = _round_cheaply(known["round"])
    known["map"] = _map_cheaply(known["map"])
    return known


def tests() -> dict[str, Any]:
    """jinja2's tests, of which those that go through a whole text or list are paid for."""

    def paid(test: Any) -> Any:
        return lambda *values: test(*map(searched, values))

    return TESTS | {name: paid(TESTS[name]) for name in ("in", "lower", "upper")}


def is_plain(attribute: Any) -> bool:
    """The name of one attribute, and no path (`a.b`) or position (`0`)."""
    return type(attribute) is str and "." not in attribute and not attribute.isdigit()


def _guarded(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter that may not count far, take much text apart, or make much."""
    function = inspect.unwrap(function)  # jinja2 asks at each call whether it is to be awaited, and it never is here
    counts, looks_on = name in _COUNTING, name in _LOOKING_ON

    @functools.wraps(function)  # copies the mark of filters that want the environment or context
    def guarded(*args: Any, **options: Any) -> Any:
        for value in (*args, *options.values()) if options else args:
            if type(value) is str:
                if len(value) >= CHARS_PER_WORK:
                    budget.spend(len(value) // CHARS_PER_WORK)
            elif type(value) not in LIGHT:
                _weigh(value, counts=counts, looks_on=looks_on)
        made = function(*args, **options)
        return made if type(made) is float else charged(made)

    return guarded


def _weigh(value: Any, *, counts: bool, looks_on: bool) -> None:
    """Look at what a filter is given."""
    if isinstance(value, int):
        if counts and abs(value) > NUMBER_MAX:
            too_much(f"{value} of something")
    elif isinstance(value, range):
        budget.spend(1 + len(value))
    elif isinstance(value, str):
        searched(value)
    elif isinstance(value, _HOLDERS):
        if looks_on:
            budget.spend(1 + len(value))
        elif text_size(value) > TEXT_CHARS_MAX:
            too_much("more text than a message can need")


@pass_eval_context
def _replace(context: EvalContext, text: Any, old: Any, new: Any, count: int | None = None) -> str:
    """`|replace` by jinja2's rules (what is HTML already stays so), with the size of its result known before it is made."""
    if context.autoescape:
        text = escape(text) if hasattr(old, "__html__") or hasattr(new, "__html__") else soft_str(text)
    else:
        text = str(text)
    kind = Markup if isinstance(text, Markup) else str
    text, old, new = str(text), str(old), str(escape(new) if kind is Markup else new)
    grown = len(text) + (text.count(old) if old else len(text) + 1) * len(new)
    if grown > TEXT_CHARS_MAX:
        too_much(f"a text of {grown} characters")
    return kind(text.replace(old, new, -1 if count is None else count))


def _round_cheaply(guarded: Callable[..., Any]) -> Callable[..., Any]:
    """`|round` of a number: only its precision counts far, and a number with a point weighs nothing."""

    @functools.wraps(guarded)
    def rounded(value: Any, precision: Any = 0, method: Any = "common") -> Any:
        if type(precision) is int and abs(precision) <= NUMBER_MAX and method == "common":
            if type(value) is float:
                return round(value, precision)
            if type(value) is int:
                return charged(round(value, precision))
        return guarded(value, precision, method)

    return rounded


def _map_cheaply(guarded: Callable[..., Any]) -> Callable[..., Any]:
    """`|map(attribute='price')` of a list."""

    @functools.wraps(guarded)
    @pass_context
    def mapped(context: Context, value: Any, *args: Any, **options: Any) -> Any:
        if type(value) is list and not args and options.keys() == {"attribute"} and is_plain(options["attribute"]):
            budget.spend(1 + len(value))
            return _attributes(context.environment, value, options["attribute"])
        return guarded(context, value, *args, **options)

    return mapped


def _attributes(environment: Environment, entries: list[Any], name: str) -> Iterator[Any]:
    """One attribute of each entry, by the rules of the environment; a generator like jinja2's own."""
    for entry in entries:
        value = entry.get(name) if type(entry) is dict else None
        yield environment.getitem(entry, name) if value is None else value


def sum_of_attribute(context: Context, values: Any, name: str) -> Any:
    """`values|map(attribute=name)|sum`, charged like both."""
    environment = context.environment
    if type(values) is not list:
        return environment.filters["sum"](environment, environment.filters["map"](context, values, attribute=name))
    budget.spend(1 + len(values))
    try:
        made = sum([entry[name] for entry in values])
    except (LookupError, TypeError):  # something is missing or no number: the rules of the environment
        made = sum(_attributes(environment, values, name))
    return made if type(made) is float else charged(made)
