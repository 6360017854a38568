"""SMS end to end: a tick that sends through Twilio's API, replies that say stop, what messages cost, an inbox in the store."""

from __future__ import annotations

import json
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from flowctl.channels.recording import RecordingChannel
from flowctl.engine.claims import recover
from flowctl.engine.tick import tick
from flowctl.failure import UsageFailure
from flowctl.report.audit import audit
from flowctl.store import events, inbox, replies
from flowctl.store.casting import Reading
from flowctl.store.database import open_store, transaction
from flowctl.store.event_import import EventImport, Plan
from flowctl.store.reading import Chunk
from flowctl.store.suppressions import suppress
from tests.engine.world import SETTINGS, T0, World, at, project, refusals, workflow
from tests.servers.apis import Keyed, Twilio, Vonage, serving
from tests.servers.described import KEYED

FOLDER = Path("no-such-folder")  # nothing is to be written
ANA, TOM = "+33612345678", "+32470123456"
SMS = """
messages:
  hello:
    sms: {text: "Bonjour {{ contact.first_name }}, 10 € pour vous. STOP au 36111"}
  code:
    purpose: transactional
    sms: {text: "Votre code : 1234"}
"""


def settings_for(api, *, more="", adapter="twilio"):
    said = api.settings()
    own = ", ".join(
        f"{key}: {json.dumps(value)}"
        for key, value in said.items()
        if key not in ("adapter", "timeout", "reply_timeout")
    )
    line = f"sms: {{adapter: {adapter}, timeout: 2s, reply_timeout: 1s, {own}{more}}}"
    return SETTINGS.replace("sms: {adapter: maildir, path: sms}", line)


def world_of(api, steps="- send: hello", *, more="", adapter="twilio", extra=()):
    world = World(
        workflow("w", steps=steps), *extra, settings=settings_for(api, more=more, adapter=adapter), messages=SMS
    )
    world.contact("ana", consent=("sms",), phone=ANA, first_name="Ana")
    world.event("ana", "signup", at("1m"))
    return world


def real_tick(world, offset):
    """A tick that makes the channels of the release."""
    world.now = at(offset)
    report = tick(world.store, now=at(offset), base=FOLDER)
    assert audit(world.store, now=at(offset)).differences == ()
    return report


def reply(world, key, text, when, *, now=None):
    plan = Plan(events=events.declared({"events": {}}), reading=Reading(zone=ZoneInfo("UTC")), now=now or when)
    faults = []
    row = {"contact": key, "event": "sms_received", "at": when, "text": text}
    EventImport(world.connection, plan, faults.append).take(
        Chunk(columns=tuple(row), rows=[list(row.values())], lines=[1], faults=[])
    )
    assert faults == []


def suppressed(world):
    return world.connection.execute("SELECT channel, reason FROM suppressions WHERE contact_id != 0").fetchall()


# ----------------------------------------------------------------------------------------------------------- end to end


def test_a_tick_sends_by_twilio_and_notes_what_it_cost():
    with serving(Twilio) as api:
        world = world_of(api, more=", cost: {FR: 0.045 EUR, default: 0.08 EUR}")
        world.contact("tom", consent=("sms",), phone=TOM, first_name="Thomas" + "ê" * 70)
        world.event("tom", "signup", at("1m"))
        assert real_tick(world, "2m").sent == 2
        assert sorted((one.recipient, one.sender) for one in api.accepted) == [(TOM, "Shop"), (ANA, "Shop")]
        assert world.outbox("ana") == [("hello", "sms", "sent", None)]
        (sid,) = world.connection.execute("SELECT reply FROM outbox WHERE recipient = ?", (ANA,)).fetchone()
        assert sid.startswith("201 SM")
        costs = world.connection.execute(
            "SELECT o.recipient, k.segments, k.micros, k.currency FROM message_costs k JOIN outbox o ON o.id = k.outbox_id ORDER BY 1"
        ).fetchall()
        # ê takes the text to UCS-2: 118 code units are two segments, at Belgium's price.
        assert costs == [(TOM, 2, 160_000, "EUR"), (ANA, 1, 45_000, "EUR")]


def test_segments_are_noted_without_a_cost_and_nothing_where_nothing_left():
    with serving(Twilio) as api:
        world = world_of(api)
        world.contact("dead", consent=("sms",), phone="+15005550001")
        world.event("dead", "signup", at("1m"))
        real_tick(world, "2m")
        assert world.connection.execute("SELECT segments, micros, currency FROM message_costs").fetchall() == [
            (1, None, None)
        ]


def test_a_number_that_is_dead_is_never_tried_again():
    with serving(Twilio) as api:
        world = world_of(api)
        world.contact("dead", consent=("sms",), phone="+15005550004", first_name="X")
        world.event("dead", "signup", at("1m"))
        real_tick(world, "2m")
        assert suppressed(world) == [("sms", "refused")]
        assert world.outbox("dead")[0][2] == "failed"
        world.enroll("w", "dead", at("3m"), forced=True)
        asked = len(api.asked)
        real_tick(world, "4m")
        assert len(api.asked) == asked


def test_too_fast_waits_as_long_as_it_is_told_and_costs_no_attempt():
    with serving(Twilio) as api:
        world = world_of(api)
        api.faults["*"] = [(429, {"code": 20429, "message": "Too Many Requests"}, {"Retry-After": "90"})]
        report = real_tick(world, "2m")
        assert (report.sent, list(report.refusals)) == (0, ["sms"])
        assert world.connection.execute("SELECT state, attempts, ready_at FROM outbox").fetchall() == [
            (0, 0, at("2m") + 90_000)
        ]
        assert real_tick(world, "3m").sent == 0
        assert real_tick(world, "4m").sent == 1
        assert len(api.to(ANA)) == 1


@pytest.mark.parametrize("fault", ["silence", "half", "after:close", (500, {})], ids=str)
def test_marketing_in_doubt_is_never_sent_again_and_a_code_once(fault):
    with serving(Twilio) as api:
        world = world_of(api, "- send: hello\n- send: code")
        api.faults["*"] = [fault, fault, fault]
        for offset in ("2m", "10m", "20m", "1h", "3h"):
            real_tick(world, offset)
        assert [row[2] for row in world.outbox("ana")] == ["in_doubt", "in_doubt"]
        bodies = [asked.form["Body"] for asked in api.asked]
        assert bodies == ["Bonjour Ana, 10 € pour vous. STOP au 36111", "Votre code : 1234", "Votre code : 1234"]
        # The text that may have left twice is paid for twice.
        assert world.connection.execute("SELECT segments FROM message_costs ORDER BY outbox_id").fetchall() == [
            (1,),
            (2,),
        ]


def test_with_idempotency_keys_a_silence_is_asked_again_and_arrives_once():
    with serving(Keyed) as api:
        own = settings_for(api, adapter="http", more=", provider: keyed")
        world = World(workflow("w", steps="- send: hello"), KEYED, settings=own, messages=SMS)
        world.contact("ana", consent=("sms",), phone=ANA, first_name="Ana")
        world.event("ana", "signup", at("1m"))
        api.faults["*"] = ["after:close", (502, b"bad gateway")]
        for offset in ("2m", "4m", "10m"):
            real_tick(world, offset)
        assert world.outbox("ana") == [("hello", "sms", "sent", None)]
        assert len(api.to(ANA)) == 1
        assert len({asked.headers["idempotency-key"] for asked in api.asked}) == 1


def keyed_world(api):
    own = settings_for(api, adapter="http", more=", provider: keyed")
    world = World(workflow("w", steps="- send: hello"), KEYED, settings=own, messages=SMS)
    world.contact("ana", consent=("sms",), phone=ANA, first_name="Ana")
    world.event("ana", "signup", at("1m"))
    return world


def test_what_a_provider_never_answered_is_in_doubt_where_it_may_not_be_asked_again():
    with serving(Keyed) as api:
        world = keyed_world(api)
        api.faults["*"] = ["after:close"]
        real_tick(world, "2m")
        assert world.connection.execute("SELECT state, doubts FROM outbox").fetchall() == [(0, 1)]
        with transaction(world.connection):
            suppress(world.connection, "sms", [ANA], reason="unsubscribed", source="t", at=at("3m"), now=at("3m"))
        real_tick(world, "4m")
        assert [row[2] for row in world.outbox("ana")] == ["in_doubt"]  # it has arrived; "skipped" would be a guess
        assert len(api.asked) == 1


def test_a_provider_that_never_answers_leaves_a_doubt_and_no_failure():
    with serving(Keyed) as api:
        world = keyed_world(api)
        api.faults["*"] = "after:close"
        for hour in range(9):
            real_tick(world, f"{hour * 60 + 2}m")
        assert [row[2] for row in world.outbox("ana")] == ["in_doubt"]
        assert len(api.to(ANA)) == 1


@pytest.mark.parametrize(("later", "state"), [("30m", 0), ("3d", 5)])
def test_a_crash_is_asked_again_under_the_same_key_while_the_provider_knows_it(later, state):
    with serving(Keyed) as api:
        world = keyed_world(api)
        real_tick(world, "2m")
        with transaction(world.connection):
            world.connection.execute("UPDATE outbox SET state = 2, settled_at = NULL, reply = NULL")
        recover(world.connection, at(later), frozenset({"sms"}))
        assert world.connection.execute("SELECT state, doubts FROM outbox").fetchall() == [(state, 1)]


def test_another_release_may_have_another_provider_so_nothing_is_asked_again():
    with serving(Keyed) as api:
        world = keyed_world(api)
        real_tick(world, "2m")
        with transaction(world.connection):
            world.connection.execute("UPDATE outbox SET state = 2, settled_at = NULL, reply = NULL")
            world.connection.execute("UPDATE releases SET applied_at = ?", (at("3m"),))
        recover(world.connection, at("4m"), frozenset({"sms"}))
        assert world.connection.execute("SELECT state, doubts FROM outbox").fetchall() == [(5, 1)]


def test_a_provider_that_comes_with_flowctl_needs_its_name_only():
    with serving(Vonage) as api:
        world = world_of(api, adapter="http")
        assert real_tick(world, "2m").sent == 1
        assert api.to(ANA)[0].text == "Bonjour Ana, 10 € pour vous. STOP au 36111"


def test_whatsapp_sends_a_template_with_parameters():
    messages = "message: hello\nwhatsapp: {template: HX123, parameters: ['{{ contact.first_name }}', '10 €']}\n"
    with serving(Twilio) as api:
        own = (
            settings_for(api)
            .replace("  sms: {adapter", "  whatsapp: {adapter")
            .replace(", url:", ", from: '+33700000000', url:")
        )
        world = World(workflow("w", steps="- send: hello"), settings=own, messages=messages)
        world.contact("ana", consent=("whatsapp",), phone=ANA, first_name="Ana {{ 7*7 }}")
        world.event("ana", "signup", at("1m"))
        assert real_tick(world, "2m").sent == 1
        form = api.asked[0].form
        assert (form["To"], form["ContentSid"]) == (f"whatsapp:{ANA}", "HX123")
        assert json.loads(form["ContentVariables"]) == {"1": "Ana {{ 7*7 }}", "2": "10 €"}


# ------------------------------------------------------------------------------------------------------- replies that stop


def test_stop_withdraws_consent_when_it_is_stored_and_nothing_more_leaves():
    world = World(workflow("w", steps="- send: hello\n- wait: 1d\n- send: hello"), messages=SMS)
    world.contact("ana", consent=("sms",), phone=ANA, first_name="Ana")
    world.event("ana", "signup", at("1m"))
    world.ticks("2m")
    reply(world, "ana", " Stop. ", at("1h"))
    said = world.connection.execute("SELECT granted, at, source FROM consents WHERE channel = 'sms'").fetchall()
    assert said == [(0, at("1h"), "sms_received STOP")]
    assert suppressed(world) == [("sms", "unsubscribed")]
    # Told of as an answer to the message, for reports and guards.
    assert world.connection.execute(
        "SELECT n.name, e.status FROM message_events e JOIN names n ON n.id = e.message WHERE status = 7"
    ).fetchall() == [("hello", 7)]
    world.ticks("2h", "1d", "2d")
    assert world.messages("ana") == ["hello"]


def test_stop_reaches_what_is_claimed_already(tmp_path):
    class Late(RecordingChannel):
        """Another process stores the reply between the claim and the first byte."""

        inline = False

        def transmit(self, letter, commit):
            other = open_store(tmp_path / "s.db", create=False)
            reply(other, "ana", "ARRET", at("1m"))
            other.close()
            return super().transmit(letter, commit)

    world = World(workflow("w", steps="- send: hello"), messages=SMS, channel=Late(), path=tmp_path / "s.db")
    world.contact("ana", consent=("sms",), phone=ANA, first_name="Ana")
    world.event("ana", "signup", at("1m"))
    world.tick(at("1m"))
    assert world.channel.asked
    assert world.channel.transmitted == []
    world.ticks("1h")
    assert world.outbox("ana") == [("hello", "sms", "skipped", "suppressed")]
    world.store.close()


def test_a_receipt_still_arrives_after_stop():
    world = World(workflow("w", steps="- send: code"), messages=SMS)
    world.contact("ana", consent=("sms",), phone=ANA)
    reply(world, "ana", "STOP 36111", T0)
    world.event("ana", "signup", at("1m"))
    world.ticks("2m")
    assert world.messages("ana") == ["code"]


@pytest.mark.parametrize("text", ["START", "merci, stop aux prix", "", "oui"])
def test_other_words_change_nothing(text):
    world = World(workflow("w", steps="- send: hello"), messages=SMS)
    world.contact("ana", consent=("sms",), phone=ANA)
    reply(world, "ana", text, at("1m"))
    assert world.connection.execute("SELECT granted FROM consents").fetchall() == [(1,)]
    assert suppressed(world) == []


def consent(world):
    return world.connection.execute("SELECT granted, source FROM consents WHERE channel = 'sms'").fetchall()


def test_an_old_stop_undoes_no_new_consent():
    world = World(messages=SMS)
    world.contact("ana", consent=("sms",), phone=ANA, when=at("1d"))
    reply(world, "ana", "STOP", at("1h"), now=at("2d"))
    assert consent(world) == [(1, "test")]
    assert suppressed(world) == []


@pytest.mark.parametrize("word", ["START", " unstop! ", "Start 36111"])
def test_start_gives_back_what_stop_took(word):
    world = World(workflow("w", steps="- send: hello\n- wait: 1d\n- send: hello"), messages=SMS)
    world.contact("ana", consent=("sms",), phone=ANA, first_name="Ana")
    for said, hour in (("STOP", "1h"), ("STOP", "2h"), (word, "3h")):
        reply(world, "ana", said, at(hour))
    assert consent(world) == [(1, "sms_received START")]
    assert suppressed(world) == []
    world.event("ana", "signup", at("4h"))
    world.tick(at("4h"))
    assert world.messages("ana") == ["hello"]


def test_start_gives_no_consent_that_was_not_there():
    world = World(messages=SMS)
    world.contact("ana", consent=(), phone=ANA)
    reply(world, "ana", "START", at("1h"))
    assert consent(world) == []
    for said, hour in (("STOP", "2h"), ("START", "3h")):
        reply(world, "ana", said, at(hour))
    assert consent(world) == [(0, "sms_received STOP")]
    assert suppressed(world) == []


def test_start_takes_back_no_other_withdrawal():
    world = World(messages=SMS)
    world.contact("ana", consent=("sms", "email"), phone=ANA)
    reply(world, "ana", "STOP", at("1h"))
    world.withdraw("ana", "sms", at("2h"))
    world.withdraw("ana", "email", at("2h"))
    reply(world, "ana", "START", at("3h"))
    assert world.connection.execute("SELECT channel, granted FROM consents ORDER BY channel").fetchall() == [
        ("email", 0),
        ("sms", 0),
    ]


@pytest.mark.parametrize("reason", ["manual", "complained", "unsubscribed"])
def test_start_lifts_no_suppression_that_stop_did_not_make(reason):
    world = World(messages=SMS)
    world.contact("ana", consent=("sms",), phone=ANA)
    world.suppress(ANA, at("1m"), channel="sms", reason=reason)
    for said, hour in (("STOP", "1h"), ("START", "2h")):
        reply(world, "ana", said, at(hour))
    assert consent(world) == [(1, "sms_received START")]
    assert suppressed(world) == [("sms", reason)]


def test_start_lifts_what_the_provider_refused_because_of_the_stop():
    """Twilio hears a STOP before we do, and refuses what is sent then (21610); its reply is imported later."""
    world = World(workflow("w", steps="- send: hello"), messages=SMS)
    world.contact("ana", consent=("sms",), phone=ANA, first_name="Ana")
    world.suppress(ANA, at("90m"), channel="sms", reason="refused")
    reply(world, "ana", "STOP", at("1h"), now=at("2h"))
    assert suppressed(world) == [("sms", "unsubscribed")]
    reply(world, "ana", "START", at("3h"))
    assert (consent(world), suppressed(world)) == ([(1, "sms_received START")], [])
    world.event("ana", "signup", at("4h"))
    world.tick(at("4h"))
    assert world.messages("ana") == ["hello"]


@pytest.mark.parametrize("order", [("STOP", "START"), ("START", "STOP")])
def test_replies_count_by_their_own_times_in_whatever_order_they_are_imported(order):
    hours = {"STOP": "1h", "START": "2h"}
    world = World(messages=SMS)
    world.contact("ana", consent=("sms",), phone=ANA)
    for said in order:
        reply(world, "ana", said, at(hours[said]), now=at("3h"))
    assert consent(world) == [(1, "sms_received START")]
    assert suppressed(world) == []
    reply(world, "ana", "STOP", at("4h"))
    reply(world, "ana", "START", at("150m"), now=at("5h"))
    assert consent(world) == [(0, "sms_received STOP")]
    assert suppressed(world) == [("sms", "unsubscribed")]


def test_the_same_reply_again_is_known():
    world = World(messages=SMS)
    world.contact("ana", consent=("sms",), phone=ANA)
    for _ in range(3):
        reply(world, "ana", "STOP", at("1h"))
    assert world.connection.execute("SELECT count(*) FROM consent_log WHERE granted = 0").fetchone() == (1,)


# ----------------------------------------------------------------------------------------------------------------- inbox

CARD = "message: card\nin_app: {title: 'Hello {{ contact.first_name }}', text: Come in, url: 'https://shop.example/'}\n"
IN_APP = SETTINGS.replace("    push: text", "    push: text\n    in_app: text").replace(
    "  push: {adapter: maildir, path: push}", "  in_app: {adapter: inbox}"
)


def shown(people=1):
    world = World(workflow("w", steps="- id: card\n  send: card\n- wait: 1d\n- if: {message: card, status: opened}\n  then: [{set: {stage: customer}}]"),
                  settings=IN_APP, messages=CARD)  # fmt: skip
    for number in range(people):
        world.contact(f"c{number}", consent=(), first_name=f"No {number}", in_app=f"app-{number}")
        world.event(f"c{number}", "signup", at("1m"))
    return world


def test_an_inbox_holds_a_message_until_it_is_seen_and_seeing_opens_it():
    world = shown()
    assert real_tick(world, "2m").sent == 1
    number = world.id_of("c0")
    [item] = inbox.items(world.connection, number)
    assert (item.channel, item.message, item.at) == ("in_app", "card", at("2m"))
    assert item.content == {"title": "Hello No 0", "text": "Come in", "url": "https://shop.example/"}
    assert inbox.seen(world.connection, number, item.key, now=at("1h"))
    assert not inbox.seen(world.connection, number, item.key, now=at("2h"))
    assert inbox.items(world.connection, number) == []
    assert [one.seen_at for one in inbox.items(world.connection, number, every=True)] == [at("1h")]
    real_tick(world, "2d")
    assert world.value("c0", "stage") == "customer"


def test_an_inbox_of_somebody_else_is_closed():
    world = shown(2)
    real_tick(world, "2m")
    [item] = inbox.items(world.connection, world.id_of("c0"))
    with pytest.raises(UsageFailure, match="no message"):
        inbox.seen(world.connection, world.id_of("c1"), item.key, now=at("1h"))


def test_what_the_inbox_has_is_sent_whatever_ended_the_process():
    world = shown(3)
    real_tick(world, "2m")
    # As if the process had died after the message was put and before that was settled.
    world.connection.execute("DELETE FROM message_events")
    world.connection.execute("UPDATE outbox SET state = 2, settled_at = NULL, reply = NULL")
    world.connection.execute(
        "DELETE FROM inbox WHERE key = (SELECT key FROM outbox WHERE contact_id = ?)", (world.id_of("c2"),)
    )
    assert recover(world.connection, at("3m")) == (0, 1)
    assert world.connection.execute("SELECT state FROM outbox ORDER BY contact_id").fetchall() == [(3,), (3,), (5,)]
    assert audit(world.store, now=at("3m")).differences == ()


def test_an_inbox_takes_a_crowd_in_few_transactions():
    world = shown(500)
    assert real_tick(world, "2m").sent == 500
    assert world.connection.execute("SELECT count(*) FROM inbox").fetchone() == (500,)


def test_a_suppressed_contact_gets_nothing_in_its_inbox():
    world = shown()
    with transaction(world.connection):
        world.connection.execute(
            "INSERT INTO suppressions (channel, hash, contact_id, reason, at, source) VALUES ('in_app', address_hash('in_app', 'app-0'), ?, 'manual', 0, 't')",
            (world.id_of("c0"),),
        )
    real_tick(world, "2m")
    assert inbox.items(world.connection, world.id_of("c0")) == []


# ------------------------------------------------------------------------------------------------------------ validation


def problems_of(*texts, settings="project: p\n"):
    found = project(*texts, messages="messages: {}\n", settings=settings).problems
    return [problem for problem in found if problem.place.path != "messages.yaml"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("sms: {adapter: twillio}", "there is no adapter `twillio`; did you mean `twilio`?"),
        ("sms: {adapter: twilio, account: x}", "adapter `twilio` needs `token:`"),
        ("sms: {adapter: smtp, host: x}", "adapter `smtp` does not serve sms"),
        ("sms: {adapter: twilio, account: x, token: y, host: z}", "adapter `twilio` has no setting `host`"),
        ("sms: {adapter: http}", "adapter `http` needs `provider:`"),
        ("sms: {adapter: http, provider: vonnage}", "there is no provider `vonnage`; did you mean `vonage`?"),
        ("sms: {adapter: http, provider: brevo}", "needs `api_key` in `values:`"),
        ("sms: {adapter: http, provider: brevo, values: {api_key: x, apikey: y}}", "knows no value `apikey`"),
        ("push: {adapter: http, provider: brevo, values: {api_key: x}}", "does not serve push"),
        ("sms: {adapter: maildir, path: x, cost: cheap}", "is no amount; write it like 0.045 EUR"),
        ("sms: {adapter: maildir, path: x, cost: {France: 1 EUR}}", "is no country"),
        ("sms: {adapter: maildir, path: x, cost: {FR: 1 EUR, default: 1 USD}}", "one currency"),
    ],
)
def test_what_is_wrong_with_a_channel_is_told_where_it_stands(line, message):
    settings = f"project: p\nchannels:\n  {line}\n"
    problems = problems_of(settings=settings)
    [found] = [problem for problem in problems if message in problem.message]
    assert (found.place.path, found.place.line) == ("flowctl.yaml", 3)


def test_what_is_wrong_with_a_description_is_told_where_it_stands():
    broken = KEYED.replace("{url}", "{link}").replace("means: dead", "means: gone")
    problems = problems_of(broken)
    assert {problem.place.path for problem in problems} == {"file0.yaml"}
    assert any("gone" in problem.message for problem in problems)
    [problem] = problems_of(KEYED.replace("{url}", "{urls}"))
    assert (problem.code, problem.place.line) == ("REF001", 8)
    assert "did you mean `url`?" in problem.message


@pytest.mark.parametrize("sender", ["Maison Lune Paris", "Café", "0612345678901"])
def test_a_sender_that_no_phone_shows_is_told(sender):
    settings = f"project: p\nsenders: {{shop: {{name: Shop, sms: {sender}}}}}\n"
    [problem] = problems_of(settings=settings)
    assert "cannot send an SMS" in problem.message


def test_apply_refuses_an_sms_that_could_come_from_nobody():
    with serving(Twilio) as api:
        nameless = settings_for(api).replace(
            "{name: Shop, email: shop@example.com, sms: Shop}", "{name: Maison Lune Paris, email: shop@example.com}"
        )
        refused, _ = refusals(workflow("w", steps="- send: hello"), settings=nameless, messages=SMS)
        assert "would come from 'Maison Lune Paris', and cannot: it has 17 characters" in refused
        named = nameless.replace("{adapter: twilio,", "{adapter: twilio, from: '+33700000000',")
        assert refusals(workflow("w", steps="- send: hello"), settings=named, messages=SMS) == []


# --------------------------------------------------------------------------------------------------------------- indexes


def plan_of(world, sql, *params):
    return " | ".join(row[3] for row in world.connection.execute(f"EXPLAIN QUERY PLAN {sql}", params))


@pytest.mark.parametrize("analyzed", [False, True])
def test_what_is_asked_often_uses_its_index(analyzed):
    world = shown(50)
    real_tick(world, "2m")
    if analyzed:
        world.connection.execute("ANALYZE")
    seen = []
    world.connection.set_trace_callback(lambda sql: seen.append(sql) if "inbox" in sql else None)
    inbox.items(world.connection, 1)
    inbox.settle(world.connection, ["x"], now=0)
    world.connection.set_trace_callback(None)
    assert len(seen) >= 2
    for sql in seen:
        assert "SCAN i " not in plan_of(world, sql) + " "
        assert "SCAN inbox" not in plan_of(world, sql)
    answered = plan_of(world, replies._ANSWERED, 1, "sms", 0)
    assert "SCAN" not in answered
    assert "outbox_counted" in answered
    assert "SCAN" not in plan_of(world, replies._NEW, 10**9, "sms_received").replace("SCAN t", "")
