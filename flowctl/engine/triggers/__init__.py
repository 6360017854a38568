"""Triggers as set operations: one kind a module, each with `compiled` for apply and `collect` for a tick."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from flowctl.engine.compiler import Compiler
    from flowctl.engine.horizon import Horizon
    from flowctl.engine.runtime import Entrance
    from flowctl.engine.slices import Facts, Slice
    from flowctl.language.triggers import Trigger

# The kind of a trigger → the module that runs it. Kinds without a module are refused by `apply`.
MODULES: Mapping[str, str] = {
    "event": "event",
    "enters": "segment",
    "exits": "segment",
    "field": "field",
    "date": "date",
    "moment": "moment",
    "schedule": "schedule",
    "message": "message",
    "survey": "survey",
    "arrives": "geofence",
    "leaves": "geofence",
    "record": "record",
    "manual": "manual",
}

# An entry is written once: the cause of a fact seen twice is the same.
POST = "INSERT INTO entries (contact_id, workflow, at, cause, trigger) "
ONCE = " ON CONFLICT (workflow, contact_id, cause) DO NOTHING"


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """What a trigger looks at: the facts of one slice (`t0` exclusive, `t1` inclusive, UTC ms)."""

    slice_: Slice
    horizon: Horizon

    @property
    def connection(self) -> sqlite3.Connection:
        """The store's."""
        return self.slice_.connection

    @property
    def facts(self) -> Facts:
        """How many there are, and of what they speak: a trigger that they do not concern asks nothing."""
        return self.slice_.facts

    @property
    def t0(self) -> int:
        """Where the slice begins."""
        return self.slice_.t0

    @property
    def t1(self) -> int:
        """Where it ends."""
        return self.slice_.t1

    def post(self, entrance: Entrance, select: str, **params: object) -> int:
        """Write entries from `SELECT contact_id, at, cause, trigger …`; returns how many are new."""
        named = {"workflow": entrance.workflow, "t0": self.t0, "t1": self.t1, "now": self.t1, **params}
        return self.connection.execute(
            f"{POST} SELECT x.contact_id, :workflow, x.at, x.cause, x.trigger FROM ({select}) x WHERE true{ONCE}",
            named,
        ).rowcount


class TriggerKind(Protocol):
    """What a trigger's module offers."""

    def compiled(self, trigger: Trigger, compiler: Compiler, index: int) -> dict[str, Any]:
        """What a tick needs of the trigger, as JSON; faults go to `compiler.refuse`."""
        ...

    def collect(self, look: Look, entrance: Entrance, said: dict[str, Any]) -> int:
        """Write an entry for each fact of the slice; returns how many."""
        ...


@functools.cache  # asked for every trigger of every look
def kind_of(kind: str) -> TriggerKind | None:
    """The module of a kind, loaded when first used."""
    name = MODULES.get(kind)
    return import_module(f"flowctl.engine.triggers.{name}") if name else None
