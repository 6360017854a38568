"""HTTP providers against local servers that speak their APIs: what each answer means, what a broken line means, what leaves when."""

from __future__ import annotations

import base64
import json
import re
import socket
import threading
import time
from email.utils import formatdate

import pytest
import time_machine

from flowctl.channels.http import IDLE_S
from flowctl.channels.pool import Pool
from flowctl.channels.registry import ADAPTERS, make_channel
from flowctl.failure import Failure
from flowctl.language.durations import Duration
from flowctl.language.settings import ChannelSettings
from flowctl.project.providers import packaged, packaged_names, provider_faults
from tests.conformance.letters import a_letter
from tests.servers.apis import HERE, Brevo, Keyed, Ovh, Twilio, Vonage, serving
from tests.servers.described import KEYED, described, provider

ANA = "+33612345678"
TEXT = "Votre panier vous attend. STOP au 36111"


def sms(recipient=ANA, *, text=TEXT, key="k1", **more):
    said = {
        "channel": "sms",
        "sender": "MaisonLune",
        "recipient": recipient,
        "message_id": "",
        "payload": {"text": text},
    }
    return a_letter("x", key=key, **(said | more))


def channel_to(api, text=KEYED, *, channel="sms", **more):
    return make_channel(channel, described(api.settings(**more), text))


def send(api, letter=None, **more):
    connection = channel_to(api, **more).open()
    try:
        return connection.transmit(letter or sms(), lambda: True)
    finally:
        connection.close()


def outcome(receipt):
    return receipt.outcome, receipt.scope


APIS = [Twilio, Vonage, Brevo, Ovh]


# ------------------------------------------------------------------------------------------------------------ yes and no


@pytest.mark.parametrize(
    ("kind", "id_"),
    [
        (Twilio, r"201 SM0{31}1"),
        (Vonage, r"200 0C00000001-0"),
        (Brevo, r"201 1511882900176221"),
        (Ovh, r"200 27814657"),
    ],
)
def test_a_message_that_was_taken_and_its_id(kind, id_):
    with serving(kind) as api:
        receipt = send(api)
        assert outcome(receipt) == ("sent", "message")
        assert re.fullmatch(id_, receipt.reply)
        [taken] = api.accepted
    assert (taken.recipient, taken.text, taken.sender) == (ANA, TEXT, "MaisonLune")


NASTY = "é&=+%/?#\"\\{text}\r\n\u2028<>';--😀 {{ contact.email }} ${HOME}"


@pytest.mark.parametrize("kind", APIS)
def test_a_text_arrives_as_it_is_whatever_it_holds(kind):
    with serving(kind) as api:
        assert send(api, sms(text=NASTY)).outcome == "sent"
        assert api.accepted[0].text == NASTY


@pytest.mark.parametrize(
    ("kind", "secret"),
    [(Twilio, {"token": "wr0ng-s3cr3t"}), (Vonage, {"values": {"api_key": "abcd1234", "api_secret": "wr0ng-s3cr3t"}}),
     (Brevo, {"values": {"api_key": "wr0ng-s3cr3t"}}), (Ovh, {"values": {**Ovh.keys, "application_secret": "wr0ng-s3cr3t"}})],
)  # fmt: skip
def test_wrong_credentials_open_the_breaker_and_cost_no_attempt(kind, secret):
    with serving(kind) as api:
        receipt = send(api, **secret)
        assert outcome(receipt) == ("retry", "sender")
        assert receipt.opens_breaker
        assert "wr0ng" not in receipt.reply
        assert api.accepted == []
        # And at once: the pool does not ask with two more messages.
        with Pool(channel_to(api, **secret)) as pool:
            before = len(api.asked)
            list(pool.send([sms(key=f"k{n}") for n in range(10)], lambda _: True))
            assert pool.refusal is not None
            assert len(api.asked) - before <= 2


@pytest.mark.parametrize(
    ("kind", "number"),
    [
        (Twilio, "+15005550001"),
        (Twilio, "+15005550004"),
        (Twilio, "+15005550009"),
        (Vonage, Vonage.barred),
        (Brevo, "+33600000001"),
        (Ovh, "+33600000001"),
    ],
)
def test_a_dead_number_is_refused_for_good(kind, number):
    with serving(kind) as api:
        assert outcome(send(api, sms(number))) == ("failed", "address")
        assert outcome(send(api)) == ("sent", "message")


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [(21408, 403, ("failed", "message")), (30003, 400, ("failed", "message")), (30006, 400, ("failed", "address")), (21606, 400, ("retry", "sender")),
     (21611, 429, ("retry", "provider")), (30001, 400, ("retry", "provider")), (99999, 400, ("failed", "message")), (20003, 403, ("retry", "sender"))],
)  # fmt: skip
def test_codes_of_twilio(code, status, expected):
    with serving(Twilio) as api:
        api.faults["*"] = api.error(status, code, "no")
        assert outcome(send(api)) == expected


@pytest.mark.parametrize(
    ("status", "expected"),
    [("1", ("retry", "provider")), ("2", ("failed", "message")), ("3", ("failed", "message")), ("4", ("retry", "sender")), ("9", ("retry", "sender")),
     ("33", ("failed", "address")), ("5", ("in_doubt", "message")), ("77", ("in_doubt", "message"))],
)  # fmt: skip
def test_statuses_of_vonage(status, expected):
    with serving(Vonage) as api:
        api.faults["*"] = api.status(status, "words")
        receipt = send(api)
        assert outcome(receipt) == expected
        assert receipt.reply == "200 words"


def test_a_text_of_which_vonage_took_one_part_only_is_in_doubt():
    with serving(Vonage) as api:
        api.faults["*"] = (
            200,
            {
                "message-count": "2",
                "messages": [{"status": "0", "message-id": "a"}, {"status": "1", "error-text": "Throttled"}],
            },
        )
        assert outcome(send(api)) == ("in_doubt", "message")


def test_credit_that_is_used_up_stops_the_account():
    with serving(Brevo) as api:
        api.faults["*"] = 402, {"code": "not_enough_credits", "message": "Not enough credits"}
        receipt = send(api)
        assert outcome(receipt) == ("retry", "sender")
        assert receipt.reply == "402 Not enough credits"


# ------------------------------------------------------------------------------------------------------ what goes to each


def test_what_twilio_is_told():
    with serving(Twilio) as api:
        service = "MG" + "0a" * 16
        send(api, callback="https://news.example.com/twilio")
        send(api, sms(sender=service))
        send(api, **{"from": "+33700000000"})
        whatsapp = {"template": "HX1", "parameters": ["Ana", "10 €"]}
        send(api, sms(channel="whatsapp", sender="+33700000001", payload=whatsapp), channel="whatsapp")
        first, second, third, fourth = (asked.form for asked in api.asked)
    assert first == {
        "To": ANA,
        "From": "MaisonLune",
        "Body": TEXT,
        "StatusCallback": "https://news.example.com/twilio?key=k1",
    }
    assert (second.get("MessagingServiceSid"), second.get("From")) == (service, None)
    assert third["From"] == "+33700000000"
    assert fourth == {
        "To": f"whatsapp:{ANA}", "From": "whatsapp:+33700000001", "ContentSid": "HX1", "ContentVariables": '{"1": "Ana", "2": "10 €"}',
    }  # fmt: skip


def test_what_the_described_providers_are_told():
    with serving(Vonage) as vonage, serving(Brevo) as brevo, serving(Ovh) as ovh:
        for api in (vonage, brevo, ovh):
            send(api)
            send(api, sms(text="Ça va ? ç", marketing=False))
        assert [asked.form["type"] for asked in vonage.asked] == ["text", "unicode"]
        assert vonage.asked[0].form["client-ref"] == "k1"
        assert [(asked.json["type"], asked.json["unicodeEnabled"]) for asked in brevo.asked] == [
            ("marketing", False),
            ("transactional", True),
        ]
        assert [(asked.json["noStopClause"], asked.json["coding"]) for asked in ovh.asked] == [
            (False, "7bit"),
            (True, "8bit"),
        ]


@time_machine.travel("2026-03-02T10:00:00Z", tick=False)
def test_the_signature_of_ovh_by_hand():
    with serving(Ovh) as api:
        send(api)
        [asked] = api.asked
    assert asked.headers["x-ovh-timestamp"] == "1772445600"
    assert asked.headers["x-ovh-signature"].startswith("$1$")
    assert len(asked.headers["x-ovh-signature"]) == 43


def test_pushes_and_whatsapp_go_by_any_description():
    with serving(Keyed) as api:
        push = sms(
            "device-token-1",
            channel="push",
            sender="",
            payload={"title": "Bonjour", "text": "Entrez", "url": "https://shop.example/?a=1&b=2"},
        )
        assert send(api, push, channel="push").outcome == "sent"
        whatsapp = sms(channel="whatsapp", payload={"template": "cart", "parameters": ["Ana", "{token}"]})
        assert send(api, whatsapp, channel="whatsapp").outcome == "sent"
        first, second = (asked.json for asked in api.asked)
    # What a message lacks is left out; what looks like a name is data.
    assert first == {
        "to": "device-token-1",
        "text": "Entrez",
        "title": "Bonjour",
        "link": "https://shop.example/?a=1&b=2",
        "channel": "push",
        "reference": "ref-k1-{x}",
    }
    assert second["parameters"] == ["Ana", "{token}"]


def test_values_are_data_in_an_address_and_a_header():
    text = KEYED.replace(
        "https://api.keyed.example/v1/messages", "https://x.example/v1/{recipient}/send?text={text}&to={recipient}"
    ).replace("  json:", "  method: GET\n  form:")
    with serving(Keyed) as api:
        api.faults["*"] = (202, {"id": "m1"})
        api.recipient = lambda asked: ""
        assert send(api, sms("+33612345678", text="a/../b?c=d&e f"), text=text).outcome == "sent"
        assert api.asked[0].path == "/v1/%2B33612345678/send?text=a%2F..%2Fb%3Fc%3Dd%26e%20f&to=%2B33612345678"
        broken = KEYED.replace('Authorization: "Bearer {token}"', 'X-Text: "{text}"')
        receipt = send(api, sms(text="x\r\nX-Evil: 1"), text=broken)
        assert (receipt.outcome, receipt.phase) == ("failed", "open")
        assert len(api.asked) == 1


@pytest.mark.parametrize(
    "recipient", ["0612345678", "", "+33 612", "+0612345678", "ana@example.com", "+336123456789012345"]
)
def test_a_number_that_is_none_never_leaves(recipient):
    asked = []
    with serving(Twilio) as api:
        connection = channel_to(api).open()
        receipt = connection.transmit(sms(recipient), lambda: asked.append(1) or True)
        assert (receipt.outcome, asked, api.asked) == ("failed", [], [])


def test_an_email_is_refused_without_asking():
    with serving(Keyed) as api:
        assert send(api, a_letter()).outcome == "failed"
        assert api.asked == []


# --------------------------------------------------------------------------------------------------------- broken lines

BROKEN = ["silence", "close", "reset", "garbage", "half", "headers", "drip", "huge", (500, {"message": "oops"}), (502, b"<html>bad gateway</html>"),
          (200, b"not json"), (200, {"unheard": "of"}), (204, b"")]  # fmt: skip


@pytest.mark.parametrize("fault", BROKEN, ids=str)
@pytest.mark.parametrize("kind", [Twilio, Ovh])
def test_what_may_have_left_is_in_doubt_without_idempotency_keys(kind, fault):
    with serving(kind) as api:
        api.faults[ANA] = fault
        begun = time.monotonic()
        receipt = send(api, reply_timeout=0.4)
        assert outcome(receipt) == ("in_doubt", "message")
        assert receipt.phase == "body"
        assert time.monotonic() - begun < 2
        assert not re.search(r"s3cr3t|[\r\n]", receipt.reply)


@pytest.mark.parametrize("fault", BROKEN, ids=str)
def test_with_idempotency_keys_it_is_sent_again_and_arrives_once(fault):
    with serving(Keyed) as api:
        if isinstance(fault, str):  # the provider takes the message, and the line breaks before it says so
            api.faults[ANA] = ["after:" + fault]
        else:
            api.faults[ANA] = [fault]
        first = send(api, reply_timeout=0.4)
        assert outcome(first) == ("retry", "message")
        assert not first.opens_breaker
        assert outcome(send(api)) == ("sent", "message")
        assert len(api.to(ANA)) == 1
        assert {asked.headers["idempotency-key"] for asked in api.asked} == {"k1"}


@pytest.mark.parametrize(
    ("header", "expected"), [("7", 7), ("0.5", 0.5), ("999999999", 86_400), ("soon", None), ("", None), (None, None)]
)
def test_too_fast_is_not_sent_and_waits_as_long_as_it_is_told(header, expected):
    with serving(Twilio) as api:
        api.faults["*"] = (
            429,
            {"code": 20429, "message": "Too Many Requests", "status": 429},
            {"Retry-After": header} if header is not None else {},
        )
        receipt = send(api)
        assert outcome(receipt) == ("retry", "provider")
        assert receipt.retry_after_s == expected
        assert api.accepted == []


def test_retry_after_may_be_a_date_or_another_header():
    with serving(Brevo) as api:
        api.faults["*"] = [(429, {}, {"Retry-After": "9", "x-sib-ratelimit-reset": "42"})]
        assert send(api).retry_after_s == 42
    with serving(Keyed) as api:
        api.faults["*"] = [(429, {}, {"Retry-After": formatdate(time.time() + 30, usegmt=True)})]
        assert 25 < send(api).retry_after_s <= 30
        api.faults["*"] = [(503, {}, {"Retry-After": "5"})]
        receipt = send(api)
        assert (outcome(receipt), receipt.retry_after_s) == (("retry", "provider"), 5)


def test_without_a_rule_http_decides():
    with serving(Keyed) as api:
        for status, expected in (
            (404, "failed"),
            (422, "failed"),
            (401, "retry"),
            (301, "retry"),
            (429, "retry"),
            (410, "failed"),
        ):
            api.faults["*"] = [(status, {"error": "no"})]
            assert send(api).outcome == expected, status


def test_nobody_listens_and_nobody_answers():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with serving(Keyed) as api:
        receipt = send(api, url=f"http://127.0.0.1:{port}")
        assert (receipt.outcome, receipt.scope, receipt.phase) == ("retry", "provider", "connect")
        receipt = send(api, url="http://no-such-host.invalid")
        assert (receipt.outcome, receipt.scope, receipt.phase) == ("retry", "provider", "connect")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433", "169.254.169.254"])
def test_private_addresses_need_leave(host):
    with serving(Keyed) as api:
        receipt = send(api, url=f"http://{host}:{api.port}", private=False)
        assert (receipt.outcome, receipt.scope) == ("retry", "provider")
        assert api.asked == []


# ------------------------------------------------------------------------------------------------------- lines and speed


def test_a_line_is_kept_and_one_that_was_hung_up_is_replaced_before_anything_leaves():
    with serving(Twilio) as api:
        connection = channel_to(api).open()
        for n in range(5):
            assert connection.transmit(sms(key=f"k{n}"), lambda: True).outcome == "sent"
        assert api.connections() == 1
        api.hang_up()
        time.sleep(0.05)
        assert connection.transmit(sms(key="k6"), lambda: True).outcome == "sent"

        def commit():  # the server hangs up while leave is asked for
            api.hang_up()
            time.sleep(0.05)
            return True

        assert connection.transmit(sms(key="k7"), commit).outcome == "sent"
        assert (api.connections(), len(api.accepted)) == (3, 7)
        connection.close()


def test_a_server_that_goes_away_while_leave_is_asked_for_got_nothing():
    with serving(Twilio) as api:
        connection = channel_to(api).open()

        def commit():
            api.close()
            api.hang_up()
            time.sleep(0.05)
            return True

        receipt = connection.transmit(sms(), commit)
        assert (receipt.outcome, receipt.scope, receipt.phase) == ("retry", "provider", "data")
        assert api.accepted == []
        connection.close()
        api.close = lambda: None


def test_an_old_line_is_not_trusted(monkeypatch):
    with serving(Twilio) as api:
        connection = channel_to(api).open()
        connection.transmit(sms(), lambda: True)
        connection._used_at_s -= IDLE_S
        connection.transmit(sms(key="k2"), lambda: True)
        assert api.connections() == 2
        connection.close()


def test_a_server_that_closes_each_time_is_taken_at_its_word():
    with serving(Twilio, close_each=True) as api:
        connection = channel_to(api).open()
        assert {connection.transmit(sms(key=f"k{n}"), lambda: True).outcome for n in range(3)} == {"sent"}
        assert api.connections() == 3
        connection.close()


def test_several_lines_at_once_and_a_pace_for_all():
    letters = [sms(f"+336{n:08}", key=f"k{n}") for n in range(40)]
    with serving(Twilio) as api:
        api.delay_s = 0.05
        with Pool(channel_to(api, connections=8)) as pool:
            done = list(pool.send(letters, lambda _: True))
        assert {attempt.receipt.outcome for attempt in done} == {"sent"}
        assert api.connections() == 8
        assert api.at_once >= 4
    with serving(Twilio) as api:
        begun = time.monotonic()
        with Pool(channel_to(api, connections=4, rate="20/s")) as pool:
            list(pool.send(letters[:11], lambda _: True))
        assert time.monotonic() - begun > 0.35


def test_tls_is_checked():
    with serving(Keyed, tls=True) as api:
        receipt = send(api)
        assert (receipt.outcome, receipt.scope, receipt.phase) == ("retry", "provider", "tls")
        assert "certificate not trusted" in receipt.reply
        channel = channel_to(api, ca=str(HERE / "cert.pem"))
        connection = channel.open()
        assert connection.transmit(sms(), lambda: True).outcome == "sent"
        assert connection.transmit(sms(key="k2"), lambda: True).outcome == "sent"
        connection.close()
        assert api.opened == 1  # the tickets that TLS 1.3 sends unasked are no reason to hang up


def test_secrets_are_in_nothing_that_is_shown():
    with serving(Keyed) as api:
        api.faults["*"] = (400, {"error": f"bad token {Keyed.token}"})
        channel = channel_to(api)
        connection = channel.open()
        receipt = connection.transmit(sms(), lambda: True)
        assert receipt.reply == "400 bad token ***"
        connection.close()
        assert all(Keyed.token not in repr(each) for each in (channel, connection, receipt, threading.enumerate()))


# --------------------------------------------------------------------------------------------------------- descriptions


def test_the_providers_that_come_with_flowctl_are_sound():
    assert packaged_names() == ("brevo", "ovh", "vonage")
    for name in packaged_names():
        assert packaged(name).name == name
        assert list(provider_faults(packaged(name))) == []
        assert json.dumps(packaged(name).model_dump(mode="json", exclude_none=True, by_alias=True))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (KEYED.replace("{token}", "{tokn}"), "nothing provides `tokn`; did you mean `token`?"),
        (KEYED.replace('"{title}"', '"${TITLE}"'), "no variables of the environment"),
        (KEYED.replace("{{x}}", "{X}"), "braces stand around a name"),
        (KEYED.replace("means: sent", "means: down"), "no answer means `sent`"),
        (KEYED.replace("values: [token]", "values: [token]\nlookups: {a: {of: txt, to: {x: y}}}"), "nothing provides `txt`"),
        (KEYED.replace("request:", "request:\n  sign: ovh"), "needs the values"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_description_is_told_with_its_place(text, message):
    [fault] = provider_faults(provider(text))
    assert message in fault.message
    assert fault.place.line > 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"adapter": "twilio", "account": "AC1"}, "needs `token`"),
        ({"adapter": "twilio", "account": "AC1", "token": "s3cr3t", "host": "x"}, "no setting 'host'"),
        ({"adapter": "http"}, "needs a `provider`"),
        ({"adapter": "http", "description": packaged("brevo").model_dump(mode="json")}, "needs `values: {api_key"),
        ({"adapter": "twilio", "account": "AC1", "token": "s3cr3t", "url": "ftp://x"}, "url: the address is no http"),
        ({"adapter": "inbox"}, "needs the store"),
    ],
)
def test_settings_that_make_no_sense(settings, message):
    with pytest.raises(Failure) as caught:
        make_channel("sms", settings)
    assert message in caught.value.message
    assert "s3cr3t" not in repr(caught.value)


def test_the_settings_of_the_language_are_all_read():
    settings = ChannelSettings(
        adapter="twilio", account="AC1", token="s3cr3t", username="SK1", callback="https://x.example", url="https://y.example", private=True,
        connections=3, rate="10/s", timeout=Duration(ms=2_000), reply_timeout=Duration(ms=9_000), ca="x.pem", from_="Shop", cost={"default": "0.05 EUR"},
    )  # fmt: skip
    shown = repr(make_channel("sms", settings.model_dump(by_alias=True)))
    for part in (
        "sender='Shop'",
        "connections=3",
        "rate_per_s=10.0",
        "timeout_s=2.0",
        "reply_timeout_s=9.0",
        "private=True",
        "ca='x.pem'",
    ):
        assert part in shown
    assert "s3cr3t" not in shown


def test_two_letters_are_two_requests_and_one_letter_always_the_same():
    with serving(Twilio) as api:
        for letter in (sms(), sms(), sms()._replace(payload={"text": "other"})):
            send(api, letter)
        one, two, three = (asked.body for asked in api.asked)
    assert one == two != three


def test_secrets_are_masked_in_the_forms_in_which_they_were_sent():
    with serving(Twilio) as api:
        basic = base64.b64encode(f"{Twilio.account}:to/k&en".encode()).decode()
        api.faults["*"] = (400, {"message": f"you sent {basic} and to%2Fk%26en and to/k&en"})
        assert send(api, token="to/k&en").reply == "400 you sent *** and *** and ***"


def test_reaching_a_provider_asks_it_nothing():
    with serving(Twilio) as api:
        line = channel_to(api).open()
        assert line.reach() == ""
        line.close()
        assert api.asked == []
        line = channel_to(api, private=False).open()
        assert "private address" in line.reach()
    line = channel_to(api).open()
    assert "no connection" in line.reach()


def test_the_description_in_the_docs_is_sound():
    page = (HERE.parent.parent / "docs" / "channels.md").read_text(encoding="utf-8")
    [text] = [block.partition("```")[0] for block in page.split("```yaml\n")[1:] if block.startswith("provider:")]
    assert list(provider_faults(provider(text))) == []
    for name in (*ADAPTERS, *packaged_names()):
        assert f"`{name}`" in page
