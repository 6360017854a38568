"""`{survey: nps, answer: {lt: 7}}`: somebody answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowctl.engine.conditions.scope import Frame
from flowctl.engine.conditions.survey import ANSWERED, answer_sql
from flowctl.language.triggers import SurveyTrigger

if TYPE_CHECKING:
    from flowctl.engine.compiler import Compiler
    from flowctl.engine.runtime import Entrance
    from flowctl.engine.triggers import Look
    from flowctl.language.triggers import Trigger


def compiled(trigger: Trigger, compiler: Compiler, index: int) -> dict[str, Any]:
    """The survey, and what is asked of its answers as SQL over `s`."""
    assert isinstance(trigger, SurveyTrigger)  # noqa: S101 - the kind says so
    scope = compiler.scope
    asks = trigger.answer is not None or trigger.question is not None
    where = answer_sql(trigger, Frame(scope=scope)) if asks else "1"
    return {
        "type": scope.event_types[ANSWERED],
        "survey": trigger.survey,
        "where": f"EXISTS (SELECT 1 FROM contacts c WHERE c.id = s.contact_id AND ({where}))" if asks else "1",
        "max_age_ms": trigger.max_event_age.elapsed_ms,
    }


def collect(look: Look, entrance: Entrance, said: dict[str, Any]) -> int:
    """Answers of the slice."""
    return (
        0
        if said["type"] not in look.facts.types
        else look.post(
            entrance,
            "SELECT f.contact_id, f.at, 'event:' || f.id AS cause, json_object('survey', s.survey, 'answers', json(s.answers), 'at', f.at) AS trigger "
            "FROM fact_events f JOIN survey_answers s ON s.id = f.id "
            f"WHERE f.type = :type AND s.survey = :survey AND s.answers IS NOT NULL AND f.at > :t1 - :max_age AND ({said['where']})",
            type=said["type"],
            survey=said["survey"],
            max_age=said["max_age_ms"],
        )
    )
