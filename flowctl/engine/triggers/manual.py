"""`{manual: true}`: `enroll` and `start` write entries themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flowctl.engine.compiler import Compiler
    from flowctl.engine.runtime import Entrance
    from flowctl.engine.triggers import Look
    from flowctl.language.triggers import Trigger


def compiled(trigger: Trigger, compiler: Compiler, index: int) -> dict[str, Any]:
    """Nothing to know."""
    return {}


def collect(look: Look, entrance: Entrance, said: dict[str, Any]) -> int:
    """Nothing comes by itself."""
    return 0
