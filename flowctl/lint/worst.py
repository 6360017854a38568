"""How the worst-case pressure of workflows differs between two states of a project."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowctl.language.durations import DAY_MS
from flowctl.lint.bounds import CHANNELS, SENDS_TOLD
from flowctl.lint.context import Context
from flowctl.lint.suppressions import Suppressions

if TYPE_CHECKING:
    from flowctl.project.project import Project

WINDOW_DAYS = 7
UNBOUNDED = "no bound"
Most = int | str  # a number; UNBOUNDED; `10 or more`


@dataclass(frozen=True, kw_only=True, slots=True)
class WorstChange:
    """The most marketing messages that one workflow can send one contact within a week, before and after. None: it is not there."""

    workflow: str
    before: Most | None
    after: Most | None
    days: int = WINDOW_DAYS

    def __str__(self) -> str:
        was, now = ("none" if most is None else str(most) for most in (self.before, self.after))
        things = "marketing message" if now == "1" else "marketing messages"
        return f"{self.workflow}: {was} → {now} {things} within {self.days} days"


def worst_changes(before: Project | None, after: Project) -> list[WorstChange]:
    """The workflows whose worst case changes, by name; caps of `pressure:` are left out of account."""
    old, new = (worst_cases(project) if project is not None else {} for project in (before, after))
    return [
        WorstChange(workflow=name, before=old.get(name), after=new.get(name))
        for name in sorted(old | new)
        if old.get(name) != new.get(name)
    ]


def worst_cases(project: Project) -> dict[str, Most]:
    """The worst case of each workflow that sends marketing."""
    found: dict[str, Most] = {}
    for journey in Context(project, Suppressions({})).journeys:
        pressure = journey.pressure
        if pressure is None or pressure.is_too_large:
            continue
        bound = pressure.bound(CHANNELS)
        if bound.is_unbounded:
            found[journey.name] = UNBOUNDED
        else:
            most = bound.most(WINDOW_DAYS * DAY_MS, SENDS_TOLD)
            found[journey.name] = f"{most} or more" if most >= SENDS_TOLD else most
    return found
