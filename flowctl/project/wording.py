"""Values of a project's files as short texts for people."""

from __future__ import annotations

from typing import Any

_COLUMNS_MAX = 100
_SUBJECTS = ("field", "event", "segment", "workflow", "message", "survey", "reachable", "inside", "from", "send", "condition")  # fmt: skip


def worded(value: Any) -> str:
    """`{event: purchase, since: 30d}`, `[email, sms]`, `09:00`: as people write it, cut where it is long."""
    text = _worded(value)
    return text if len(text) <= _COLUMNS_MAX else text[: _COLUMNS_MAX - 1] + "…"


def _worded(value: Any) -> str:
    match value:
        case dict():
            ordered = sorted(value, key=lambda key: key not in _SUBJECTS)
            if ordered == ["*"]:
                return _worded(value["*"])
            return "{" + ", ".join(f"{key}: {_worded(value[key])}" for key in ordered) + "}"
        case list():
            return "[" + ", ".join(_worded(each) for each in value) + "]"
        case None:
            return "none"
        case bool():
            return "true" if value else "false"
        case str() if not value:
            return '""'
        case _:
            return str(value).replace("\n", " ")
