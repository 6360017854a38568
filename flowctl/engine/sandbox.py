"""The one place that runs templates: Jinja2 in a sandbox with strict names and a budget of work.

jinja2's sandbox keeps a template from the process, not from its memory and time: `'x' * 10**9` passes it. Here every
loop turn, macro call, filter and operator is charged to `budget`. This bounds what a template can ask for step by step; a hard
limit on memory belongs to the process that renders.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from datetime import date, time, timedelta
from typing import TYPE_CHECKING, Any, NoReturn

import markupsafe
from jinja2 import StrictUndefined, Undefined, nodes
from jinja2.exceptions import SecurityError, TemplateError, TemplateRuntimeError, TemplateSyntaxError, UndefinedError
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
    searched,
    text_size,
    too_much,
)
from flowctl.engine.filters import LIGHT, filters, tests
from flowctl.engine.generated import Generator, Names, beating
from flowctl.engine.references import in_references

if TYPE_CHECKING:
    from jinja2 import Template

# markupsafe's own way with plain text, which makes no Markup of it; it is no public name of that library.
escaped: Callable[[str], str] = getattr(markupsafe, "_escape_inner", None) or (lambda text: str(escape(text)))

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


class _Nothing(Undefined):
    """What is not there: whatever takes a number fails, and says which name."""

    __slots__ = ()

    def __init__(
        self,
        hint: str | None = None,
        obj: Any = missing,
        name: str | None = None,
        exc: type[TemplateRuntimeError] = MissingName,
    ) -> None:
        super().__init__(hint, obj, name, exc)

    def _not_there(self, *_: object) -> NoReturn:
        raise MissingName(self._undefined_message)

    # Those that jinja2 leaves to Python.
    __round__ = __abs__ = __index__ = __trunc__ = __floor__ = __ceil__ = _not_there


class Missing(_Nothing, StrictUndefined):
    """A name that nobody provides: any use but `is defined` and `|default` fails, and says which name."""

    __slots__ = ()

    @property
    def _undefined_message(self) -> str:
        return self._undefined_hint or f"missing variable {_name_of(self)}"


class Unknown(_Nothing):
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


class Sandbox(ImmutableSandboxedEnvironment):
    """Jinja2 for messages: autoescape for HTML, none for text; no files, no imports, no state."""

    code_generator_class = Generator
    context_class = Names
    intercepted_binops = frozenset({"+", "*", "**", "%", "-", "/", "//"})

    def __init__(self, *, html: bool, references: bool = False) -> None:
        """`references`: HTML in which values stand as ASCII, with references (`&#233;`) for the rest."""
        super().__init__(undefined=Missing, autoescape=html, finalize=_printed, auto_reload=False, cache_size=0)
        self.filters = filters()
        self.tests = tests()
        self._references = references
        self.escaped = _escaped_in_references if references else escaped
        self.globals = {"range": _short_range, "namespace": self.globals["namespace"]}

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        """A tree in which every loop and macro beats, so that none runs for ever."""
        tree = super()._parse(source, name, filename)
        for forbidden in tree.find_all((nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)):
            message = "a message's template stands alone: no include, import or extends"
            raise TemplateSyntaxError(message, forbidden.lineno)
        return beating(tree)

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
        searched(getattr(function, "__self__", None))
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

    def shown_text(self, value: Any) -> str:
        """What `{{ value }}` shows in text."""
        kind = type(value)
        if kind is int or kind is float:
            return shown_number(value)
        text = value if kind is str else str(_printed(value))
        return text if len(text) < CHARS_PER_WORK else long(text)

    def shown_html(self, value: Any) -> str:
        """What `{{ value }}` shows in HTML: escaped, but for what is HTML already."""
        kind = type(value)
        if kind is int or kind is float:
            return shown_number(value)
        if kind is str:
            text = self.escaped(value)
        else:
            text = str(escape(_printed(value)))
            text = in_references(text) if self._references else text
        return text if len(text) < CHARS_PER_WORK else long(text)

    @property
    def turn(self) -> bool:
        """True; a turn of a loop whose condition is asked for next, paid."""
        budget.spend()
        return True

    def concat_charged(self, parts: tuple[Any, ...], html: object) -> str:
        """`a ~ b`; in HTML escaped where one part is HTML already, and else no sooner than it is printed."""
        size = sum(map(text_size, parts))
        if size > TEXT_CHARS_MAX:
            too_much(f"a text of {size} characters")
        printed = [_printed(part) for part in parts]
        if html and any(isinstance(part, Markup) for part in printed):
            made: str = Markup("").join(map(escape, printed))
        else:
            made = "".join(map(str, printed))
        charged(made)
        return made


LIGHT.update({Names, Sandbox})


def _escaped_in_references(text: str) -> str:
    return in_references(escaped(text))


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


def shown_number(value: float) -> str:
    """What a number shows: 49, not 49.0."""
    text = str(int(value)) if type(value) is float and value.is_integer() else str(value)
    return text if len(text) < CHARS_PER_WORK else long(text)


def long(text: str) -> str:
    """A text that is paid for when it is shown."""
    budget.spend(len(text) // CHARS_PER_WORK)
    return text


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
def sandbox(*, html: bool, references: bool = False) -> Sandbox:
    """The environment for HTML (values are escaped), or for text (they are not)."""
    return Sandbox(html=html, references=references)


@functools.lru_cache(maxsize=4_096)
def compiled(source: str, *, html: bool, references: bool = False) -> Template:
    """A template ready to run.

    Raises:
        jinja2.TemplateSyntaxError: it is none.
    """
    return sandbox(html=html, references=references).from_string(source)


def render(template: Template, variables: dict[str, Any]) -> str:
    """Run a template within its budget.

    Raises:
        MissingName: it uses a name that is not there, or not known.
        Runaway: it asks for too much.
        Exception: whatever else its expressions run into, such as comparing text with a number.
    """
    context = Names(template.environment, variables, template.name, template.blocks)
    context.account.left = WORK_MAX
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
