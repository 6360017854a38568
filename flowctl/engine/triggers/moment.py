"""`{moment: 2026-12-01T09:00}`: everybody in the audience, once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowctl.engine.localtime import instant
from flowctl.language.triggers import MomentTrigger

if TYPE_CHECKING:
    from flowctl.engine.compiler import Compiler
    from flowctl.engine.runtime import Entrance
    from flowctl.engine.triggers import Look
    from flowctl.language.triggers import Trigger


def compiled(trigger: Trigger, compiler: Compiler, index: int) -> dict[str, Any]:
    """The instant in UTC ms, by the workflow's zone."""
    assert isinstance(trigger, MomentTrigger)  # noqa: S101 - the kind says so
    return {"at": instant(trigger.moment, compiler.zone_name), "max_age_ms": trigger.max_event_age.elapsed_ms}


def collect(look: Look, entrance: Entrance, said: dict[str, Any]) -> int:
    """The whole audience where the moment lies in the slice and is not too long ago."""
    return everybody(look, entrance, "moment", said["at"]) if _comes(look, said) else 0


def _comes(look: Look, said: dict[str, Any]) -> bool:
    return bool(look.t0 < said["at"] <= look.t1 and said["at"] > look.t1 - said["max_age_ms"])


def everybody(look: Look, entrance: Entrance, kind: str, at: int) -> int:
    """Entries for every contact of the audience; the cause names the instant, so that it comes once."""
    return look.post(
        entrance,
        f"SELECT c.id AS contact_id, :at AS at, :cause AS cause, json_object('date', :at, 'at', :at) AS trigger "
        f"FROM contacts c WHERE ({entrance.audience_alone or '1'})",
        at=at,
        cause=f"{kind}:{at}",
    )
