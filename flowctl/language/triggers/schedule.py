"""`{schedule: "0 9 * * mon"}`: again and again, for everybody in the audience."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from flowctl.language.triggers.trigger import AnyTrigger

_FIELDS = 5


def _cron(text: str) -> str:
    from croniter import croniter  # noqa: PLC0415 - 33 ms that only schedules need
    from croniter.croniter import CroniterError  # noqa: PLC0415

    if len(text.split()) != _FIELDS:
        message = f"{text!r} has {len(text.split())} fields; cron has five: minute hour day month weekday"
        raise ValueError(message)
    try:
        croniter(text, 0.0).get_next(float)
    except (CroniterError, ValueError, KeyError) as fault:
        message = f"{text!r} is no cron schedule that ever comes: {fault}"
        raise ValueError(message) from None
    return text


Cron = Annotated[str, AfterValidator(_cron), Field(examples=["0 9 * * mon"])]


class ScheduleTrigger(AnyTrigger):
    """Five-field cron, in the workflow's zone, else the project's; needs an audience."""

    kind: ClassVar[str] = "schedule"
    schedule: Cron
