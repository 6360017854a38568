"""The operators of a comparison as SQL, two-valued: a comparison with an unknown value is false, its negation true."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from flowctl.engine.conditions.literal import listed, literal
from flowctl.engine.conditions.values import (
    DATES,
    TODAY,
    Operand,
    is_date_only,
    local_date,
    operand_of,
    plus_days,
    plus_elapsed,
    stored_value,
)
from flowctl.engine.segments import Probe
from flowctl.language.durations import parse
from flowctl.language.values import From, comparison

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.engine.conditions.scope import Frame
    from flowctl.language.settings import FieldType
    from flowctl.language.values import Comparison

_ORDER = {"gt": ">", "after": ">", "gte": ">=", "lt": "<", "before": "<", "lte": "<="}
_OPPOSITE = {"is_not": "is", "not_in": "in"}
_FEBRUARY_29 = "'02-29'"


def comparison_sql(operand: Operand, asked: Comparison, frame: Frame, *, negated: bool = False) -> str:
    """All operators of a comparison with one value; negated: not all of them."""
    parts = [_one(operand, name, value, frame, negated=negated) for name, value in asked.operators().items()]
    return joined(parts, " OR " if negated else " AND ")


def joined(parts: list[str], word: str) -> str:
    """Several conditions as one."""
    return parts[0] if len(parts) == 1 else f"({word.join(parts)})"


def opposite(sql: str, *, negated: bool) -> str:
    """A condition, or its exact opposite where it may be unknown."""
    return f"(({sql}) IS NOT TRUE)" if negated else sql


def inferred_type(asked: Any, frame: Frame) -> FieldType | None:
    """The type a comparison speaks of, by what it compares with; None where that does not say."""
    operators = comparison(asked).operators()
    for name, value in operators.items():
        values = value if isinstance(value, list) else [value]
        if name in ("has", "has_any", "has_all"):
            return "tags"
        for one in values:
            found = _type_of(name, one, frame)
            if found:
                return found
    return None


def _type_of(name: str, value: Any, frame: Frame) -> FieldType | None:
    if name in ("within_next", "within_last", "anniversary"):
        return "date"
    match value:
        case bool():
            return None if name == "known" else "boolean"
        case int() | float():
            return "number"
        case str() if name in ("before", "after"):
            return "date" if value == TODAY or is_date_only(value) else "datetime"
        case str():
            return "text"
        case From() if value.from_ == "now":
            return "datetime"
        case From() if value.from_.startswith("contact."):
            return frame.scope.field_types.get(value.from_.removeprefix("contact."))
    return None


def fields_read(asked: Any) -> list[str]:
    """The contact fields that a comparison takes values from."""
    return [value.from_.removeprefix("contact.") for value in sources(asked) if value.from_.startswith("contact.")]


def sources(asked: Any) -> list[From]:
    """Every `from` of a comparison."""
    found: list[From] = []
    for value in comparison(asked).operators().values():
        found += [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, From)]
    return found


def is_timed(asked: Any) -> bool:
    """Whether time alone can change the answer."""
    operators = comparison(asked).operators()
    if any(name in operators for name in ("within_next", "within_last", "anniversary")):
        return True
    literals = [one for value in operators.values() for one in (value if isinstance(value, list) else [value])]
    return TODAY in [one for one in literals if isinstance(one, str)] or any(
        source.from_ == "now" for source in sources(asked)
    )


def moment_probes(field: str, asked: Comparison) -> Iterator[Probe]:
    """When a datetime field's answer changes by itself: so long after its value."""
    for name, value in asked.operators().items():
        match name:
            case "within_last":
                edges = [0, value.elapsed_ms]
            case "within_next":
                edges = [0, -value.elapsed_ms]
            case _:
                values = value if isinstance(value, list) else [value]
                edges = [-_shift_ms(one) for one in values if isinstance(one, From) and one.from_ == "now"]
        for edge in edges:
            yield Probe(kind="moment", names=(field,), edge_ms=edge)


def by_local_date(asked: Comparison) -> bool:
    """Whether a datetime field is asked for its local date: only a new day can change the answer."""
    operators = asked.operators()
    return "anniversary" in operators or TODAY in [value for value in operators.values() if isinstance(value, str)]


def _shift_ms(value: From) -> int:
    return (value.plus.elapsed_ms if value.plus else 0) - (value.minus.elapsed_ms if value.minus else 0)


def _one(operand: Operand, name: str, value: Any, frame: Frame, *, negated: bool) -> str:
    if name in _OPPOSITE:
        return _one(operand, _OPPOSITE[name], value, frame, negated=not negated)
    match name:
        case "is":
            return _equal(operand, value, frame, negated=negated)
        case "in":
            parts = [_equal(operand, one, frame, negated=negated) for one in value]
            return _among(operand, value, frame, negated=negated) or joined(parts, " AND " if negated else " OR ")
        case "known":
            empty = f" AND {operand.sql} <> '[]'" if operand.type == "tags" else ""
            return opposite(f"({operand.sql} IS NOT NULL{empty})", negated=value == negated)
        case "has" | "has_any" | "has_all":
            return _has(operand, name, value, negated=negated)
        case "contains" if operand.type == "tags":
            return _has(operand, "has", value, negated=negated)
        case "contains":
            return opposite(f"instr({operand.sql}, {literal(value)}) > 0", negated=negated)
        case "starts_with":
            return opposite(f"substr({operand.sql}, 1, {len(value)}) = {literal(value)}", negated=negated)
        case "within_next" | "within_last" | "anniversary":
            return opposite(_calendar(operand, name, value, frame), negated=negated)
        case "between":
            parts = [_ordered(operand, "gte", value[0], frame), _ordered(operand, "lte", value[1], frame)]
            return opposite(f"({' AND '.join(parts)})", negated=negated)
        case _:
            return opposite(_ordered(operand, name, value, frame), negated=negated)


def _equal(operand: Operand, value: Any, frame: Frame, *, negated: bool) -> str:
    if operand.type == "tags":
        return _has(operand, "has", value, negated=negated)
    if operand.type == "datetime" and (value == TODAY or is_date_only(value)):
        parts = [_ordered(operand, "gte", value, frame), _ordered(operand, "lte", value, frame)]
        return opposite(f"({' AND '.join(parts)})", negated=negated)
    right = operand_of(value, operand.type, frame)
    if negated and right.fixed:
        return f"{operand.sql} IS DISTINCT FROM {right.sql}"
    return opposite(f"{operand.sql} = {right.sql}", negated=negated)


def _among(operand: Operand, values: list[Any], frame: Frame, *, negated: bool) -> str | None:
    """`in` as one list, where all of it is written out; None where not."""
    if operand.type in (*DATES, "tags") or any(isinstance(value, From) for value in values):
        return None
    return opposite(
        f"{operand.sql} IN {listed([operand_of(value, operand.type, frame).sql for value in values])}", negated=negated
    )


def _ordered(operand: Operand, name: str, value: Any, frame: Frame) -> str:
    sign = _ORDER[name]
    if operand.type == "datetime" and value == TODAY:
        return f"{local_date(operand.sql, frame)} {sign} {frame.today}"
    if operand.type == "datetime" and is_date_only(value):
        # A day is from its midnight to the next: after it begins with the next day, up to it includes it.
        day = date.fromisoformat(value) + timedelta(days=sign in (">", "<="))
        sign = {">": ">=", "<=": "<"}.get(sign, sign)
        return f"{operand.sql} {sign} {literal(stored_value(day, 'datetime', frame.scope.zone_name))}"
    right = operand_of(value, operand.type, frame)
    if operand.type is None:  # both as JSON has them: SQLite puts any text after any number
        return (
            f"((typeof({operand.sql}) = 'text') = (typeof({right.sql}) = 'text') AND {operand.sql} {sign} {right.sql})"
        )
    return f"{operand.sql} {sign} {right.sql}"


def _has(operand: Operand, name: str, value: Any, *, negated: bool) -> str:
    wanted = value if isinstance(value, list) else [value]
    tests = (
        [f"t.value IN {listed([literal(one) for one in wanted])}"]
        if name == "has_any"
        else [f"t.value = {literal(one)}" for one in wanted]
    )
    word = "NOT EXISTS" if negated else "EXISTS"
    parts = [f"{word} (SELECT 1 FROM json_each({operand.sql}) t WHERE {test})" for test in tests]
    return joined(parts, " OR " if negated else " AND ")


def _calendar(operand: Operand, name: str, value: Any, frame: Frame) -> str:
    if name == "anniversary":
        day = local_date(operand.sql, frame) if operand.type == "datetime" else operand.sql
        return _anniversary(day, str(value), frame)
    if operand.type == "datetime":
        if name == "within_last":
            return f"({operand.sql} > {plus_elapsed(':now', value, sign=-1)} AND {operand.sql} <= :now)"
        return f"({operand.sql} > :now AND {operand.sql} <= {plus_elapsed(':now', value)})"
    if name == "within_last":
        return f"({operand.sql} >= {plus_days(frame.today, value, sign=-1)} AND {operand.sql} <= {frame.today})"
    return f"({operand.sql} >= {frame.today} AND {operand.sql} <= {plus_days(frame.today, value)})"


def _anniversary(day: str, said: str, frame: Frame) -> str:
    """Today, less the offset, is the day of a later year; 29 February falls on the 28th in common years."""
    target = frame.today if said == TODAY else plus_days(frame.today, parse(said), sign=-1)
    here, there = f"substr({day}, 6, 5)", f"substr({target}, 6, 5)"
    leap = f"({here} = {_FEBRUARY_29} AND {there} = '02-28' AND substr(date({target}, '+1 day'), 6, 5) = '03-01')"
    return f"({day} < {target} AND ({here} = {there} OR {leap}))"
