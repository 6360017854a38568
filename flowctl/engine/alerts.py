"""Where a team hears of things outside its mailbox: Slack, Microsoft Teams, or any web hook that takes JSON."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from flowctl.channels.http import HttpChannel, HttpSettings
from flowctl.engine.adapters import resolved
from flowctl.failure import Failure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flowctl.channels.channel import Channel

_SECRET_CHARS_MIN = 8  # of one part of a path
_SLACK = {"text": "{slack_text}"}
# Runs of a RichTextBlock know no Markdown: what a contact wrote can be no link.
_TEAMS = {
    "type": "message",
    "attachments": [
        {
            "contentType": "application/vnd.microsoft.card.adaptive",
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.4",
                "body": [
                    {"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": "{title}", "weight": "bolder"}]},
                    {"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": "{text}"}]},
                    {"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": "{about}", "isSubtle": True}]},
                ],
            },
        }
    ],
}
_HOOK = {
    "title": "{title}", "text": "{text}", "project": "{project}", "team": "{team}", "owner": "{owner}", "contact": "{contact}",
    "workflow": "{workflow}", "key": "{key}",
}  # fmt: skip
_BODIES = {"slack": _SLACK, "teams": _TEAMS, "hook": _HOOK}


def alert_channel(team: str, said: Mapping[str, Any]) -> Channel:
    """The channel to a team's `alert:`, by what the release says of the team.

    Raises:
        Failure: there is none, a variable is not set, or the address is none. The address itself is in no message.
    """
    if not said.get("alert"):
        message = f"team {team} has no alert any more"
        raise Failure(message)
    kind, url = _address(team, str(resolved(said["alert"], os.environ)))
    parts = urlsplit(url)
    secrets = [
        url,
        parts.path,
        parts.query,
        *(part for part in parts.path.split("/") if len(part) >= _SECRET_CHARS_MIN),
    ]
    description = {
        "provider": f"the alert of team {team}",
        "request": {"method": "POST", "url": url.replace("{", "{{").replace("}", "}}"), "json": _BODIES[kind]},
        "answers": [{"status": ["2xx"], "means": "sent"}],
    }
    values = {f"secret_{number}": secret for number, secret in enumerate(secrets)}
    return HttpChannel(
        HttpSettings(description=description, values=values, private=bool(said.get("private")), derived=_derived)
    )


def _address(team: str, alert: str) -> tuple[str, str]:
    """What kind of body it takes, and the address it is posted to."""
    scheme, separator, rest = alert.partition("://")
    if separator and rest:
        match scheme:
            case "slack" if rest.count("/") >= 2:  # noqa: PLR2004 - the three parts of a web hook
                return "slack", f"https://hooks.slack.com/services/{rest}"
            case "slack+https" | "slack+http":
                return "slack", f"{scheme.partition('+')[2]}://{rest}"
            case "teams":
                return "teams", f"https://{rest}"
            case "teams+https" | "teams+http":
                return "teams", f"{scheme.partition('+')[2]}://{rest}"
            case "https" | "http":
                return "hook", alert
    message = f"the alert of team {team} is no address"
    raise Failure(message, help="write slack://A/B/C, slack+https://…, teams://HOST/PATH or https://…")


def _derived(names: Mapping[str, Any]) -> dict[str, Any]:
    """Slack's text: what it would take for mark-up is escaped, so that nobody's name calls a whole channel."""
    text = "\n".join(str(names.get(name) or "") for name in ("text", "about")).strip()
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return {"slack_text": escaped}
