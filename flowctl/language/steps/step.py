"""What every step has."""

from __future__ import annotations

from flowctl.language.conditions import Condition
from flowctl.language.model import Model, StepId


class AnyStep(Model):
    """An optional name, and a condition without which the step is passed over."""

    id: StepId | None = None
    when: Condition | None = None

    @property
    def name(self) -> str:
        """The step's id; a send's is its message unless said; empty where there is none."""
        return self.id or ""
