"""Which names a template asks for, each with its position, and whether it copes where one is not there."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

Chain = tuple[str, ...]
"""`contact.first_name` as ("contact", "first_name")."""
CACHE_MAX = 4096

_PLAIN = re.compile(
    r"""(?<!\{)\{\{[ ]*(?P<chain>[a-z]\w*(?:\.[a-z]\w*)+|unsubscribe_url|preferences_url)[ ]*"""
    r"""(?P<default>\|[ ]*default\((?:"[^"{}\\]*"|'[^'{}\\]*')\)[ ]*)?\}\}""",
)
_OPENS = re.compile(r"\{[{%#]")


@dataclass(frozen=True, slots=True)
class Use:
    """A name asked for: where in the text, and whether the template copes where it is not there."""

    chain: Chain
    offset: int  # characters before it
    is_guarded: bool
    argument: str | None = None  # of a call with one literal text: survey_url("nps")


@dataclass(frozen=True, slots=True)
class Template:
    """What was found in a text; `fault` and its offset where it is no template."""

    uses: tuple[Use, ...]
    fault: str = ""
    fault_offset: int = 0


@lru_cache(maxsize=CACHE_MAX)
def read(text: str) -> Template:
    """The names of a template, in the order they stand.

    Most templates print names, with or without a default, and nothing else: those are read without Jinja2, whose import takes 56 ms.
    """
    uses = [
        Use(tuple(match["chain"].split(".")), match.start("chain"), bool(match["default"]))
        for match in _PLAIN.finditer(text)
    ]
    if len(uses) == len(_OPENS.findall(text)):
        return Template(tuple(uses))
    from flowctl.lint.jinja import parse  # noqa: PLC0415 - see above

    return parse(text)
