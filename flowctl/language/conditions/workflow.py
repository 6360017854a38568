"""`{workflow: onboarding, state: active}`: where a contact stands in a workflow now."""

from __future__ import annotations

from typing import ClassVar, Literal

from flowctl.language.model import Model, WorkflowName


class WorkflowLeaf(Model):
    """active: any running; completed, exited: how the last one ended; never: none ever."""

    subject: ClassVar[str] = "workflow"
    workflow: WorkflowName
    state: Literal["active", "completed", "exited", "never"]
