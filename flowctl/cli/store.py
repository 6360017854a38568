"""Which store a command works on, and opening it for the time of the command."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from flowctl.failure import UsageFailure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.cli.invocation import Invocation
    from flowctl.store.database import Store

DEFAULT = "sqlite:///flowctl.db"
_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")


@contextmanager
def opened(said: Invocation, *, create: bool = False) -> Iterator[Store]:
    """The project's store; a relative path is taken from the project's folder. `create` makes one that is not there.

    Raises:
        Failure: there is none, or it cannot serve.
        Busy: another program holds it.
    """
    from flowctl.store.database import open_store, translated

    root = said.root()
    store = open_store(location(root, said.environment), create=create, base=root)
    try:
        with translated(store.path):
            yield store
    finally:
        store.close()


def location(root: Path, environment: str = "") -> str:
    """Where the store of the project in `root` is: FLOWCTL_STORE, else the environment's block, else flowctl.yaml.

    Only this one value is read, without models: a tick that finds nothing to do must start fast.

    Raises:
        UsageFailure: it names a variable that is not set.
    """
    return os.environ.get("FLOWCTL_STORE") or _expanded(_written(root, environment) or DEFAULT)


def _written(root: Path, environment: str) -> str:
    from flowctl.language.source import Mapping, Scalar, decode, parse_text
    from flowctl.project.find import SETTINGS_FILE

    text, _ = decode(SETTINGS_FILE, (root / SETTINGS_FILE).read_bytes())
    node = parse_text(SETTINGS_FILE, text)[0] if text is not None else None

    def inside(at: object, *names: str) -> object:
        for name in names:
            entry = at.entries.get(name) if isinstance(at, Mapping) else None
            at = entry.value if entry else None
        return at

    for place in (("environments", environment, "store"), ("store",)):
        found = inside(node, *place)
        if isinstance(found, Scalar) and isinstance(found.value, str):
            return found.value
    return ""


def _expanded(text: str) -> str:
    def value(match: re.Match[str]) -> str:
        found = os.environ.get(match[1]) or match[2]
        if found is None:
            message = f"`store:` in flowctl.yaml needs the variable {match[1]}, which is not set"
            raise UsageFailure(message, help=f"set {match[1]}, or write ${{{match[1]}:-sqlite:///flowctl.db}}")
        return found

    return _VARIABLE.sub(value, text)


@contextmanager
def planned(said: Invocation) -> Iterator[Store]:
    """The project's store to try things on and take them back; an empty one in memory where there is none yet."""
    from flowctl.store.database import open_store

    root = said.root()
    where = location(root, said.environment)
    path = Path(where.removeprefix("sqlite:///"))
    if where != ":memory:" and not (root / path).exists():
        store = open_store(":memory:", create=True)
        try:
            yield store
        finally:
            store.close()
        return
    with opened(said) as store:
        yield store
