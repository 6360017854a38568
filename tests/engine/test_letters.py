from __future__ import annotations

from email import message_from_bytes, policy
from html import unescape

import pytest

from flowctl.channels.address import wire_address
from flowctl.channels.channel import Letter
from flowctl.channels.smtp_wire import END, lined, stuffed
from flowctl.engine.letters import Letters, Refused
from flowctl.engine.links import Claim, Links
from flowctl.engine.templates import prepare
from flowctl.language.message import Message
from flowctl.language.settings import Sender

LINKS = Links(secret="a" * 64, public_url="https://news.shop.example")
SENDERS = {
    "shop": Sender(name="Maison Lune", email="bonjour@shop.example", sms="MaisonLune", reply_to="aide@shop.example")
}
CONTACT = {"id": 7, "first_name": "Zoé", "language": "fr", "nickname": None}
NOW = 1_780_000_000_000


def snapshot(files=None, **said):
    said = {"message": "m", "topic": "offers", **said}
    said.setdefault(
        "email", {"subject": "Bonjour {{ contact.first_name }}", "text": "Bonjour {{ contact.first_name }}"}
    )
    message = Message.model_validate(said, strict=False)
    return prepare(message, senders=SENDERS, languages=["fr", "en"], read=(files or {}).get)


def build(message, *, links=LINKS, contact=None, **more):
    said = {"channel": "email", "recipient": "zoe@example.com", "key": "k1", "now": NOW}
    return Letters(links).build(message, contact=CONTACT | (contact or {}), **(said | more))


def opened(letter):
    assert isinstance(letter, Letter), letter
    assert letter.wired
    assert letter.undotted == (b"\r\n." not in letter.payload)
    assert lined(letter.payload) == letter.payload
    assert letter.undotted == (stuffed(letter.payload) == letter.payload + END)
    assert (letter.sender, letter.recipient) == (wire_address(letter.sender), wire_address(letter.recipient))
    message = message_from_bytes(letter.payload, policy=policy.default)
    assert not message.defects
    return message, *(part.get_content().replace("\r\n", "\n") for part in message.iter_parts())


def test_a_marketing_email_is_whole():
    letter = build(snapshot())
    message, text, html = opened(letter)
    url = LINKS.url("unsubscribe", Claim(key="k1", contact_id=7, channel="email", topic="offers"))
    assert (letter.sender, letter.recipient, letter.marketing) == ("bonjour@shop.example", "zoe@example.com", True)
    assert (message["From"], message["To"], message["Reply-To"]) == (
        "Maison Lune <bonjour@shop.example>",
        "zoe@example.com",
        "aide@shop.example",
    )
    assert message["Subject"] == "Bonjour Zoé"
    assert message["Date"] == "Thu, 28 May 2026 20:26:40 +0000"
    assert message["Message-ID"] == letter.message_id == "<k1@shop.example>"
    assert message["List-Unsubscribe"] == f"<{url}>"
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert message["Auto-Submitted"] is None
    assert url in text
    assert f'href="{url}"' in html


def test_a_transactional_email_is_marked_as_automatic_and_needs_no_link():
    message, text, _ = opened(build(snapshot(purpose="transactional"), links=None))
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["List-Unsubscribe"] is None
    assert text == "Bonjour Zoé\n"


def test_marketing_without_public_url_is_refused():
    assert build(snapshot(), links=None) == Refused(reason="no unsubscribe link: flowctl.yaml has no public_url")


def test_the_same_letter_built_again_is_the_same_to_the_byte():
    letters = Letters(LINKS)
    message = snapshot()
    said = {"channel": "email", "recipient": "zoe@example.com", "key": "k1", "now": NOW, "contact": CONTACT}
    assert letters.build(message, **said) == letters.build(message, **said) == build(snapshot())


def test_letters_of_several_contacts_do_not_mix():
    letters = Letters(LINKS)
    message = snapshot()
    for number, name in enumerate(["Zoé", "Ана", "Bob", "Zoé"]):
        contact = CONTACT | {"id": number, "first_name": name}
        built = letters.build(
            message, channel="email", recipient=f"c{number}@example.com", key=f"k{number}", now=NOW, contact=contact
        )
        mail, text, html = opened(built)
        assert (mail["To"], mail["Subject"]) == (f"c{number}@example.com", f"Bonjour {name}")
        assert f"Bonjour {name}" in text
        assert f"Bonjour {name}" in unescape(html)


@pytest.mark.parametrize(
    ("text", "contact", "more", "reason"),
    [
        ("{{ contact.nickname }}", {}, {}, "missing variable contact.nickname (unknown for this contact)"),
        ("{{ trigger.cart }}", {}, {}, "missing variable trigger.cart"),
        ("{{ preferences_url }}", {}, {"links": None}, "missing variable preferences_url"),
        (
            "{% for i in range(9999) %}{% for j in range(9999) %}{% endfor %}{% endfor %}",
            {},
            {},
            "the template runs away: more loops and text than a message can need",
        ),
        (
            "{{ contact.first_name }}",
            {"first_name": "\ud800"},
            {},
            "a value holds characters that are no valid Unicode",
        ),
        ("x", {}, {"recipient": "no address"}, "'no address' is no e-mail address"),
        ("x", {}, {"recipient": "a@b.example>\r\nRCPT TO:<c@d.example"}, "is no e-mail address"),
        ("x", {}, {"channel": "push"}, "message m is not written for push"),
    ],
)
def test_a_poison_row_fails_only_itself(text, contact, more, reason):
    message = snapshot(purpose="transactional", email={"subject": "x", "text": text})
    refused = build(message, contact=contact, **more)
    assert isinstance(refused, Refused)
    assert reason in refused.reason


@pytest.mark.parametrize(
    "name",
    [
        "Zoé\r\nBcc: v@example.com",
        "=?utf-8?q?a=0D=0ABcc=3Av?=",
        "<script>",
        "{{ 7*7 }}",
        "a" * 3000,
        "\u202ex\u2028y\x00z",
    ],
)
def test_a_name_is_only_ever_a_name(name):
    message, _, html = opened(build(snapshot(), contact={"first_name": name}))
    assert "Bcc" not in message
    assert message.keys().count("Subject") == 1
    assert message["Subject"].startswith("Bonjour")
    assert "<script>" not in html
    assert "49" not in str(message["Subject"])


@pytest.mark.parametrize(("language", "word"), [("fr", "Salut"), ("en-GB", "Hi"), ("pt", "Salut"), (None, "Salut")])
def test_each_in_their_language(language, word):
    message = snapshot(email={"subject": {"fr": "Salut", "en": "Hi"}, "text": {"fr": "Salut", "en": "Hi"}})
    mail, text, html = opened(build(message, contact={"language": language}))
    assert mail["Subject"] == word
    assert text.startswith(word)
    assert word in html


def test_css_is_inlined_after_rendering_and_media_rules_stay():
    files = {
        "m.html": "<html><head><style>p{color:red} @media print{p{color:blue}}</style></head><body>{% if contact.first_name %}<p>{{ contact.first_name }}</p>{% endif %}</body></html>"
    }
    _, _, html = opened(build(snapshot(files, email={"subject": "x", "file": "m.html"})))
    assert '<p style="color: red;">Zoé</p>' in unescape(html)
    assert "@media print" in html


@pytest.mark.parametrize(
    "name", ["Zoé", ".", ".x", "\n.", "\r.", "a\r\n.\r\nb", "a.\n", "x" * 74 + ".b", "é" * 12 + "." * 9]
)
@pytest.mark.parametrize(
    "text", ["{{ contact.first_name }}", "x\n\n{{ contact.first_name }} y", ".{{ contact.first_name }}"]
)
def test_a_letter_is_as_smtp_takes_it_whatever_it_says(name, text):
    """`opened` compares with what SMTP makes of bytes that nobody knows."""
    for file in ("m.html", "m.md"):
        opened(build(snapshot({file: text}, email={"subject": "x", "file": file}), contact={"first_name": name}))


def test_lines_of_blanks_are_one_blank_line_wherever_they_come_from():
    message = snapshot(email={"subject": "s", "text": "Note: {{ contact.note }}\n\nB"})
    _, text, _ = opened(build(message, contact={"note": "a\n \t\n  \n\nb\n  "}))
    assert text.startswith("Note: a\n\nb\n\nB\n")


def test_a_style_that_is_not_ascii_makes_no_references():
    """They mean nothing in it."""
    files = {
        "m.html": "<html><head><style>@media print{p::after{content:'é'}}</style></head><body><p>é</p></body></html>"
    }
    mail, _, html = opened(build(snapshot(files, email={"subject": "x", "file": "m.html"})))
    assert [part["Content-Transfer-Encoding"] for part in mail.iter_parts()] == ["quoted-printable"] * 2
    assert "content:'é'" in html
    assert "<p>é</p>" in html


def test_rows_of_a_table_make_their_text_after_rendering():
    files = {"m.html": "<table>{% for p in data.products %}<tr><td>{{ p }}</td></tr>{% endfor %}</table>"}
    message = snapshot(files, purpose="transactional", email={"subject": "x", "file": "m.html"})
    _, text, _ = opened(build(message, data={"products": ["un", "deux <b>"]}))
    assert text.split("\n")[:2] == ["un", "deux <b>"]


@pytest.mark.parametrize(
    "printed",
    [
        "{{ contact.note|safe }}",
        "{{ ('<b>a</b> & b')|safe }}",
        "{{ 'a & b'|e }}",
        "{{ 'a_&_b'|escape|replace('_', '<i> </i>'|safe) }}",
    ],
)
def test_html_that_a_value_brings_is_no_markup_in_text(printed):
    message = snapshot(email={"subject": "s", "text": f"<p>{printed}</p>"}, purpose="transactional")
    _, text, _ = opened(build(message, contact={"note": "<b>a</b> &amp; b"}))
    assert text == "a & b\n"


def test_no_link_is_rewritten():
    message = snapshot(email={"subject": "x", "text": "[a](https://shop.example/?q=1&r=2)"})
    _, text, html = opened(build(message))
    assert 'href="https://shop.example/?q=1&amp;r=2"' in html
    assert "https://shop.example/?q=1&r=2" in text


def test_now_is_the_contacts_time():
    message = snapshot(email={"subject": "{{ now.strftime('%H:%M') }}", "text": "x"})
    assert opened(build(message, zone="Asia/Tokyo"))[0]["Subject"] == "05:26"
    assert opened(build(message, zone="Nowhere/At/All"))[0]["Subject"] == "20:26"


def test_a_variant_is_sent_where_it_is_said():
    message = snapshot(variants={"short": {"email": {"subject": "Court"}}})
    assert opened(build(message, variant="short"))[0]["Subject"] == "Court"
    assert opened(build(message, variant=None))[0]["Subject"] == "Bonjour Zoé"


def test_other_channels_get_their_texts():
    message = snapshot(
        sms={"text": {"fr": "Salut {{ contact.first_name }} STOP {{ unsubscribe_url }}"}},
        push={"title": "T", "text": "x", "url": "https://x.example/{{ contact.id }}"},
    )
    letter = build(message, channel="sms", recipient="+33612345678")
    assert (letter.sender, letter.message_id, letter.channel) == ("MaisonLune", "", "sms")
    assert letter.payload["text"].startswith("Salut Zoé STOP https://news.shop.example/u/")
    assert build(message, channel="push", recipient="token").payload == {
        "title": "T",
        "text": "x",
        "url": "https://x.example/7",
    }


PAGE = {
    "file.md": "# Bonjour {{ contact.first_name }}\n\nUne **offre**",
    "file.html": "<style>b { color: red }</style><b>{{ contact.first_name }}</b>",
    "file.mjml": "<mjml><mj-body><mj-section><mj-column><mj-text>{{ contact.first_name }}</mj-text></mj-column></mj-section></mj-body></mjml>",
}


@pytest.mark.parametrize(
    ("file", "html"),
    [
        ("file.md", "<h1>Bonjour &lt;b&gt;Zoé</h1>\n<p>Une <strong>offre</strong></p>"),
        ("file.html", "<style>b { color: red }</style><b>&lt;b&gt;Zoé</b>"),
    ],
)
@pytest.mark.parametrize("channel", ["in_app", "on_site"])
def test_a_file_is_the_body_of_what_is_shown_in_a_page(file, html, channel):
    message = snapshot(files=PAGE, **{channel: {"title": "Offre", "file": file, "url": "https://x.example"}})
    letter = build(message, channel=channel, recipient="7", contact={"first_name": "<b>Zoé"})
    assert letter.payload["html"] == html
    assert letter.payload["title"] == "Offre"
    assert letter.payload["url"] == "https://x.example"
    assert "<b>Zoé" in letter.payload["text"]


def test_a_page_may_be_mjml():
    letter = build(snapshot(files=PAGE, in_app={"file": "file.mjml"}), channel="in_app", recipient="7")
    assert letter.payload["html"].lower().startswith("<!doctype html>")
    assert letter.payload["text"] == "Zoé"


def test_the_feedback_id_names_message_variant_topic_and_project_and_nobody():
    message = snapshot(topic="flash sale: spring", variants={"short": {"email": {"subject": "Court"}}})
    mail, *_ = opened(build(message | {"feedback": "maison-lune"}, variant="short"))
    assert mail["Feedback-ID"] == "m:short:flash-sale-spring:maison-lune"


def test_an_address_beyond_ascii_stands_in_the_header_as_it_is():
    letter = build(snapshot(), recipient="zoé@müller.example")
    assert letter.recipient == "zoé@xn--mller-kva.example"
    assert b"To: zo\xc3\xa9@xn--mller-kva.example\r\n" in letter.payload
