"""`{survey: nps, answer: {lt: 7}}`: somebody answered."""

from __future__ import annotations

from typing import ClassVar

from flowctl.language.conditions.survey import Answer
from flowctl.language.model import SurveyName
from flowctl.language.triggers.trigger import AnyTrigger


class SurveyTrigger(AnyTrigger):
    """An answer to one question, or to any."""

    kind: ClassVar[str] = "survey"
    survey: SurveyName
    question: str | None = None
    answer: Answer | None = None
