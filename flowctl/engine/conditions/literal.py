"""Values, names and JSON paths as SQL text: the only place that writes them."""

from __future__ import annotations

import math
import re

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PATH = re.compile(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*")


def literal(value: str | float | bool | None) -> str:  # noqa: FBT001 - a value, not a switch
    """A value as a SQL literal.

    Raises:
        ValueError: text with a NUL character, or a number that is none.
    """
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            message = f"{value!r} is no number a store can hold"
            raise ValueError(message)
        return repr(value)
    if "\0" in value:
        message = "text with a NUL character cannot be compared"
        raise ValueError(message)
    return "'" + value.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """A column's name, quoted.

    Raises:
        ValueError: it is no name.
    """
    if not _NAME.fullmatch(name):
        message = f"{name!r} is no column name"
        raise ValueError(message)
    return f'"{name}"'


def json_path(path: str) -> str:
    """`reco.0.title` as the literal of a JSON path; a number is a place in a list.

    Raises:
        ValueError: it is no path.
    """
    if not _PATH.fullmatch(path):
        message = f"{path!r} is no path"
        raise ValueError(message)
    steps = (f"[{part}]" if part.isdigit() else f'."{part}"' for part in path.split("."))
    return literal("$" + "".join(steps))


def listed(values: list[str]) -> str:
    """SQL expressions between parentheses."""
    return f"({', '.join(values)})"
