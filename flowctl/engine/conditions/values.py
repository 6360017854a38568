"""Typed values as SQL: fields, paths in JSON, literals, and `{from: …, plus: …}`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from flowctl.engine.conditions.literal import identifier, json_path, literal
from flowctl.engine.conditions.scope import Frame
from flowctl.language.durations import DAY_MS
from flowctl.language.values import From

if TYPE_CHECKING:
    from flowctl.engine.conditions.scope import Scope
    from flowctl.language.durations import Duration
    from flowctl.language.settings import FieldType

TODAY = "today"  # as a literal where a date is expected
NUMBERS = frozenset({"number", "integer"})
DATES = frozenset({"date", "datetime"})
# Where each root of a `from` is found in an enrollment. What `start` handed over lies in `data` under a name of its own.
DOCUMENTS = {"trigger": ("w.trigger", ""), "data": ("w.data", ""), "input": ("w.data", "input.")}


@dataclass(frozen=True, kw_only=True, slots=True)
class Operand:
    """SQL of a value that is NULL where it is unknown or of another type; `fixed` ones are never NULL."""

    sql: str
    type: FieldType | None  # None: what JSON says
    fixed: bool = False


UNKNOWN = "NULL"


def value_sql(value: Any, type_: FieldType, scope: Scope) -> str:
    """SQL of a literal or a `from`, cast to a field's type; NULL where it is unknown or of another type."""
    return operand_of(value, type_, Frame(scope=scope)).sql


def column(name: str, frame: Frame) -> Operand:
    """A contact's field.

    Raises:
        KeyError: there is no such field.
    """
    return Operand(sql=f"c.{identifier(name)}", type=frame.scope.field_types[name])


def json_value(document: str, path: str, type_: FieldType | None) -> Operand:
    """A value in a JSON document, judged by its type: text that reads like a number is no number."""
    where = json_path(path)
    value, kind = f"json_extract({document}, {where})", f"json_type({document}, {where})"
    match type_:
        case None:
            sql = value
        case "number" | "integer":
            sql = f"CASE WHEN {kind} IN ('integer', 'real') THEN {value} END"
        case "boolean":  # a stored field says it as 0 and 1
            sql = f"CASE {kind} WHEN 'true' THEN 1 WHEN 'false' THEN 0 WHEN 'integer' THEN {value} END"
        case "date":
            sql = f"CASE {kind} WHEN 'text' THEN date({value}) END"
        case "datetime":
            sql = f"CASE {kind} WHEN 'integer' THEN {value} WHEN 'text' THEN unixepoch({value}) * 1000 END"
        case "tags":  # an event holds them as a list, a field's old and new value as the text of one
            sql = f"CASE WHEN {kind} = 'array' OR json_valid({value}) THEN {value} END"
        case _:
            sql = f"CASE {kind} WHEN 'text' THEN {value} END"
    return Operand(sql=sql, type=type_)


def operand_of(value: Any, type_: FieldType | None, frame: Frame) -> Operand:
    """A literal or a `from` as a value of the type it is compared with."""
    if isinstance(value, From):
        return _from(value, type_, frame)
    if type_ == "date" and value == TODAY:
        return Operand(sql=frame.today, type=type_)
    stored = stored_value(value, type_, frame.scope.zone_name)
    return Operand(sql=literal(stored), type=type_, fixed=stored is not None)


def stored_value(value: Any, type_: FieldType | None, zone_name: str) -> str | int | float | None:
    """A literal as the store keeps values of a type; None where it is none of that type."""
    match type_:
        case "number" | "integer":
            return _number(value)
        case "boolean":
            return int(value) if isinstance(value, bool) or value in (0, 1) else None
        case "date":
            moment = _moment(value)
            return None if moment is None else moment.date().isoformat()
        case "datetime":
            from flowctl.engine.localtime import instant  # noqa: PLC0415 - only where a time is written out

            moment = _moment(value)
            return None if moment is None else instant(moment, zone_name)
        case None:
            return value if isinstance(value, str | int | float) else None
        case _:
            return str(value).lower() if isinstance(value, bool) else str(value)


def is_date_only(value: Any) -> bool:
    """Whether a literal names a whole day."""
    return isinstance(value, str) and len(value) == len("2026-12-24") and _moment(value) is not None


def plus_days(sql: str, duration: Duration, *, sign: int = 1) -> str:
    """A date with a span added, in whole days; a month that is too short gives its last day."""
    months, days = sign * duration.months, sign * (duration.days + int(duration.ms / DAY_MS))
    if months:
        ends = f"date({sql}, 'start of month', '{months + 1:+d} months', '-1 day')"
        sql = f"min(date({sql}, '{months:+d} months'), {ends})"
    return f"date({sql}, '{days:+d} days')" if days else sql


def plus_elapsed(sql: str, duration: Duration, *, sign: int = 1) -> str:
    """An instant with a span added, as elapsed time."""
    return f"({sql} {sign * duration.elapsed_ms:+d})" if duration.elapsed_ms else sql


def local_date(sql: str, frame: Frame) -> str:
    """The local date of an instant, by the offset the contact's zone has now."""
    return f"date(({sql} + {frame.offset}) / 1000, 'unixepoch')"


def _from(value: From, type_: FieldType | None, frame: Frame) -> Operand:
    operand = _source(value.from_, type_, frame)
    for duration, sign in ((value.plus, 1), (value.minus, -1)):
        if duration is None:
            continue
        if operand.type == "date":
            operand = replace(operand, sql=plus_days(operand.sql, duration, sign=sign))
        else:
            operand = replace(operand, sql=plus_elapsed(operand.sql, duration, sign=sign))
    return operand


def _source(source: str, type_: FieldType | None, frame: Frame) -> Operand:
    root, _, path = source.partition(".")
    if root == "now":
        return (
            Operand(sql=frame.today, type="date")
            if type_ == "date"
            else Operand(sql=":now", type=type_ or "datetime", fixed=True)
        )
    if root == "contact":
        return _as(column(path, frame), type_, frame)
    document, prefix = DOCUMENTS[root]
    if type_ == "date":  # `trigger.at` is an instant
        at = json_value(document, prefix + path, "datetime").sql
        day = json_value(document, prefix + path, "date").sql
        return Operand(sql=f"coalesce({day}, {local_date(at, frame)})", type="date")
    return json_value(document, prefix + path, type_)


def _as(operand: Operand, type_: FieldType | None, frame: Frame) -> Operand:
    have = operand.type
    if type_ is None or have == type_ or {have, type_} <= NUMBERS:
        return operand
    if have == "datetime" and type_ == "date":
        return Operand(sql=local_date(operand.sql, frame), type="date")
    if have == "date" and type_ == "datetime":
        return Operand(sql=f"(unixepoch({operand.sql}) * 1000 - {frame.offset})", type="datetime")
    if have in (*NUMBERS, *DATES, "boolean", "tags") or type_ in (*NUMBERS, *DATES, "boolean", "tags"):
        return Operand(sql=UNKNOWN, type=type_)
    return operand  # text, choice, email and phone are all text


def _number(value: Any) -> float | int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return value
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _moment(value: Any) -> datetime | None:
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day)  # noqa: DTZ001 - local; which zone is the caller's
    try:
        return datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
