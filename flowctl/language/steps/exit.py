"""`exit: reason`: the journey ends here."""

from __future__ import annotations

from typing import ClassVar

from flowctl.language.steps.step import AnyStep


class ExitStep(AnyStep):
    """Out, with a word that says why."""

    verb: ClassVar[str] = "exit"
    exit: str
