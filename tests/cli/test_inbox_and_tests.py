"""`inbox`, `messages send-test`, segments in `messages render`, costs in `report` and `simulate`: on the command line, against a local API."""

from __future__ import annotations

import json

import pytest

from flowctl.cli.main import main
from tests.servers.apis import Twilio, serving

MESSAGES = """\
messages:
  hello:
    sms: {text: {fr: "Bonjour {{ contact.first_name }}, ça va ? ç", en: "Hello {{ contact.first_name }}, 10 €"}}
    in_app: {title: Hello, text: Come in}
"""
FLOW = "workflow: w\ntriggers: [{event: signup}]\nsteps: [{send: hello, via: {all: [sms, in_app]}}]\n"


@pytest.fixture
def shop(tmp_path, monkeypatch, capsys):
    """A project whose SMS go to a local Twilio, with one contact who signed up: a command line, and the API."""
    monkeypatch.setenv("FLOWCTL_NOW", "2026-03-02T10:00:00Z")
    monkeypatch.setenv("TWILIO_TOKEN", Twilio.token)
    with serving(Twilio) as api:
        (tmp_path / "flowctl.yaml").write_text(
            "project: shop\ntimezone: Europe/Paris\nlanguages: [en, fr]\ncountry: FR\n"
            "contacts: {fields: {first_name: text, in_app: text}}\nevents: {signup: {}}\nsenders: {shop: {name: Shop, sms: Shop}}\n"
            f"channels:\n  sms: {{adapter: twilio, account: {Twilio.account}, token: '${{TWILIO_TOKEN}}', url: '{api.url}', private: true, cost: 0.045 EUR}}\n"
            "  in_app: {adapter: inbox}\n"
        )
        (tmp_path / "messages.yaml").write_text(MESSAGES)
        (tmp_path / "w.yaml").write_text(FLOW)

        def run(*arguments):
            status = main(["-C", str(tmp_path), *map(str, arguments)])
            return status, *capsys.readouterr()

        run.api = api
        assert run("apply", "--yes", "--allow-dirty")[0] == 0
        (tmp_path / "people.csv").write_text(
            "key,phone,first_name,in_app,consent.sms,language\nana,06 12 34 56 78,Ana,app-1,true,en\ntom,0612345679,Tom,,true,fr\n"
        )
        assert run("contacts", "import", tmp_path / "people.csv", "--source", "test")[0] == 0
        yield run


def sign_up(shop):
    for key in ("ana", "tom"):
        assert shop("events", "add", "signup", "--contact", key)[0] == 0
    assert shop("tick")[0] == 0


def test_a_number_is_read_by_the_project_s_country_and_sent_to_in_e164(shop):
    sign_up(shop)
    assert sorted((one.recipient, one.text) for one in shop.api.accepted) == [
        ("+33612345678", "Hello Ana, 10 €"), ("+33612345679", "Bonjour Tom, ça va ? ç"),
    ]  # fmt: skip


def test_the_inbox_of_a_contact(shop):
    sign_up(shop)
    status, out, _ = shop("inbox", "ana", "--json")
    [item] = json.loads(out)["messages"]
    assert (status, item["channel"], item["message"], item["content"]) == (
        0,
        "in_app",
        "hello",
        {"title": "Hello", "text": "Come in"},
    )
    assert item["at"] == "2026-03-02T10:00:00Z"
    assert shop("inbox", "ana", "--seen", item["key"])[0] == 0
    assert "seen before" in shop("inbox", "ana", "--seen", item["key"])[2]
    assert json.loads(shop("inbox", "ana", "--json")[1])["messages"] == []
    assert "Come in" in shop("inbox", "ana", "--all")[1]
    assert shop("inbox", "tom", "--seen", item["key"])[0] == 2
    assert shop("inbox", "ana", "--channel", "smss")[0] == 2
    _, out, _ = shop("report", "w", "--json")
    opened = {each["channel"]: each["opened"] for each in json.loads(out)["workflows"][0]["messages"]}
    assert opened == {"sms": 0, "in_app": 1}


def test_what_messages_cost_is_told(shop):
    sign_up(shop)
    _, out, _ = shop("report", "w", "--json")
    sms = next(each for each in json.loads(out)["workflows"][0]["messages"] if each["channel"] == "sms")
    assert (sms["sent"], sms["segments"], sms["cost"]) == (2, 2, "0.0900 EUR")
    assert "0.0900 EUR" in shop("report", "w")[1]


def test_each_message_tells_what_it_cost(shop):
    sign_up(shop)
    _, out, _ = shop("outbox", "list", "--state", "sent", "--json")
    found = {(each["channel"], each["segments"], each["cost"]) for each in json.loads(out)["messages"]}
    assert found == {("sms", 1, "0.0450 EUR"), ("in_app", None, None)}
    header, *rows = shop("outbox", "list", "--state", "sent")[1].splitlines()
    assert header.split()[-3:] == ["segments", "cost", "reason"]
    assert sum("0.0450 EUR" in row for row in rows) == 2
    assert "cost" not in shop("outbox", "list")[1]


def test_a_simulation_adds_up_what_it_would_cost(shop):
    for key in ("ana", "tom"):
        assert shop("events", "add", "signup", "--contact", key)[0] == 0
    status, out, _ = shop("simulate", "--days", "2", "--json")
    assert status == 0
    [cost] = json.loads(out)["costs"]
    assert (cost["channel"], cost["messages"], cost["segments"], cost["micros"], cost["currency"]) == (
        "sms",
        2,
        2,
        90_000,
        "EUR",
    )
    assert "0.0900 EUR" in shop("simulate", "--days", "2")[1]
    assert shop.api.asked == []


def test_render_tells_segments_and_their_cause(shop):
    status, out, err = shop("messages", "render", "hello", "--contact", "tom", "--channel", "sms")
    assert status == 0
    assert json.loads(out) == {"text": "Bonjour Tom, ça va ? ç"}
    assert "22 characters, 1 segment in UCS-2, for ç" in err
    assert "1 segment in GSM-7" in shop("messages", "render", "hello", "--contact", "ana", "--channel", "sms")[2]


def test_a_test_goes_to_the_address_that_is_named_and_leaves_no_trace(shop):
    status, _, err = shop(
        "messages", "send-test", "hello", "--contact", "ana", "--channel", "sms", "--to", "06 98 76 54 32"
    )
    assert status == 0
    assert [(one.recipient, one.text) for one in shop.api.accepted] == [("+33698765432", "Hello Ana, 10 €")]
    assert "sent to +33698765432 by sms: 201 SM" in err
    assert "1 segment in GSM-7" in err
    assert json.loads(shop("outbox", "list", "--json")[1])["messages"] == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--channel", "sms"), "who is `me` on sms?"),
        (("--channel", "sms", "--to", "12"), "expected a phone number"),
        (("--channel", "email", "--to", "x@example.com"), "not written for email"),
    ],
)
def test_a_test_that_makes_no_sense(shop, arguments, said):
    status, _, err = shop("messages", "send-test", "hello", "--contact", "ana", *arguments)
    assert status != 0
    assert said in err
    assert shop.api.asked == []


def test_a_test_to_a_suppressed_address_or_one_that_is_refused(shop):
    assert shop("contacts", "suppress", "+33698765432", "--channel", "sms")[0] == 0
    status, _, err = shop(
        "messages", "send-test", "hello", "--contact", "ana", "--channel", "sms", "--to", "+33698765432"
    )
    assert status != 0
    assert "suppressed" in err
    shop.api.faults["*"] = (401, {"code": 20003, "message": f"Authenticate {Twilio.token}"})
    status, _, err = shop(
        "messages", "send-test", "hello", "--contact", "ana", "--channel", "sms", "--to", "+33698765433"
    )
    assert status != 0
    assert "the test did not leave: 401 Authenticate ***" in err


def test_stop_comes_in_by_events(shop):
    sign_up(shop)
    assert shop("events", "add", "sms_received", "--contact", "+33612345678", "text=STOP")[0] == 0
    shown = shop("contacts", "show", "ana")[1]
    assert "sms_received STOP" in shown
    assert shop("events", "add", "signup", "--contact", "ana")[0] == 0
    before = len(shop.api.asked)
    assert shop("tick")[0] == 0
    assert len(shop.api.asked) == before


def test_providers_are_listed_and_shown_to_copy(shop, tmp_path):
    _, out, _ = shop("providers", "list", "--json")
    assert [each["provider"] for each in json.loads(out)["providers"]] == ["brevo", "ovh", "vonage"]
    _, text, _ = shop("providers", "show", "vonage")
    (tmp_path / "acme.yaml").write_text(text.replace("provider: vonage", "provider: acme"))
    assert shop("validate")[0] == 0
    _, out, _ = shop("providers", "list", "--json")
    assert json.loads(out)["providers"][0]["where"] == "acme.yaml"
    assert shop("providers", "show", "acme")[1] == (tmp_path / "acme.yaml").read_text()
    assert shop("providers", "show", "nobody")[0] == 2


def test_a_scenario_may_reply_stop(shop, tmp_path):
    (tmp_path / "w.yaml").write_text(FLOW.replace("[sms, in_app]}}]", "[sms]}}, {wait: 1d}, {send: hello, via: sms}]"))
    (tmp_path / "stop.yaml").write_text(
        "test: who says stop hears nothing more\nof: w\ncontact: {phone: '+33612345678', first_name: Ana}\nstart: 2026-03-02T10:00\n"
        "timeline:\n  - {at: +0h, event: signup}\n  - {at: +2h, event: sms_received, properties: {text: Stop}}\n"
        "expect:\n  - {until: +1h, sends: [hello]}\n  - {until: +3d, sends: []}\n"
    )
    status, out, err = shop("test")
    assert status == 0, out + err
