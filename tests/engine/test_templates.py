from __future__ import annotations

import json

import pytest

from flowctl.engine.languages import pick
from flowctl.engine.templates import prepare
from flowctl.failure import ProblemsFound
from flowctl.language.message import Message
from flowctl.language.settings import Sender

SHOP = Sender(name="Maison <Lune>", email="bonjour@shop.example", sms="MaisonLune", address="1 rue de la Paix, Paris")
SENDERS = {"shop": SHOP}


def prepared(files=None, senders=SENDERS, languages=("fr", "nl", "en"), **said):
    message = Message.model_validate({"message": "m", **said}, strict=False)
    return prepare(message, senders=senders, languages=languages, read=(files or {}).get)


def faults(**said):
    with pytest.raises(ProblemsFound) as caught:
        prepared(**said)
    return [f"{problem.code} {problem.message}" for problem in caught.value.problems]


def email(**more):
    return {"subject": "Bonjour", "text": "Bonjour", **more}


def test_a_snapshot_is_plain_json_and_says_what_it_is():
    made = prepared(topic="offers", email=email(), sms={"text": {"fr": "STOP"}})
    assert json.loads(json.dumps(made)) == made
    assert (made["name"], made["purpose"], made["topic"], made["order"]) == (
        "m",
        "marketing",
        "offers",
        ["email", "sms"],
    )
    assert made["channels"]["sms"] == {
        "sender": {
            "name": "Maison <Lune>",
            "address": "MaisonLune",
            "reply_to": None,
            "postal": "1 rue de la Paix, Paris",
        },
        "fields": {"text": {"fr": "STOP"}},
    }


def test_the_digest_follows_the_words():
    assert (
        prepared(email=email())["digest"]
        == prepared(email=email())["digest"]
        != prepared(email=email(text="Bonsoir"))["digest"]
    )


def test_bodies_come_from_files_by_language_and_kind():
    files = {"m.fr.md": "# Salut", "m.en.md": "# Hi", "x.html": "<p>x</p>"}
    made = prepared(files, email=email(text=None, file="m.{lang}.md"))
    bodies = made["channels"]["email"]["bodies"]
    assert set(bodies) == {"fr", "en"}
    assert "<h1>Hi</h1>" in bodies["en"]["html"]
    assert '<html lang="en">' in bodies["en"]["html"]
    bodies = prepared(files, email=email(text=None, file="x.html"))["channels"]["email"]["bodies"]
    assert bodies["*"]["html"].startswith("<p>x</p>")


@pytest.mark.parametrize(
    ("language", "word"),
    [("fr", "Se désabonner"), ("nl", "Uitschrijven"), ("en", "Unsubscribe"), ("pt", "Unsubscribe")],
)
def test_marketing_without_a_way_out_gets_one_in_its_language(language, word):
    body = prepared(email=email(text={language: "Bonjour"}))["channels"]["email"]["bodies"][language]
    assert f'<a href="{{{{ unsubscribe_url }}}}" style="color:#666666">{word}</a>' in body["html"]
    assert "Maison &lt;Lune&gt; · 1 rue de la Paix, Paris · bonjour@shop.example" in body["html"]
    assert body["html"].index(word) < body["html"].index("</body>")
    assert f"[{word}]({{{{ unsubscribe_url }}}})" in body["text"]
    assert "Maison <Lune>" in body["text"]


def test_marketing_with_its_own_way_out_and_transactional_get_none():
    own = prepared(email=email(text="[adieu]({{ unsubscribe_url }})"))["channels"]["email"]["bodies"]["*"]["html"]
    assert own.count("unsubscribe_url") == 1
    assert (
        "unsubscribe_url"
        not in prepared(purpose="transactional", email=email())["channels"]["email"]["bodies"]["*"]["html"]
    )


def test_a_preheader_is_in_the_html_only():
    body = prepared(email=email(preheader="Vite {{ contact.first_name }}"))["channels"]["email"]["bodies"]["*"]
    assert ">Vite {{ contact.first_name }}</div>" in body["html"]
    assert "Vite" not in body["text"]


def test_css_is_inlined_only_where_there_is_a_style_sheet():
    html = {"x.html": "<style>p{color:red}</style><p>x</p>"}
    assert prepared(html, email=email(text=None, file="x.html"))["channels"]["email"]["bodies"]["*"]["inline_css"]
    assert not prepared(email=email())["channels"]["email"]["bodies"]["*"]["inline_css"]


def test_a_variant_is_whole():
    made = prepared(
        email=email(),
        variants={"short": {"email": {"subject": "Court"}}, "other": {"email": {"file": "o.md"}}},
        files={"o.md": "autre"},
    )
    short, other = made["variants"]["short"]["email"], made["variants"]["other"]["email"]
    assert short["subject"] == {"*": "Court"}
    assert short["bodies"] == made["channels"]["email"]["bodies"]
    assert other["subject"] == {"*": "Bonjour"}
    assert "autre" in other["bodies"]["*"]["html"]


def test_everything_wrong_is_said_at_once():
    found = faults(
        email=email(
            subject="{{ contct.first_name }}",
            text={"fr": "{% if %}", "en": "{{ coupon(contact.code) }}"},
            attach=["a.pdf"],
        ),
        push={"text": "{{ trigr.x }}", "url": "https://x.example"},
    )
    assert found == [
        "CNT003 message m: nothing provides `contct`",
        "YML007 message m: template: Expected an expression, got 'end of statement block'",
        'YML007 message m: `coupon` must be written out, like coupon("WELCOME10")',
        "REF001 message m: no file `a.pdf` beside the message",
        "CNT003 message m: nothing provides `trigr`",
    ]


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ({"email": {"text": "x"}}, "YML007 message m: an e-mail without a subject"),
        ({"email": {"subject": "x"}}, "YML007 message m: an e-mail without a body"),
        (
            {"email": {"subject": "x", "file": "no.{lang}.md"}},
            "REF001 message m: no file `no.{lang}.md` beside the message",
        ),
        (
            {"email": {"subject": "x", "file": "../../etc/passwd.md"}},
            "REF001 message m: no file `../../etc/passwd.md` beside the message",
        ),
        ({"email": {"subject": "x", "file": "x.docx"}}, "YML007 message m: `x.docx` is no .md, .html or .mjml file"),
        ({"email": email(from_="shp")}, "REF001 message m: `from: shp` is no sender of flowctl.yaml"),
        (
            {"email": email(), "senders": {"a": SHOP, "b": SHOP}},
            "REF001 message m: email: who sends it? flowctl.yaml has several senders",
        ),
        ({"email": email(), "senders": {"a": Sender(name="A")}}, "REF001 message m: sender `a` has no e-mail address"),
        (
            {"email": email(text="{% include 'x' %}")},
            "YML007 message m: template: a message's template stands alone: no include, import or extends",
        ),
        ({"in_app": {"file": "x.html"}}, "REF001 message m: no file `x.html` beside the message"),
        (
            {"email": email(attach=[{"from": "trigger.invoice"}])},
            "YML007 message m: only what a `fetch` saved can be attached",
        ),
    ],
)
def test_faults(said, fault):
    assert fault in faults(**said)


def test_a_fault_in_a_file_has_its_line():
    with pytest.raises(ProblemsFound) as caught:
        prepared({"m.md": "one\n\n{{ x y }}"}, email=email(text=None, file="m.md"))
    assert str(caught.value.problems[0].place) == "m.md:3:1"


@pytest.mark.parametrize(
    ("language", "key"),
    [("en", "en"), ("EN", "en"), ("fr-CA", "fr"), ("nl_BE", "nl"), ("pt", "fr"), (None, "fr"), ("", "fr")],
)
def test_the_language_that_is_picked(language, key):
    assert pick({"nl": "", "en": "", "fr": ""}, language, ["fr", "nl", "en"]) == key


def test_a_text_for_all_languages_is_picked_last():
    assert pick({"*": "", "en": ""}, "pt", ["fr"]) == "*"
    assert pick({"en": ""}, "pt", ["fr"]) == "en"
    assert pick({}, "pt", ["fr"]) is None
