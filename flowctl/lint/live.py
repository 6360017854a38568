"""What a store adds to the files: who really is in several workflows, and which older versions still drain. Read by others."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from flowctl.lint.context import Context, Journey
from flowctl.lint.suppressions import Suppressions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flowctl.language.workflow import Workflow
    from flowctl.project.project import Project

# What follows the newest release, and makes no other version.
_UNPINNED = {"state", "active", "audience", "reentry", "exclusive_group", "priority", "triggers", "description", "owner", "learn", "lint", "preparation",
             "guards", "holdout", "move", "type"}  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class InFlight:
    """Contacts inside one version of a workflow, by step ('' where one has no name); `release` holds it as applied, None where its text is not known."""

    workflow: str
    version: int
    steps: Mapping[str, int]
    release: Project | None

    @property
    def contacts(self) -> int:
        """How many are inside."""
        return sum(self.steps.values())


@dataclass(frozen=True, kw_only=True, slots=True)
class Live:
    """What a store says. `together`: how many contacts are inside exactly these workflows now; None where only counts are known.

    `applied`: the newest release; None before the first.
    """

    together: Mapping[frozenset[str], int] | None = None
    in_flight: tuple[InFlight, ...] = ()
    applied: Project | None = None

    def inside_several(self, workflows: frozenset[str]) -> int | None:
        """How many contacts are inside two or more of some workflows now."""
        if self.together is None:
            return None
        return sum(count for inside, count in self.together.items() if len(inside & workflows) > 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Draining:
    """An older version with contacts inside, as rules see it."""

    in_flight: InFlight
    journey: Journey = field(repr=False)


def is_another_version(old: Workflow, new: Workflow) -> bool:
    """Whether applying the one where the other is makes a new version, whose predecessor drains."""
    return old.model_dump(exclude=_UNPINNED) != new.model_dump(exclude=_UNPINNED)


def draining(live: Live, project: Project) -> list[Draining]:
    """The versions in flight that are not what the files say now, and whose text is known.

    Their messages are the newest of each name: those follow the newest release.
    """
    found: list[Draining] = []
    contexts: dict[int, dict[str, Journey]] = {}
    for one in live.in_flight:
        if one.release is None or one.workflow not in one.release.workflows:
            continue
        now = project.workflows.get(one.workflow)
        old = one.release.workflows[one.workflow]
        if now is not None and not is_another_version(old, now):
            continue
        key = id(one.release)
        if key not in contexts:
            release = replace(one.release, messages={**one.release.messages, **project.messages})
            contexts[key] = {journey.name: journey for journey in Context(release, Suppressions({})).journeys}
        found.append(Draining(in_flight=one, journey=contexts[key][one.workflow]))
    return found
