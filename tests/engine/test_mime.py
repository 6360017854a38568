"""What is filled into a skeleton, read back by the `email` package."""

from __future__ import annotations

import base64
import binascii
import quopri
from email import message_from_bytes, policy
from html import unescape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowctl.engine import mime

EXPECTED = [
    "To",
    "Subject",
    "Date",
    "Message-ID",
    "List-Unsubscribe",
    "From",
    "Auto-Submitted",
    "MIME-Version",
    "Content-Type",
]


def built(subject="Bonjour", text="texte", html="<p>html</p>", *, name="Maison Lune", url="https://x.example/u/t"):
    (text_bytes, *encoding), (html_bytes, *other) = mime.body(text), mime.html_body(html)
    encodings = (*encoding, *other)
    made = mime.skeleton(name=name, address="shop@shop.example", reply_to=None, marketing=False, encodings=encodings)
    headers = [
        ("To", "ana@example.com"),
        ("Subject", mime.encoded_value(subject)),
        ("Date", mime.date_value(1_780_000_000_000)),
        ("Message-ID", "<k@shop.example>"),
        ("List-Unsubscribe", f"<{url}>"),
    ]
    return made.filled(mime.header_lines(headers), text_bytes, html_bytes)


def read(raw):
    message = message_from_bytes(raw, policy=policy.default)
    assert message.keys() == EXPECTED
    assert not message.defects
    parts = list(message.iter_parts())
    assert [part.get_content_type() for part in parts] == ["text/plain", "text/html"]
    assert not any(part.defects for part in parts)
    return message, *(part.get_content().replace("\r\n", "\n") for part in parts)


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=400)


@settings(deadline=None)
@given(subject=TEXTS, text=TEXTS, html=TEXTS, name=TEXTS)
def test_whatever_is_filled_in_comes_out_the_same(subject, text, html, name):
    raw = built(subject, text, html, name=name)
    assert all(len(line) <= 998 for line in raw.split(b"\r\n"))
    assert raw.count(b"\n") == raw.count(b"\r") == raw.count(b"\r\n")
    assert raw.isascii()
    message, plain, marked = read(raw)
    assert message["Subject"] == mime.cleaned(subject)
    assert message["From"].addresses[0].addr_spec == "shop@shop.example"
    # CPython's parser leaves the blank between two encoded words of a name standing, against RFC 2047 §6.2.
    assert message["From"].addresses[0].display_name.replace(" ", "") == mime.cleaned(name).replace(" ", "")
    for said, came in ((text, plain), (html, marked)):
        lines = said.replace("\r\n", "\n").replace("\r", "\n")
        lines = lines if lines.endswith("\n") else lines + "\n"
        assert came == lines or (said is html and unescape(came) == unescape(lines))


@pytest.mark.parametrize(
    "value",
    [
        "Bonjour\r\nBcc: victim@example.com",
        "Bonjour\nBcc: victim@example.com",
        "Bonjour\rBcc: victim@example.com",
        "Bonjour\x0bBcc: v\x0c\x1c\x1d\x1e\x85\u2028\u2029x",
        "=?utf-8?q?Bonjour=0D=0ABcc=3A_victim=40example=2Ecom?=",
        "a =?utf-8?b?DQpCY2M6IHZpY3RpbUBleGFtcGxlLmNvbQ==?= é",
        "\u202egnp.exe",
        "x" * 5_000,
        "é" * 5_000,
        "=?" * 300,
        "💐" * 200,
    ],
)
def test_a_header_holds_one_line_and_nothing_hidden(value):
    for raw in (built(subject=value), built(name=value)):
        message, *_ = read(raw)
        assert "Bcc" not in message
        assert len(message["From"].addresses) == 1
    assert message_from_bytes(built(subject=value), policy=policy.default)["Subject"] == mime.cleaned(value)
    assert mime.cleaned(value).isprintable()
    assert len(mime.cleaned(value)) <= 250


@pytest.mark.parametrize(
    "value",
    [
        "👩\u200d💻 pour vous",
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",  # Persian: a word of two parts
        "क्\u200dष",
        "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f 2 : 1",
        "\U0001fae8 \U0001fae9 newer than the tables of Python 3.11",
    ],
)
def test_a_header_keeps_what_emoji_and_words_are_joined_by(value):
    message, *_ = read(built(subject=value))
    assert message["Subject"] == value


@pytest.mark.parametrize("value", ["a\U000e0067\U000e007fb", "a\ufffe\U0001fffeb", "a\u202e\u2066\u200bb", "a\ue000b"])
def test_a_header_holds_no_tags_of_no_flag_and_no_characters_of_nobody(value):
    assert mime.cleaned(value) == "ab"


def test_encoded_words_keep_to_their_75_characters():
    for line in mime.encoded_value("Très " * 40 + "💐").split("\r\n "):
        assert len(line) <= 75


def test_a_long_unsubscribe_link_stays_one_plain_line():
    url = "https://news.maison-lune.example/u/" + "A" * 300
    raw = built(url=url)
    assert f"\r\nList-Unsubscribe: <{url}>\r\n".encode() in raw


@pytest.mark.parametrize("text", ["Привет, как дела? Мы скучали", "こんにちは、お元気ですか"])
def test_text_beyond_latin_goes_in_base64(text):
    assert b"Content-Transfer-Encoding: base64" in built(text=text)
    assert read(built(text=text))[1] == text + "\n"


@given(TEXTS)
def test_a_body_takes_the_shorter_encoding(text):
    data, encoding = mime.body(text)
    if encoding == "7bit":
        assert data.decode().replace("\r\n", "\n").removesuffix("\n") == text.replace("\r\n", "\n").replace(
            "\r", "\n"
        ).removesuffix("\n")
        return
    other = base64.encodebytes(quopri.decodestring(data)) if encoding == "quoted-printable" else b""
    lines = base64.b64decode(data).splitlines(keepends=True) if encoding == "base64" else []
    quoted = b"".join(binascii.b2a_qp(line, istext=True) for line in lines)
    assert (
        len(data) <= len(other.replace(b"\n", b"\r\n")) * 1.05 + 80 if other else len(data) <= len(quoted) * 1.05 + 80
    )


def test_lines_of_dots_blanks_and_boundaries_survive():
    text = ".\n..\n.x\nblank \ntab\t\nFrom me\n--=_x\n=_\n--\n"
    assert read(built(text=text))[1] == text


def test_half_a_surrogate_pair_is_refused():
    for bodied in (mime.body, mime.html_body):
        with pytest.raises(UnicodeError):
            bodied("a\ud800")


@pytest.mark.parametrize("line", ["x" * 998, ".", ". x", "blank ", "\ttab", "=", "--", "x--=x", "From me", "&amp;"])
def test_plain_lines_stand_as_they_are(line):
    for bodied in (mime.body, mime.html_body):
        data, encoding = bodied(f"first\n{line}\nlast")
        assert (data, encoding) == (f"first\r\n{line}\r\nlast\r\n".encode(), "7bit")


@pytest.mark.parametrize("line", ["x" * 999, "\0", "--=_", "x--=_"])
@pytest.mark.parametrize("where", ["{}", "{}\nx", "x\n{}", "x\n{}\nx"])
def test_lines_that_may_not_stand_as_they_are_are_quoted(line, where):
    text = where.format(line)
    for bodied in (mime.body, mime.html_body):
        data, encoding = bodied(text)
        assert encoding in ("quoted-printable", "base64")
        assert b"\0" not in data
        assert b"--=_" not in data
        assert max(map(len, data.split(b"\r\n"))) <= 76


def test_no_value_can_end_a_part():
    boundary = read(built())[0].get_boundary()
    injected = f"\n--{boundary}\nContent-Type: text/html\n\n<b>Pay here</b>\n--{boundary}--\n"
    for raw in (built(text=injected), built(html=injected), built(html="é" + injected)):
        read(raw)


def test_html_beyond_ascii_is_written_in_references():
    html = "<p title='été'>Bonjour Zoé &amp; amis, encore 20 € pour vous jusqu'au dernier jour du mois 💐</p>\n"
    plain = b"<p title='&#233;t&#233;'>Bonjour Zo&#233; &amp; amis, encore 20 &#8364; pour vous jusqu'au dernier jour du mois &#128144;</p>\r\n"
    assert mime.html_body(html) == (plain, "7bit")
    for control in ("\x80", "\x9f"):  # whose reference means another character
        data, encoding = mime.html_body(f"<p>Bonjour {control}</p>")
        assert encoding == "quoted-printable"
        assert quopri.decodestring(data).decode() == f"<p>Bonjour {control}</p>\r\n"
    assert mime.html_body("こんにちは、お元気ですか" * 9)[1] == "base64"
