"""Twilio's Messages API, for SMS and WhatsApp: the request and the error codes as an HTTP provider's description.

Codes: https://www.twilio.com/docs/api/errors. The API has no idempotency keys, so that silence and 5xx are doubts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowctl.channels.http import HttpChannel, HttpSettings
from flowctl.language.sms import sender_fault

if TYPE_CHECKING:
    from collections.abc import Mapping

_DEAD = (
    21211,  # 'To' is no valid phone number
    21217,  # the number seems to be none
    21265,  # 'To' cannot be a short code
    21610,  # the recipient replied STOP
    21614,  # 'To' is no mobile number
    30005,  # unknown destination handset
    30006,  # landline, or a carrier that cannot be reached
)
_ACCOUNT = (
    20003,  # authentication
    20005,  # account not active
    21212,  # 'From' is no valid number
    21603,  # a 'From' is needed
    21606,  # 'From' cannot send messages
    21659,  # 'From' is no number of the account
    21660,  # 'From' belongs to another account
    21701,  # there is no such Messaging Service
    21703,  # the Messaging Service has no sender
    21705,  # the Messaging Service is none
    30002,  # account suspended
)
_LIMITED = (
    14107,  # message rate
    20429,  # too many requests
    21611,  # the sender's queue is full
    30001,  # queue overflow
)
DESCRIPTION: dict[str, Any] = {
    "provider": "twilio",
    "channels": ["sms", "whatsapp"],
    "lookups": {"prefix": {"of": "channel", "to": {"whatsapp": "whatsapp:"}}},
    "request": {
        "method": "POST",
        "url": "https://api.twilio.com/2010-04-01/Accounts/{account}/Messages.json",
        "basic": ["{user}", "{token}"],
        "form": {
            "To": "{to}",
            "From": "{from}",
            "MessagingServiceSid": "{service}",
            "Body": "{body}",
            "ContentSid": "{template}",
            "ContentVariables": "{parameters.json}",
            "StatusCallback": "{callback}",
        },
    },
    "answers": [
        {"status": [201], "known": ["sid"], "means": "sent"},
        {"status": ["4xx"], "where": {"code": list(_DEAD)}, "means": "dead"},
        {"status": ["4xx"], "where": {"code": list(_ACCOUNT)}, "means": "account"},
        {"status": ["4xx"], "where": {"code": list(_LIMITED)}, "means": "limited"},
        # 403 with a code that speaks of this message, as 21408 of a country that is not switched on.
        {
            "status": [400, 403, 404],
            "where": {"code": [21408, 21608, 21612, 21617, 21619, 30003, 30004, 30007, 63016]},
            "means": "refused",
        },
        {"status": [404], "means": "account"},
    ],
    "id": "sid",
    "reason": "message",
}


def channel(*, account: str, token: str, user: str | None, callback: str | None, **said: Any) -> HttpChannel:
    """A channel to Twilio. `user` is an API key's SID where `token` is its secret; `said` is the rest of `HttpSettings`."""
    values = {"account": account, "user": user or account, "token": token, "callback": callback or ""}
    return HttpChannel(HttpSettings(description=DESCRIPTION, values=values, derived=_derived, **said))


def _derived(names: Mapping[str, Any]) -> dict[str, Any]:
    """Who it is from: a number or name of the channel's kind, or a Messaging Service, which picks one by itself."""
    prefix = names["prefix"] or ""
    sender = names["sender"] or ""
    service = sender.startswith("MG") and not sender_fault(sender)
    return {
        "to": f"{prefix}{names['recipient']}",
        "from": f"{prefix}{sender}" if sender and not service else None,
        "service": sender if service else None,
        # Twilio's own id is not known before its answer: the key tells what a report is about even where that never came.
        "callback": f"{names['callback']}{'&' if '?' in names['callback'] else '?'}key={names['key']}"
        if names["callback"]
        else None,
        # An approved template speaks for itself.
        "body": None if names.get("template") else names.get("text"),
    }
