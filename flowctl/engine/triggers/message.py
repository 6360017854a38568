"""`{message: welcome-1, status: clicked}`: a status reported of a message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowctl.engine.conditions.message import ANY, STATUSES
from flowctl.language.triggers import MessageTrigger

if TYPE_CHECKING:
    from flowctl.engine.compiler import Compiler
    from flowctl.engine.runtime import Entrance
    from flowctl.engine.triggers import Look
    from flowctl.language.triggers import Trigger


def compiled(trigger: Trigger, compiler: Compiler, index: int) -> dict[str, Any]:
    """The message's number (none: any message), the status, the link."""
    assert isinstance(trigger, MessageTrigger)  # noqa: S101 - the kind says so
    return {
        "message": None if trigger.message == ANY else compiler.message_ids[trigger.message],
        "status": STATUSES[trigger.status],
        "word": trigger.status,
        "link": trigger.link,
        "max_age_ms": trigger.max_event_age.elapsed_ms,
    }


def collect(look: Look, entrance: Entrance, said: dict[str, Any]) -> int:
    """Statuses of the slice."""
    if not any(
        status == said["status"] and said["message"] in (None, message) for message, status in look.facts.outcomes
    ):
        return 0
    return look.post(
        entrance,
        "SELECT f.contact_id, f.at, 'status:' || f.id AS cause, json_object('message', n.name, 'status', :word, 'link', f.link, 'at', f.at) "
        "AS trigger FROM fact_statuses f JOIN names n ON n.id = f.message "
        "WHERE f.status = :status AND (:message IS NULL OR f.message = :message) AND (:link IS NULL OR f.link = :link) AND f.at > :t1 - :max_age",
        status=said["status"],
        message=said["message"],
        word=said["word"],
        link=said["link"],
        max_age=said["max_age_ms"],
    )
