"""The one place that runs templates: Jinja2 in a sandbox with strict names and a budget of work.

jinja2's sandbox keeps a template from the process, not from its memory and time: `'x' * 10**9` passes it. Here every
loop turn, macro call, filter and operator is charged to a budget that counts work and not seconds, so that the same
template with the same data ends the same way on every machine. This bounds what a template can ask for step by step;
a hard limit on memory belongs to the process that renders.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Mapping, Sequence
from datetime import date, time, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any, NoReturn

from jinja2 import StrictUndefined, Undefined, nodes
from jinja2.compiler import CodeGenerator
from jinja2.exceptions import SecurityError, TemplateError, TemplateRuntimeError, TemplateSyntaxError, UndefinedError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import missing
from markupsafe import Markup, escape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from jinja2 import Template
    from jinja2.compiler import Frame

WORK_MAX = 200_000  # loop turns and calls, and one for every 64 characters made: about half a second at worst
OUTPUT_CHARS_MAX = 1_000_000
TEXT_CHARS_MAX = 250_000  # of any value on the way
NUMBER_MAX = 10_000  # the most an argument may count: a width, a repetition, a range
INTEGER_BITS_MAX = 256
CHARS_PER_WORK = 64
_NUMBER_CHARS = 32  # of what is no text, when it is printed
_PARTS = 64  # of a text between two looks at its length

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


class Runaway(SecurityError):
    """A template asked for more work or text than a message can need."""


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


class _Budget(threading.local):
    """What is left of the work of the rendering under way; one a thread."""

    left = 0

    def spend(self, work: int = 1) -> None:
        self.left -= work
        if self.left < 0:
            message = "the template runs away: more loops and text than a message can need"
            raise Runaway(message)


_budget = _Budget()


def _charged(value: Any) -> Any:
    """A value on its way, paid for."""
    if isinstance(value, str):
        if len(value) > TEXT_CHARS_MAX:
            _too_much(f"a text of {len(value)} characters")
        _budget.spend(1 + len(value) // CHARS_PER_WORK)
    elif isinstance(value, list | tuple):
        if len(value) > NUMBER_MAX:
            _too_much(f"a list of {len(value)} entries")
        _budget.spend(1 + len(value))
    elif isinstance(value, int) and value.bit_length() > INTEGER_BITS_MAX:
        _too_much("a number of that size")
    return value


def _too_much(what: str) -> NoReturn:
    message = f"the template asks for {what}"
    raise Runaway(message)


def _text_size(value: Any) -> int:
    """Characters that printing a value makes, at most. Paid for: lists that hold each other twice are endless."""
    match value:
        case str():
            return len(value)
        case int() | float():
            return _NUMBER_CHARS
        case dict() | Mapping():  # asking an abstract class costs more than all the rest
            _budget.spend(1 + len(value))
            return _texts_size(value) + _texts_size(value.values())
        case list() | tuple():
            _budget.spend(1 + len(value))
            return _texts_size(value) + 2 * len(value)
        case _:
            return _NUMBER_CHARS


def _texts_size(values: Iterable[Any]) -> int:
    size = 0
    for value in values:
        kind = type(value)
        if kind is str:
            size += len(value)
        elif kind is int or kind is float:
            size += _NUMBER_CHARS
        else:
            size += _text_size(value)
    return size


def _guarded(function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter that may not count far, take much text apart, or make much."""

    @functools.wraps(function)  # copies the mark of filters that want the environment or context
    def guarded(*args: Any, **options: Any) -> Any:
        for value in (*args, *options.values()):
            if (
                isinstance(value, int)
                and not isinstance(value, bool)
                and abs(value) > NUMBER_MAX
                and function.__name__ in _COUNTING
            ):
                _too_much(f"{value} of something")
            if isinstance(value, list | tuple | dict) and _text_size(value) > TEXT_CHARS_MAX:
                _too_much("more text than a message can need")
        return _charged(function(*args, **options))

    return guarded


_COUNTING = frozenset({"do_center", "do_indent", "do_batch", "do_slice", "do_truncate", "do_round"})


def _replace(text: Any, old: str, new: str, count: int | None = None) -> str:
    """`|replace`, with the size of its result known before it is made."""
    text, old, new = str(text), str(old), str(new)
    grown = len(text) + (text.count(old) if old else len(text) + 1) * len(new)
    if grown > TEXT_CHARS_MAX:
        _too_much(f"a text of {grown} characters")
    return str(text).replace(old, new, -1 if count is None else count)


class _Generator(CodeGenerator):
    """Python code in which every turn of a loop is charged, and `~` like every other operator."""

    def visit_Continue(self, node: nodes.Continue, frame: Frame) -> None:  # noqa: ARG002, N802 - jinja2's signature
        # jinja2 allows no node types of one's own, and `continue` exists only with an extension that is not loaded here.
        self.writeline("environment.beat()", node)

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
        self.filters = {name: _guarded(function) for name, function in self.filters.items() if name in _FILTERS}
        self.filters["replace"] = _guarded(_replace)
        self.globals = {"range": _short_range, "namespace": self.globals["namespace"]}

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        """A tree in which every loop and macro beats, so that none runs for ever."""
        tree = super()._parse(source, name, filename)
        for forbidden in tree.find_all((nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)):
            message = "a message's template stands alone: no include, import or extends"
            raise TemplateSyntaxError(message, forbidden.lineno)
        for node in tree.find_all((nodes.For, nodes.Macro, nodes.CallBlock)):
            assert isinstance(node, nodes.For | nodes.Macro | nodes.CallBlock)  # noqa: S101 - tells mypy what find_all knows
            node.body.insert(0, nodes.Continue(lineno=node.lineno))
        return tree

    def getattr(self, obj: Any, attribute: str) -> Any:
        """`obj.attribute`: a mapping's own key first, so that `trigger.items` is what the event said."""
        if isinstance(obj, dict | Mapping):
            if attribute in obj:
                value = obj[attribute]
                return value if value is not None else Unknown(obj=obj, name=attribute)
            if attribute not in _MAPPING_METHODS:
                return self.undefined(obj=obj, name=attribute)
        return super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """`obj[argument]`, the same."""
        if isinstance(argument, str) and isinstance(obj, dict | Mapping):
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
        _budget.spend()
        return _charged(super().call(context, function, *args, **options))

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:  # noqa: ARG002 - the same
        """An operator whose result is known to be small before it is made."""
        match operator, left, right:
            case "+", (str() | list() | tuple()), (str() | list() | tuple()):
                if len(left) + len(right) > TEXT_CHARS_MAX:
                    _too_much("more text than a message can need")
            case "*", (str() | list() | tuple()), int():
                _check_repeated(left, right)
            case "*", int(), (str() | list() | tuple()):
                _check_repeated(right, left)
            case "**", int(), int() if left.bit_length() * abs(right) > INTEGER_BITS_MAX:
                _too_much("a number of that size")
            case "%", str(), _:
                message = "% formats no text in a message; write values with ~ or {{ }}"
                raise SecurityError(message)
        return _charged(self.binop_table[operator](left, right))

    def beat(self) -> None:
        """One turn of a loop, or one run of a macro."""
        _budget.spend()

    def concat_charged(self, parts: tuple[Any, ...]) -> str:
        """`a ~ b`, escaped where one part is HTML already."""
        size = sum(map(_text_size, parts))
        if size > TEXT_CHARS_MAX:
            _too_much(f"a text of {size} characters")
        printed = [_printed(part) for part in parts]
        if self.autoescape or any(isinstance(part, Markup) for part in printed):
            made: str = Markup("").join(map(escape, printed))
        else:
            made = "".join(map(str, printed))
        _charged(made)
        return made


def _check_repeated(values: Sequence[Any], times: int) -> None:
    each = len(values) if isinstance(values, str) else max(1, _text_size(values))
    if each * max(0, times) > TEXT_CHARS_MAX:
        _too_much(f"{times} times the same")


def _short_range(*numbers: int) -> range:
    """`range(…)` of at most 10,000 numbers."""
    counted = range(*numbers)
    if len(counted) > NUMBER_MAX:
        _too_much(f"a range of {len(counted)} numbers")
    return counted


def _printed(value: Any) -> Any:
    """What `{{ value }}` shows: lists as `a, b`, never None, never a mapping."""
    match value:
        case float():
            return int(value) if value.is_integer() else value  # 49, not 49.0
        case str() | int() | Undefined():
            return value
        case None:
            message = "missing variable: a value is unknown (None)"
            raise MissingName(message)
        case list() | tuple() | set() | frozenset():
            if _text_size(tuple(value)) > TEXT_CHARS_MAX:
                _too_much("more text than a message can need")
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
    """Run a template within its budget; see `render_parts`."""
    return "".join(render_parts(template, variables))


def render_parts(template: Template, variables: dict[str, Any]) -> list[str]:
    """Run a template within its budget; what it makes, in pieces: the template's own text is the same object each time.

    Raises:
        MissingName: it uses a name that is not there, or not known.
        Runaway: it asks for too much.
        Exception: whatever else its expressions run into, such as comparing text with a number.
    """
    _budget.left = WORK_MAX
    parts: list[str] = []
    size = 0
    # Shared: the variables are taken as they are, so that the globals have to be among them.
    source = iter(
        template.root_render_func(template.new_context({**template.environment.globals, **variables}, shared=True))
    )
    while some := list(islice(source, _PARTS)):
        size += sum(map(len, some))
        if size > OUTPUT_CHARS_MAX:
            _too_much(f"a message of more than {OUTPUT_CHARS_MAX} characters")
        parts += some
    return parts


def reason_of(error: Exception) -> str:
    """Why a template failed, in one line for whoever asks what became of a message."""
    if isinstance(error, MissingName | Runaway):
        return str(error)
    if isinstance(error, RecursionError):
        return "the template calls itself too deeply"
    kind = "" if isinstance(error, TemplateError) else f"{type(error).__name__}: "
    return f"template: {kind}{error}"
