"""What a plain scalar means: the YAML 1.2 core schema, with what people mean as text left alone."""

from __future__ import annotations

import math
import re

_WORDS: dict[str, bool | None] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*)\Z")
_FLOAT = re.compile(r"-?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_OCTAL = re.compile(r"0o[0-7]+\Z")
_HEXADECIMAL = re.compile(r"0x[0-9a-fA-F]+\Z")
_NUMBER_STARTS = frozenset("-.0123456789")
_INTEGER_MAX = 2**63 - 1  # what every store and every JSON reader can hold
_DIGITS_MAX = 25

# What YAML 1.1 readers (PyYAML, Ruby, older Go) or plainer 1.2 readers make of texts that stay text here.
_OTHER_READINGS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"(?:yes|Yes|YES|on|On|ON)\Z"), "true"),
    (re.compile(r"(?:no|No|NO|off|Off|OFF)\Z"), "false"),
    (re.compile(r"[-+]?[1-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?\Z"), "a number of seconds"),
    (re.compile(r"[-+]?0[0-9_]+(?:\.[0-9]*)?\Z"), "a number without its leading zero"),
    (re.compile(r"\+[0-9][0-9_]*(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?\Z"), "a number without its plus sign"),
    (re.compile(r"-?[0-9][0-9_]*_[0-9_]*(?:\.[0-9_]*)?\Z"), "a number"),
    (re.compile(r"-?[0-9]{19,}\Z"), "a number too large to keep"),
    (re.compile(r"0b[01_]+\Z"), "a binary number"),
    (re.compile(r"[-+]?\.(?:inf|Inf|INF|nan|NaN|NAN)\Z"), "infinity or not-a-number"),
)


def resolve(raw: str) -> str | int | float | bool | None:
    """The value of a plain scalar; text where the core schema says so, and for `01234`, `+336…`, `22:30`, huge and infinite numbers."""
    if raw in _WORDS:
        return _WORDS[raw]
    if raw[0] not in _NUMBER_STARTS or len(raw) > _DIGITS_MAX:
        return raw
    if _INTEGER.match(raw):
        return _bounded(int(raw), raw)
    if _OCTAL.match(raw):
        return _bounded(int(raw, 8), raw)
    if _HEXADECIMAL.match(raw):
        return _bounded(int(raw, 16), raw)
    if _FLOAT.match(raw):
        number = float(raw)
        return number if math.isfinite(number) else raw
    return raw


def other_reading(raw: str) -> str:
    """What another YAML reader makes of a plain scalar that is text here; empty where all agree."""
    return next((words for pattern, words in _OTHER_READINGS if pattern.match(raw)), "")


def quoted(text: str) -> str:
    """The text between double quotes, as one YAML scalar on one line."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped}"'


def _bounded(number: int, raw: str) -> int | str:
    return number if -_INTEGER_MAX - 1 <= number <= _INTEGER_MAX else raw
