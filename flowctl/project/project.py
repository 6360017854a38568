"""A project as read: every resource by name, every text, every fault."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from flowctl.language.assumptions import Assumptions
    from flowctl.language.geofence import Geofence
    from flowctl.language.message import Message
    from flowctl.language.problem import Place, Problem
    from flowctl.language.provider import Provider
    from flowctl.language.scenario import Scenario
    from flowctl.language.score import Score
    from flowctl.language.segment import Segment
    from flowctl.language.settings import Environment, FieldType, Settings
    from flowctl.language.survey import Survey
    from flowctl.language.workflow import Workflow


@dataclass(frozen=True, kw_only=True, slots=True)
class Project:
    """What the files of a project say. Where `problems` holds an error, what is unsound is missing from the rest."""

    root: Path
    settings: Settings
    environment: str = ""  # the block of `environments:` that was laid over the settings; '': none
    workflows: dict[str, Workflow] = field(default_factory=dict)
    segments: dict[str, Segment] = field(default_factory=dict)
    messages: dict[str, Message] = field(default_factory=dict)
    scores: dict[str, Score] = field(default_factory=dict)
    surveys: dict[str, Survey] = field(default_factory=dict)
    geofences: dict[str, Geofence] = field(default_factory=dict)
    scenarios: dict[str, Scenario] = field(default_factory=dict)
    assumptions: dict[str, Assumptions] = field(default_factory=dict)
    providers: dict[str, Provider] = field(
        default_factory=dict
    )  # its own; `project.providers` knows those that come with flowctl
    sources: dict[str, str] = field(default_factory=dict)  # every YAML file that is text, by its path in the project
    bodies: dict[str, str] = field(default_factory=dict)  # message bodies and fetch samples, likewise
    problems: tuple[Problem, ...] = ()
    settings_sound: bool = True  # False: flowctl.yaml could not be read, `settings` are the defaults
    declared: dict[str, dict[str, Place]] = field(default_factory=dict)  # kind: every name declared, sound or not

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The problems that keep the project from running."""
        return tuple(problem for problem in self.problems if problem.severity == "error")

    @property
    def chosen(self) -> Environment | None:
        """The block of `environments:` that was laid over the settings."""
        return self.settings.environments.get(self.environment)

    @property
    def field_types(self) -> dict[str, FieldType]:
        """Every contact field with its type: built in, declared, and the tiers that scores keep."""
        tiers: dict[str, FieldType] = {f"{score.name}_tier": "text" for score in self.scores.values() if score.tiers}
        return {**tiers, **self.settings.field_types}

    def field_values(self, name: str) -> list[str] | None:
        """The values a choice or tags field may hold; None where any."""
        declared = self.settings.contacts.fields.get(name)
        return declared.values if declared else None
