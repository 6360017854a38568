"""The one place that runs templates: Jinja2 in a sandbox with strict names and a budget of work.

jinja2's sandbox keeps a template from the process, not from its memory and time: `'x' * 10**9` passes it. Here every
loop turn, macro call, filter and operator is charged to `budget`. This bounds what a template can ask for step by step; a hard
limit on memory belongs to the process that renders.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Mapping, Sequence
from datetime import date, time, timedelta
from types import GeneratorType
from typing import TYPE_CHECKING, Any

from jinja2 import StrictUndefined, Undefined, nodes
from jinja2.compiler import CodeGenerator
from jinja2.exceptions import SecurityError, TemplateError, TemplateRuntimeError, TemplateSyntaxError, UndefinedError
from jinja2.nodes import EvalContext
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import missing
from markupsafe import Markup, escape

from flowctl.engine.budget import (
    CHARS_PER_WORK,
    INTEGER_BITS_MAX,
    NUMBER_MAX,
    OUTPUT_CHARS_MAX,
    TEXT_CHARS_MAX,
    WORK_MAX,
    Runaway,
    budget,
    charged,
    text_size,
    too_much,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from jinja2 import Template
    from jinja2.compiler import Frame

_IN_HTML = re.compile("[&<>'\"]").search

# What a message has use for. Missing are those that make text out of structure (pprint, tojson, xmlattr, format).
_FILTERS = frozenset({
    "abs", "batch", "capitalize", "center", "default", "d", "e", "escape", "first", "float", "groupby", "indent",
    "int", "items", "join", "last", "length", "count", "list", "lower", "map", "max", "min", "reject", "rejectattr",
    "replace", "reverse", "round", "safe", "select", "selectattr", "slice", "sort", "string", "striptags", "sum",
    "title", "trim", "truncate", "unique", "upper", "urlencode", "wordcount",
})  # fmt: skip
_TEXT_METHODS = frozenset({
    "capitalize", "casefold", "count", "endswith", "find", "index", "isalnum", "isalpha", "isascii", "isdecimal",
    "isdigit", "islower", "isnumeric", "isspace", "istitle", "isupper", "lower", "lstrip", "partition",
    "removeprefix", "removesuffix", "rfind", "rpartition", "rsplit", "rstrip", "split", "splitlines", "startswith",
    "strip", "swapcase", "title", "upper",
})  # fmt: skip
_MAPPING_METHODS = frozenset({"get", "items", "keys", "values"})
_TIME_METHODS = frozenset({
    "date", "day", "days", "hour", "isocalendar", "isoformat", "isoweekday", "minute", "month", "seconds", "second",
    "strftime", "time", "total_seconds", "weekday", "year",
})  # fmt: skip


class MissingName(UndefinedError):
    """A template asked for a name that is not there, or whose value is unknown."""


class Record(dict[str, Any]):
    """A mapping that a template reads as `name.key`."""

    __slots__ = ("name",)

    def __init__(self, name: str, values: Mapping[str, Any]) -> None:
        super().__init__(values)
        self.name = name


def _name_of(value: Undefined) -> str:
    obj, name = value._undefined_obj, value._undefined_name  # noqa: SLF001 - what jinja2 keeps for its subclasses
    return f"{obj.name}.{name}" if isinstance(obj, Record) else str(name)


class Missing(StrictUndefined):
    """A name that nobody provides: any use but `is defined` and `|default` fails, and says which name."""

    __slots__ = ()

    def __init__(
        self,
        hint: str | None = None,
        obj: Any = missing,
        name: str | None = None,
        exc: type[TemplateRuntimeError] = MissingName,
    ) -> None:
        super().__init__(hint, obj, name, exc)

    @property
    def _undefined_message(self) -> str:
        return f"missing variable {_name_of(self)}"


class Unknown(Undefined):
    """A declared value that is not known (NULL): false and empty where a template asks, but never printed."""

    __slots__ = ()

    @property
    def _undefined_message(self) -> str:
        return f"missing variable {_name_of(self)} (unknown for this contact)"

    def __str__(self) -> str:
        raise MissingName(self._undefined_message)

    def __eq__(self, other: object) -> bool:
        return False

    def __ne__(self, other: object) -> bool:
        return True

    __hash__ = object.__hash__

    def _compared(self, _: object) -> bool:
        return False

    __lt__ = __le__ = __gt__ = __ge__ = _compared  # type: ignore[assignment]


def _guarded(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter that may not count far, take much text apart, or make much."""
    function = inspect.unwrap(function)  # jinja2 asks at each call whether it is to be awaited, and it never is here
    counts, looks_on = name in _COUNTING, name in _LOOKING_ON

    @functools.wraps(function)  # copies the mark of filters that want the environment or context
    def guarded(*args: Any, **options: Any) -> Any:
        for value in (*args, *options.values()) if options else args:
            if type(value) not in _LIGHT:
                _weigh(value, counts=counts, looks_on=looks_on)
        made = function(*args, **options)
        return made if type(made) is float else charged(made)

    return guarded


def _weigh(value: Any, *, counts: bool, looks_on: bool) -> None:
    """Look at what a filter is given."""
    if isinstance(value, int):
        if counts and abs(value) > NUMBER_MAX:
            too_much(f"{value} of something")
    elif isinstance(value, _HOLDERS):
        if looks_on:
            budget.spend(1 + len(value))
        elif text_size(value) > TEXT_CHARS_MAX:
            too_much("more text than a message can need")


_HOLDERS = (list, tuple, dict)
_COUNTING = frozenset({"center", "indent", "batch", "slice", "truncate", "round"})
# Those that take no entry apart: each is paid for where something is made of it.
_LOOKING_ON = frozenset({
    "count", "d", "default", "first", "last", "length", "map", "reject", "rejectattr", "select", "selectattr",
})  # fmt: skip


def _replace(text: Any, old: str, new: str, count: int | None = None) -> str:
    """`|replace`, with the size of its result known before it is made."""
    text, old, new = str(text), str(old), str(new)
    grown = len(text) + (text.count(old) if old else len(text) + 1) * len(new)
    if grown > TEXT_CHARS_MAX:
        too_much(f"a text of {grown} characters")
    return str(text).replace(old, new, -1 if count is None else count)


class _Generator(CodeGenerator):
    """Python code that gathers its pieces in one list, in which every turn of a loop is charged, and `~` like every operator."""

    def blockvisit(self, nodes: Iterable[nodes.Node], frame: Frame) -> None:
        """The outermost block makes the list; whatever stands inside adds to it."""
        outermost = frame.rootlevel and frame.buffer is None
        if outermost:
            self.buffer(frame)
        super().blockvisit(nodes, frame)
        if outermost:
            self.writeline(f"yield {frame.buffer}")

    def _output_child_pre(self, node: nodes.Expr, frame: Frame, finalize: CodeGenerator._FinalizeInfo) -> None:  # noqa: ARG002 - jinja2's signature
        # One call instead of three: this is what templates do most.
        if frame.eval_ctx.volatile:
            self.write("(environment.shown_html if context.eval_ctx.autoescape else environment.shown_text)(")
        else:
            self.write(f"environment.shown_{'html' if frame.eval_ctx.autoescape else 'text'}(")

    def _output_child_post(self, node: nodes.Expr, frame: Frame, finalize: CodeGenerator._FinalizeInfo) -> None:  # noqa: ARG002 - the same
        self.write(")")

    def visit_Continue(self, node: nodes.Continue, frame: Frame) -> None:  # noqa: ARG002, N802 - jinja2's signature
        # jinja2 allows no node types of one's own, and `continue` exists only with an extension that is not loaded here.
        self.writeline(f"environment.beat({getattr(node, 'work', 1)})", node)

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:  # noqa: N802 - jinja2's name
        self.write("environment.concat_charged((")
        for part in node.nodes:
            self.visit(part, frame)
            self.write(", ")
        self.write("))")


class Sandbox(ImmutableSandboxedEnvironment):
    """Jinja2 for messages: autoescape for HTML, none for text; no files, no imports, no state."""

    code_generator_class = _Generator
    intercepted_binops = frozenset({"+", "*", "**", "%", "-", "/", "//"})

    def __init__(self, *, html: bool) -> None:
        super().__init__(undefined=Missing, autoescape=html, finalize=_printed, auto_reload=False, cache_size=0)
        self.filters = {name: _guarded(name, function) for name, function in self.filters.items() if name in _FILTERS}
        self.filters["replace"] = _guarded("replace", _replace)
        self.globals = {"range": _short_range, "namespace": self.globals["namespace"]}

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        """A tree in which every loop and macro beats, so that none runs for ever."""
        tree = super()._parse(source, name, filename)
        for forbidden in tree.find_all((nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)):
            message = "a message's template stands alone: no include, import or extends"
            raise TemplateSyntaxError(message, forbidden.lineno)
        for node in tree.find_all((nodes.For, nodes.Macro, nodes.CallBlock)):
            assert isinstance(node, nodes.For | nodes.Macro | nodes.CallBlock)  # noqa: S101 - tells mypy what find_all knows
            beat = nodes.Continue(lineno=node.lineno)
            beat.work = 1 + _printing(node.body)  # type: ignore[attr-defined]  # for the generator
            node.body.insert(0, beat)
        return tree

    def getattr(self, obj: Any, attribute: str) -> Any:
        """`obj.attribute`: a mapping's own key first, so that `trigger.items` is what the event said."""
        kind = type(obj)
        if kind is Record or kind is dict:
            value = obj.get(attribute)
            if value is not None:
                return value
        if isinstance(obj, (dict, Mapping)):
            if attribute in obj:
                value = obj[attribute]
                return value if value is not None else Unknown(obj=obj, name=attribute)
            if attribute not in _MAPPING_METHODS:
                return self.undefined(obj=obj, name=attribute)
        return super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """`obj[argument]`, the same."""
        if isinstance(argument, str) and isinstance(obj, (dict, Mapping)):
            return self.getattr(obj, argument)
        return super().getitem(obj, argument)

    def wrap_str_format(self, value: Any) -> None:  # noqa: ARG002 - jinja2's signature
        """No `str.format`: jinja2 makes it safe for the process, but a width of 10**9 is none for its memory."""
        return

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Nothing that starts with _, and of plain values only what a message has use for."""
        if not super().is_safe_attribute(obj, attr, value):
            return False
        match obj:
            case str():
                return attr in _TEXT_METHODS
            case dict() | Mapping():
                return attr in _MAPPING_METHODS
            case date() | time() | timedelta():
                return attr in _TIME_METHODS
            case int() | float() | bytes() | list() | tuple() | set() | frozenset():
                return False
            case _:
                return True

    def call(self, context: Any, function: Any, /, *args: Any, **options: Any) -> Any:
        """A call from a template, charged."""
        budget.spend()
        return charged(super().call(context, function, *args, **options))

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:  # noqa: ARG002 - the same
        """An operator whose result is known to be small before it is made."""
        match operator, left, right:
            case "+", (str() | list() | tuple()), (str() | list() | tuple()):
                if len(left) + len(right) > TEXT_CHARS_MAX:
                    too_much("more text than a message can need")
            case "*", (str() | list() | tuple()), int():
                _check_repeated(left, right)
            case "*", int(), (str() | list() | tuple()):
                _check_repeated(right, left)
            case "**", int(), int() if left.bit_length() * abs(right) > INTEGER_BITS_MAX:
                too_much("a number of that size")
            case "%", str(), _:
                message = "% formats no text in a message; write values with ~ or {{ }}"
                raise SecurityError(message)
        return charged(self.binop_table[operator](left, right))

    def beat(self, work: int) -> None:
        """One turn of a loop, or one run of a macro, with what it prints."""
        budget.left -= work
        if budget.left < 0:
            budget.spend(0)

    def shown_text(self, value: Any) -> str:
        """What `{{ value }}` shows in text."""
        kind = type(value)
        text = value if kind is str else str(value) if kind is int else str(_printed(value))
        if len(text) >= CHARS_PER_WORK:
            budget.spend(len(text) // CHARS_PER_WORK)
        return text

    def shown_html(self, value: Any) -> str:
        """What `{{ value }}` shows in HTML: escaped, but for what is HTML already."""
        kind = type(value)
        if kind is str:
            text = str(escape(value)) if _IN_HTML(value) else value
        elif kind is int or kind is float:
            text = str(_printed(value))
        else:
            text = str(escape(_printed(value)))
        if len(text) >= CHARS_PER_WORK:
            budget.spend(len(text) // CHARS_PER_WORK)
        return text

    def concat_charged(self, parts: tuple[Any, ...]) -> str:
        """`a ~ b`, escaped where one part is HTML already."""
        size = sum(map(text_size, parts))
        if size > TEXT_CHARS_MAX:
            too_much(f"a text of {size} characters")
        printed = [_printed(part) for part in parts]
        if self.autoescape or any(isinstance(part, Markup) for part in printed):
            made: str = Markup("").join(map(escape, printed))
        else:
            made = "".join(map(str, printed))
        charged(made)
        return made


# What weighs nothing as a filter's argument: asked first, for most are.
_LIGHT = frozenset({str, Markup, float, bool, type(None), GeneratorType, Context, EvalContext, Sandbox})


def _printing(body: Iterable[nodes.Node]) -> int:
    """The work of printing a block once: one a value, and one for every 64 characters of its own text; loops inside pay themselves."""
    work = chars = 0
    for node in body:
        if isinstance(node, nodes.TemplateData):
            chars += len(node.data)
        elif isinstance(node, nodes.Output):
            work += sum(not isinstance(child, nodes.TemplateData) for child in node.nodes) + _printing(node.nodes)
        elif not isinstance(node, nodes.For | nodes.Macro | nodes.CallBlock | nodes.Expr):
            work += _printing(node.iter_child_nodes())
    return work + chars // CHARS_PER_WORK


def _check_repeated(values: Sequence[Any], times: int) -> None:
    each = len(values) if isinstance(values, str) else max(1, text_size(values))
    if each * max(0, times) > TEXT_CHARS_MAX:
        too_much(f"{times} times the same")


def _short_range(*numbers: int) -> range:
    """`range(…)` of at most 10,000 numbers."""
    counted = range(*numbers)
    if len(counted) > NUMBER_MAX:
        too_much(f"a range of {len(counted)} numbers")
    return counted


def _printed(value: Any) -> Any:
    """What `{{ value }}` shows: lists as `a, b`, never None, never a mapping."""
    if type(value) is float:
        return int(value) if value.is_integer() else value  # 49, not 49.0
    match value:
        case float():
            return _printed(float(value))
        case str() | int() | Undefined():
            return value
        case None:
            message = "missing variable: a value is unknown (None)"
            raise MissingName(message)
        case list() | tuple() | set() | frozenset():
            if text_size(tuple(value)) > TEXT_CHARS_MAX:
                too_much("more text than a message can need")
            return ", ".join(str(_printed(entry)) for entry in value)
        case date() | time() | timedelta():
            return str(value)
        case _ if hasattr(value, "__html__"):
            return value
        case _:
            message = f"the template prints a {type(value).__name__}, which is no text"
            raise SecurityError(message)


@functools.cache
def sandbox(*, html: bool) -> Sandbox:
    """The environment for HTML (values are escaped), or for text (they are not)."""
    return Sandbox(html=html)


@functools.lru_cache(maxsize=4_096)
def compiled(source: str, *, html: bool) -> Template:
    """A template ready to run.

    Raises:
        jinja2.TemplateSyntaxError: it is none.
    """
    return sandbox(html=html).from_string(source)


def render(template: Template, variables: dict[str, Any]) -> str:
    """Run a template within its budget.

    Raises:
        MissingName: it uses a name that is not there, or not known.
        Runaway: it asks for too much.
        Exception: whatever else its expressions run into, such as comparing text with a number.
    """
    budget.left = WORK_MAX
    environment = template.environment
    context = Context(environment, {**environment.globals, **variables}, template.name, template.blocks)
    (parts,) = template.root_render_func(context)
    text = "".join(parts)
    if len(text) > OUTPUT_CHARS_MAX:
        too_much(f"a message of more than {OUTPUT_CHARS_MAX} characters")
    return text


def reason_of(error: Exception) -> str:
    """Why a template failed, in one line for whoever asks what became of a message."""
    if isinstance(error, MissingName | Runaway):
        return str(error)
    if isinstance(error, RecursionError):
        return "the template calls itself too deeply"
    kind = "" if isinstance(error, TemplateError) else f"{type(error).__name__}: "
    return f"template: {kind}{error}"
