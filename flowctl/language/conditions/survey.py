"""`{survey: nps, answer: {gte: 9}}`: what a contact answered, or did not."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, StrictBool, StrictFloat, StrictInt, StrictStr, model_validator

from flowctl.language.conditions.event import Since
from flowctl.language.model import Model, SurveyName
from flowctl.language.values import Comparison


def _answer(value: Any) -> Any:
    return value if isinstance(value, dict | Comparison) else {"is": value}


Answer = Annotated[
    Comparison,
    BeforeValidator(_answer, json_schema_input_type=Comparison | StrictBool | StrictInt | StrictFloat | StrictStr),
]


class SurveyLeaf(Model):
    """The latest answer to one question, or the state of the survey."""

    subject: ClassVar[str] = "survey"
    survey: SurveyName
    question: str | None = None
    answer: Answer | None = None
    state: Literal["sent", "opened", "answered", "unanswered"] | None = None
    since: Since | None = None

    @model_validator(mode="after")
    def _one_question(self) -> Self:
        if (self.answer is None) == (self.state is None):
            message = "ask either `answer:` or `state:`"
            raise ValueError(message)
        return self
