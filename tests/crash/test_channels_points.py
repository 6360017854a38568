"""A tick that dies while it sends SMS through Twilio's API and fills the inbox: nothing is lost, nothing arrives twice."""

from __future__ import annotations

import json
import re
from collections import Counter

import pytest

from flowctl.crash import POINTS
from tests.crash.town import Town
from tests.engine.world import World, at, workflow
from tests.servers.apis import Keyed, Twilio, serving
from tests.servers.described import KEYED

PEOPLE = 6
MESSAGES = """
messages:
  hello: {sms: {text: "Hello"}, in_app: {text: "Come in"}}
  code: {purpose: transactional, sms: {text: "1234"}, in_app: {text: "1234"}}
"""
SETTINGS = """
project: world
store: sqlite:///flowctl.db
timezone: Europe/Paris
languages: [en]
contacts: {fields: {first_name: text, in_app: text}}
events: {signup: {}}
senders: {shop: {name: Shop, sms: Shop}}
channels:
  sms: {adapter: twilio, account: ACCOUNT, token: TOKEN, url: "${TOWN_API}", private: true, timeout: 2s, reply_timeout: 2s, connections: 2, cost: 0.05 EUR}
  in_app: {adapter: inbox}
"""
KEYED_SMS = '  sms: {adapter: http, provider: keyed, values: {token: TOKEN}, url: "${TOWN_API}", private: true, timeout: 2s, reply_timeout: 2s, connections: 2}'


class SmsTown(Town):
    """The same town, where everybody has a phone and the app."""

    def __init__(self, folder, monkeypatch, api, message: str, settings: str, *more: str) -> None:
        monkeypatch.setenv("TOWN_API", api.url)
        self.folder = folder
        (folder / "flowctl.yaml").write_text(settings)
        flow = workflow("w", steps=f"- send: {message}\n  via: {{all: [sms, in_app]}}")
        self.world = World(flow, *more, path=folder / "flowctl.db", settings=settings, messages=MESSAGES)
        self.store, self.connection = self.world.store, self.world.connection
        for number in range(PEOPLE):
            self.world.contact(f"c{number}", consent=("sms",), phone=f"+3361234567{number}", in_app=f"app-{number}")
            self.world.event(f"c{number}", "signup", at("1m"))


SENDING = ("transmitting", "transmitted", "settled", "transmitting:2", "settled:2")


@pytest.mark.parametrize(
    ("message", "point"), [*(("hello", point) for point in POINTS[3:]), *(("code", point) for point in SENDING)]
)
def test_dying_at(message, point, tmp_path, monkeypatch):
    with serving(Twilio) as api:
        settings = SETTINGS.replace("ACCOUNT", api.account).replace("TOKEN", json.dumps(api.token))
        town = SmsTown(tmp_path, monkeypatch, api, message, settings)
        status, _, err = town.run("tick", now=at("5m"), FLOWCTL_CRASH_AT=point)
        assert (status, err) == (137, ""), "it never came to that point"
        town.ticks("6m", "12m", "20m", "1h", "1d")
        texts = Counter(one.recipient for one in api.accepted)
        shown = town.connection.execute("SELECT contact_id, count(*) FROM inbox GROUP BY 1").fetchall()
        states = Counter(town.connection.execute("SELECT channel, state FROM outbox_readable").fetchall())
        # The inbox is the store's own: each has one message in it, and nobody doubts.
        assert (len(shown), {number for _, number in shown}) == (PEOPLE, {1})
        assert states["in_app", "sent"] == PEOPLE
        assert sum(states.values()) == 2 * PEOPLE
        doubtful = states["sms", "in_doubt"]
        assert doubtful <= 4
        if message == "hello":  # at most once, and what did not arrive is listed
            assert set(texts.values()) <= {1}
            assert states["sms", "sent"] == PEOPLE - doubtful
            assert len(texts) >= PEOPLE - doubtful
        else:  # at least once; what arrived twice was in doubt once
            assert len(texts) == PEOPLE
            twice = sum(number > 1 for number in texts.values())
            (doubted,) = town.connection.execute("SELECT count(*) FROM outbox WHERE doubts > 0").fetchone()
            assert twice <= doubted <= 4
        town.store.close()


@pytest.mark.parametrize("message", ["hello", "code"])
@pytest.mark.parametrize("point", SENDING)
def test_a_provider_that_knows_keys_is_asked_again_and_nobody_doubts(message, point, tmp_path, monkeypatch):
    with serving(Keyed) as api:
        settings = re.sub("  sms: .*", KEYED_SMS.replace("TOKEN", api.token), SETTINGS)
        town = SmsTown(tmp_path, monkeypatch, api, message, settings, KEYED)
        status, _, err = town.run("tick", now=at("5m"), FLOWCTL_CRASH_AT=point)
        assert (status, err) == (137, ""), "it never came to that point"
        town.ticks("6m")
        assert town.connection.execute("SELECT DISTINCT state FROM outbox_readable").fetchall() == [("sent",)]
        texts = Counter(one.recipient for one in api.accepted)
        assert (len(texts), set(texts.values())) == (PEOPLE, {1})
        said = {(asked.headers["idempotency-key"], asked.body) for asked in api.asked}
        assert len(said) == PEOPLE  # the same key, and the same words
        town.store.close()
