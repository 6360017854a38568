"""`{schedule: "0 9 * * mon"}`: everybody in the audience, each time."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from flowctl.engine.triggers.moment import everybody
from flowctl.language.triggers import ScheduleTrigger

if TYPE_CHECKING:
    from flowctl.engine.compiler import Compiler
    from flowctl.engine.runtime import Entrance
    from flowctl.engine.triggers import Look
    from flowctl.language.triggers import Trigger

# Of a slice of at most some hours a minutely schedule yields a few hundred; more is a slip.
_TIMES_MAX = 10_000


def compiled(trigger: Trigger, compiler: Compiler, index: int) -> dict[str, Any]:
    """The five fields and the workflow's zone."""
    assert isinstance(trigger, ScheduleTrigger)  # noqa: S101 - the kind says so
    return {
        "cron": trigger.schedule,
        "zone": compiler.zone_name,
        "max_age_ms": trigger.max_event_age.elapsed_ms,
        "next": f"schedule:{index}",
    }


def collect(look: Look, entrance: Entrance, said: dict[str, Any]) -> int:
    """The audience at each time in the slice. The next time is remembered, so that most ticks only compare two numbers."""
    cursor = f"{said['next']}:{entrance.workflow}:{said['cron']}:{said['zone']}"
    row = look.connection.execute("SELECT value FROM cursors WHERE name = ?", (cursor,)).fetchone()
    if row and row[0] > look.t1:
        return 0
    posted = 0
    start = max(look.t0, row[0] - 1) if row else look.t0
    for at in times(said["cron"], said["zone"], start):
        if at > look.t1:
            look.connection.execute(
                "INSERT INTO cursors (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                (cursor, at),
            )
            break
        if at > look.t1 - said["max_age_ms"]:
            posted += everybody(look, entrance, "schedule", at)
    return posted


def times(cron: str, zone: str, after: int) -> list[int]:
    """Instants (UTC ms) of a cron schedule in a zone, strictly after one, as far as the first beyond a day or `_TIMES_MAX`.

    croniter fires a fixed hour twice when clocks go back; the second (`fold=1`) is dropped unless the hour is a wildcard.
    """
    from croniter import croniter  # noqa: PLC0415 - 33 ms that only a due schedule needs

    clock = ZoneInfo(zone)
    begin = datetime.fromtimestamp(after / 1000, UTC).astimezone(clock)
    wildcard = cron.split()[1].startswith("*")
    found: list[int] = []
    iterator = croniter(cron, begin)
    while len(found) < _TIMES_MAX:
        moment: datetime = iterator.get_next(datetime)
        at = int(moment.timestamp() * 1000)
        if at <= after or (not wildcard and moment.astimezone(UTC).astimezone(clock).fold):
            continue
        found.append(at)
        if at > after + 2 * 86_400_000:
            break
    return found
