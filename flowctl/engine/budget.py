"""The budget of work of a template: what it may count, make and print, so that none takes a process's time or memory for itself.

It counts work and not seconds, so that the same template with the same data ends the same way on every machine.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from jinja2.exceptions import SecurityError

if TYPE_CHECKING:
    from collections.abc import Iterable

WORK_MAX = 200_000  # loop turns and calls, and one for every 64 characters made: about half a second at worst
OUTPUT_CHARS_MAX = 1_000_000
TEXT_CHARS_MAX = 250_000  # of any value on the way
NUMBER_MAX = 10_000  # the most an argument may count: a width, a repetition, a range
INTEGER_BITS_MAX = 256
CHARS_PER_WORK = 64
_NUMBER_CHARS = 32  # of what is no text, when it is printed


class Runaway(SecurityError):
    """A template asked for more work or text than a message can need."""


class Account:
    """What is left of the work of one rendering."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = 0

    def spend(self, work: int = 1) -> None:
        """Raises Runaway where nothing is left."""
        self.left -= work
        if self.left < 0:
            message = "the template runs away: more loops and text than a message can need"
            raise Runaway(message)


class _Budget(threading.local):
    """The account of the rendering under way; one a thread.

    Whoever pays often takes the account once: a thread's own is dear to find.
    """

    def __init__(self) -> None:
        self.account = Account()

    def spend(self, work: int = 1) -> None:
        """Raises Runaway where nothing is left."""
        self.account.spend(work)


budget = _Budget()


def charged(value: Any) -> Any:
    """A value on its way, paid for."""
    if isinstance(value, str):
        if len(value) > TEXT_CHARS_MAX:
            too_much(f"a text of {len(value)} characters")
        budget.spend(1 + len(value) // CHARS_PER_WORK)
    elif isinstance(value, list | tuple):
        if len(value) > NUMBER_MAX:
            too_much(f"a list of {len(value)} entries")
        budget.spend(1 + len(value))
    elif isinstance(value, int) and value.bit_length() > INTEGER_BITS_MAX:
        too_much("a number of that size")
    return value


def searched(value: Any) -> Any:
    """What is about to be gone through by Python itself, which is quick at it: one for every 64 characters or entries."""
    if isinstance(value, range):  # makes each number first
        budget.spend(len(value))
    elif isinstance(value, str | list | tuple) and len(value) >= CHARS_PER_WORK:
        budget.spend(len(value) // CHARS_PER_WORK)
    return value


def weighed(value: Any) -> Any:
    """A list, tuple or mapping that a template wrote, paid for with all that it holds."""
    text_size(value)
    return value


def too_much(what: str) -> NoReturn:
    """Stop the template that asks for it."""
    message = f"the template asks for {what}"
    raise Runaway(message)


def text_size(value: Any) -> int:
    """Characters that printing a value makes, at most. Paid for: lists that hold each other twice are endless."""
    match value:
        case str():
            return len(value)
        case int() | float():
            return _NUMBER_CHARS
        case dict() | Mapping():  # asking an abstract class costs more than all the rest
            budget.spend(1 + len(value))
            return _texts_size(value) + _texts_size(value.values())
        case list() | tuple():
            budget.spend(1 + len(value))
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
            size += text_size(value)
    return size
