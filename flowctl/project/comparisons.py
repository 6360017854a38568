"""Which operators and values fit the type of what they are compared with."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from flowctl.language import durations
from flowctl.language.faults import found, listed, nearest
from flowctl.language.values import Comparison, From

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from flowctl.language.settings import FieldType

_EQUALITY = ("is", "is_not", "in", "not_in")
_ORDER = ("gt", "gte", "lt", "lte", "between")
_TEXT = (*_EQUALITY, "contains", "starts_with", "known")
_TIME = (*_EQUALITY, "before", "after", "within_next", "within_last", "anniversary", "known")
OPERATORS_OF: dict[FieldType, tuple[str, ...]] = {
    "text": _TEXT,
    "email": _TEXT,
    "phone": _TEXT,
    "choice": _TEXT,
    "number": (*_EQUALITY, *_ORDER, "known"),
    "integer": (*_EQUALITY, *_ORDER, "known"),
    "boolean": (*_EQUALITY, "known"),
    "date": _TIME,
    "datetime": _TIME,
    "tags": ("has", "has_any", "has_all", "known"),
}
_SPOKEN: dict[FieldType, str] = {
    "text": "a text",
    "email": "an e-mail address",
    "phone": "a phone number",
    "choice": "a choice",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "date": "a date",
    "datetime": "a date and time",
    "tags": "a set of tags",
}
_FAMILY: dict[FieldType, str] = {
    "text": "text", "email": "text", "phone": "text", "choice": "text", "number": "number", "integer": "number",
    "boolean": "boolean", "date": "time", "datetime": "time", "tags": "tags",
}  # fmt: skip
_INSTEAD = {
    ("time", "gt"): "after", ("time", "gte"): "after", ("time", "lt"): "before", ("time", "lte"): "before",
    ("tags", "is"): "has", ("tags", "contains"): "has", ("tags", "in"): "has_any", ("number", "after"): "gt", ("number", "before"): "lt",
    ("text", "has"): "contains", ("text", "has_any"): "in",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Misfit:
    """What does not fit: the operator to point at (empty: the value itself), which item of its list, why, what to do."""

    operator: str
    item: int | None
    message: str
    help: str = ""


def spoken(type_: FieldType) -> str:
    """A type in words."""
    return _SPOKEN[type_]


def same_family(one: FieldType, other: FieldType) -> bool:
    """Whether values of two types can be compared."""
    return _FAMILY[one] == _FAMILY[other]


def misfits(asked: Comparison, called: str, type_: FieldType, values: Sequence[str] | None) -> Iterator[Misfit]:
    """What of a comparison does not fit `called`, which has the type, and for choices and tags the values it may have."""
    allowed = OPERATORS_OF[type_]
    for operator, value in asked.operators().items():
        if operator not in allowed:
            instead = _INSTEAD.get((_FAMILY[type_], operator))
            help_ = f"write `{instead}:`" if instead else f"{_SPOKEN[type_]} takes {listed(allowed)}"
            yield Misfit(operator, None, f"`{operator}` does not fit `{called}`, which is {_SPOKEN[type_]}", help_)
        elif operator == "anniversary":
            if value != "today" and not _is_duration(value):
                yield Misfit(
                    operator, None, f"`anniversary` is `today` or an offset; found {found(value)}", "write it like -7d"
                )
        elif operator not in ("known", "within_next", "within_last", "contains", "starts_with"):
            yield from _values(operator, value, called, type_, values)


def misfit(value: Any, called: str, type_: FieldType, values: Sequence[str] | None) -> Misfit | None:
    """Why a single value does not fit; None where it does, or where only running will tell (a template, a value from elsewhere)."""
    if value is None or isinstance(value, From) or (isinstance(value, str) and "{{" in value):
        return None
    if _fits(value, type_):
        if values is None or type_ not in ("choice", "tags") or value in values:
            return None
        near = nearest(value, values)
        return Misfit(
            "",
            None,
            f"`{called}` is never `{value}`{f'; did you mean `{near}`?' if near else ''}",
            f"it can be {listed(values)}",
        )
    return Misfit("", None, f"`{called}` is {_SPOKEN[type_]}; found {found(value)}", _advice(value, type_, values))


def _values(operator: str, value: Any, called: str, type_: FieldType, values: Sequence[str] | None) -> Iterator[Misfit]:
    many = isinstance(value, list)
    for index, one in enumerate(value if many else [value]):
        if wrong := misfit(one, called, type_, values):
            yield Misfit(operator, index if many else None, wrong.message, wrong.help)


def _fits(value: object, type_: FieldType) -> bool:
    match type_:
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "integer":
            return (isinstance(value, int) and not isinstance(value, bool)) or (
                isinstance(value, float) and value.is_integer()
            )
        case "boolean":
            return isinstance(value, bool)
        case "date":
            return _is_iso(value, date)
        case "datetime":
            return _is_iso(value, datetime)
        case _:
            return isinstance(value, str)


def _is_iso(value: object, kind: type[date]) -> bool:
    try:
        kind.fromisoformat(value if isinstance(value, str) else "")
    except ValueError:
        return False
    return True


def _is_duration(value: object) -> bool:
    try:
        durations.parse(value)
    except durations.NotADuration:
        return False
    return True


def _advice(value: object, type_: FieldType, values: Sequence[str] | None) -> str:
    if values:
        return f"it can be {listed(values)}"
    match _FAMILY[type_]:
        case "text":
            return f'write "{str(value).lower() if isinstance(value, bool) else value}" with quotes if it is a text'
        case "number" if isinstance(value, str):
            return "write the number without quotes, with a point and without units"
        case "boolean":
            return "write true or false"
        case "time":
            return "write it like 2026-12-24" if type_ == "date" else "write it like 2026-12-24T09:00"
        case _:
            return ""
