"""Survey answers: the events that say so, read once when they are stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3

EVENTS = ("survey_opened", "survey_answered")


def record(connection: sqlite3.Connection, after: int) -> int:
    """Keep what the events with an id above `after` say of surveys; returns how many do. Inside a write transaction."""
    answers = "CASE json_type(e.props, '$.answers') WHEN 'object' THEN e.props -> '$.answers' WHEN 'text' THEN e.props ->> '$.answers' END"
    # An answer without answers is one all the same; an opening has none.
    valid = (
        f"CASE WHEN json_valid({answers}) THEN iif(json_type({answers}) = 'object', {answers}, '{{}}') ELSE '{{}}' END"
    )
    text = f"CASE WHEN t.name = 'survey_answered' THEN {valid} END"
    return connection.execute(
        f"INSERT INTO survey_answers (id, contact_id, survey, at, answers) SELECT e.id, e.contact_id, e.props ->> 'survey', e.at, {text} "
        "FROM events e JOIN event_types t ON t.id = e.type WHERE e.id > ? AND t.name IN ('survey_opened', 'survey_answered') "
        "AND e.props ->> 'survey' IS NOT NULL ON CONFLICT (id) DO NOTHING",
        (after,),
    ).rowcount
