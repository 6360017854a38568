"""`survey` leaves: whether a survey was sent, opened or answered, and what the latest answer was."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowctl.engine.conditions import window
from flowctl.engine.conditions.comparison import comparison_sql, fields_read, opposite
from flowctl.engine.conditions.literal import json_path, literal
from flowctl.engine.conditions.message import STATUSES
from flowctl.engine.conditions.scope import ENTRY
from flowctl.engine.conditions.values import json_value
from flowctl.engine.segments import Probe
from flowctl.language.durations import Duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.engine.conditions.scope import Frame
    from flowctl.language.conditions import SurveyLeaf
    from flowctl.language.triggers import SurveyTrigger

OPENED, ANSWERED = "survey_opened", "survey_answered"


def sql(leaf: SurveyLeaf, frame: Frame, *, negated: bool) -> str:
    """Sent: a message whose template has its `survey_url` left. Unanswered: sent, and no answer since the window began."""
    answered = f"EXISTS (SELECT 1 {_found(leaf, frame)} AND s.answers IS NOT NULL)"
    match leaf.state:
        case "sent":
            text = _sent(leaf, frame)
        case "opened":  # who answered had it open, whatever was reported
            text = f"EXISTS (SELECT 1 {_found(leaf, frame)})"
        case "answered":
            text = answered
        case "unanswered":
            text = f"({_sent(leaf, frame)} AND NOT {answered})"
        case _:
            latest = f"{_found(leaf, frame)} AND s.answers IS NOT NULL ORDER BY s.at DESC, s.id DESC LIMIT 1"
            return opposite(f"(SELECT {answer_sql(leaf, frame)} {latest})", negated=negated)
    return f"NOT {text}" if negated else text


def answer_sql(leaf: SurveyLeaf | SurveyTrigger, frame: Frame) -> str:
    """What is asked of the answers of a row `s`; a survey of one question needs no name."""
    questions = frame.scope.surveys[leaf.survey]
    question = leaf.question or next(iter(questions))
    if leaf.answer is None:  # a trigger that asks for the question alone: that it was answered
        return f"json_type(s.answers, {json_path(question)}) IS NOT NULL"
    return comparison_sql(json_value("s.answers", question, questions[question]), leaf.answer, frame)


def first_at(leaf: SurveyLeaf, frame: Frame, *, until: str) -> str | None:
    """SQL of the time of the first fact that made an awaited leaf true; None where only the state tells."""
    if leaf.state in ("sent", "unanswered"):
        return None
    asked = (
        "1"
        if leaf.state == "opened"
        else "s.answers IS NOT NULL"
        if leaf.state
        else f"s.answers IS NOT NULL AND {answer_sql(leaf, frame)}"
    )
    return f"(SELECT s.at {_found(leaf, frame, until=until)} AND {asked} ORDER BY s.at LIMIT 1)"


def probes(leaf: SurveyLeaf, frame: Frame) -> Iterator[Probe]:
    """New answers and openings, those that grow older than the window; messages that asked; fields it compares with."""
    types = tuple(frame.scope.event_types[name] for name in (OPENED, ANSWERED))
    messages, sent = frame.scope.survey_messages.get(leaf.survey, ()), (STATUSES["sent"],)
    asks_sent = leaf.state in ("sent", "unanswered") and bool(messages)
    yield Probe(kind="event", ids=types)
    if asks_sent:
        yield Probe(kind="status", ids=messages, codes=sent)
    for edge_ms in window.edges(leaf.since, None):
        for type_id in types:
            yield Probe(kind="window", ids=(type_id,), edge_ms=edge_ms)
        if asks_sent:
            yield Probe(kind="status_window", ids=messages, codes=sent, edge_ms=edge_ms)
    names = sorted(set(fields_read(leaf.answer))) if leaf.answer is not None else []
    if names:
        yield Probe(kind="changed", names=tuple(names))


def unsupported(leaf: SurveyLeaf, frame: Frame) -> str | None:
    """Why the engine does not run it; None where it does."""
    if not frame.scope.enrollment and (leaf.since is None or window.needs_enrollment(leaf.since)):
        return "a survey outside a workflow needs `since:`, a duration or `ever`"
    return None


def _found(leaf: SurveyLeaf, frame: Frame, *, until: str = ":now") -> str:
    """`FROM … WHERE …` of what a contact did with a survey: since entry where nothing else is said, the entry's own answer too."""
    tests = [f"s.contact_id = c.id AND s.survey = {literal(leaf.survey)} AND s.at <= {until}"]
    tests += window.since_bounds(leaf.since, frame.scope, "s", events=False)
    if frame.scope.since is not None and (leaf.since is None or frame.scope.since == ENTRY):
        tests.append(f"s.at > {frame.scope.since}")
    elif leaf.since is None:
        tests.append(f"s.at >= {ENTRY}")
    return f"FROM survey_answers s WHERE {' AND '.join(tests)}"


def _sent(leaf: SurveyLeaf, frame: Frame) -> str:
    numbers = ", ".join(map(str, frame.scope.survey_messages.get(leaf.survey, ())))
    if not numbers:
        return "0"
    tests = [f"m.contact_id = c.id AND m.message IN ({numbers}) AND m.status = {STATUSES['sent']} AND m.at <= :now"]
    tests += window.since_bounds(leaf.since, frame.scope, "m", events=False)
    if frame.scope.enrollment and not isinstance(leaf.since, Duration) and leaf.since != "ever":
        tests.append("m.enrollment_id = w.eid")
    return f"EXISTS (SELECT 1 FROM message_events m WHERE {' AND '.join(tests)})"
