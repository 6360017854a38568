"""Local servers for what is no provider of messages: web hooks of chat rooms, and a service that keeps records."""

from __future__ import annotations

import json
from typing import ClassVar

from tests.servers.apis import Api


class Slack(Api):
    """https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks: `ok`, or an error as plain text."""

    path = "/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX"

    def recipient(self, asked):
        return "room"

    def answer(self, asked):
        if asked.path != self.path:
            return 404, b"no_service", {"Content-Type": "text/html"}
        try:
            said = asked.json
        except ValueError:
            return 400, b"invalid_payload", {"Content-Type": "text/html"}
        if not said.get("text"):
            return 400, b"no_text", {"Content-Type": "text/html"}
        self.accepted.append(said)
        return 200, b"ok", {"Content-Type": "text/html"}


class Teams(Api):
    """A workflow's web hook of Microsoft Teams: takes a message with adaptive cards, and says 202."""

    path = "/workflows/0123456789abcdef/triggers/manual/paths/invoke?sig=s3cr3t-signature"

    def recipient(self, asked):
        return "room"

    def answer(self, asked):
        if asked.path != self.path:
            return 401, {"error": {"code": "DirectApiAuthorizationRequired"}}
        [card] = asked.json["attachments"]
        if (
            card["contentType"] != "application/vnd.microsoft.card.adaptive"
            or card["content"]["type"] != "AdaptiveCard"
        ):
            return 400, {"error": "no card"}
        self.accepted.append([run["text"] for block in card["content"]["body"] for run in block["inlines"]])
        return 202, b""


class Hook(Api):
    """Any web hook."""

    def recipient(self, asked):
        return "room"

    def answer(self, asked):
        self.accepted.append(asked.json)
        return 200, {}


class Crm(Api):
    """A service that keeps each record once, whatever it is told how often."""

    secret = "crm-s3cr3t"
    kept: ClassVar[dict] = {}

    def __init__(self, **how) -> None:
        self.kept = {}
        super().__init__(**how)

    def recipient(self, asked):
        return json.loads(asked.body)["contact"]["key"]

    def answer(self, asked):
        if asked.headers.get("authorization") != f"Bearer {self.secret}":
            return 401, {"error": f"bad token {asked.headers.get('authorization')}"}
        key = asked.headers["idempotency-key"]
        if key in self.kept:
            return 409, {"error": "known"}
        self.kept[key] = (asked.path, asked.json)
        return 201, {"id": len(self.kept)}
