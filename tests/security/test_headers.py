"""What stands in headers of a mail, whoever wrote it: senders, reply addresses, subjects, recipients, names of attachments."""

import base64
from email import message_from_bytes, policy
from html import unescape

import pytest

from flowctl.channels.address import NotAnAddress, wire_address
from flowctl.channels.channel import Letter
from flowctl.engine.attachments import BadAttachment, fetched, file_name, part
from flowctl.engine.letters import Letters, Refused
from flowctl.engine.links import Links
from flowctl.engine.templates import prepare
from flowctl.language.message import Message
from flowctl.language.settings import Sender
from tests.security.test_injection import CORPUS, HEADERS

ADDRESSES = [
    "a@b.example\r\nBcc: evil@example.net", "a@b.example\nBcc: x", "a@b.example, evil@example.net", "a@b.example;evil@example.net", "<a@b.example>", "a b@c.example",
    "a@b.example>\r\nRCPT TO:<evil@example.net", "a\0@b.example", "a@b.example\u2028", "=?utf-8?q?a=40b?=@c.example ", '"a\r\nb"@c.example', '"a b"@c.example',
    "a@[127.0.0.1]", "a@b..example", "a@-b.example", "a@b.example.", "@b.example", "a@", "a", "", "a@b.example SIZE=1", "a@b.example\t", "group:a@b.example;",
    "a@b.exam\u0000ple", "a\ud800@b.example", "a" * 65 + "@b.example", "a@" + "b" * 64 + ".example", "a@b.example\x0bBcc: x", "(c)a@b.example", "a@b.example(c)", "a\\@b.example",
]  # fmt: skip


@pytest.mark.parametrize("address", ADDRESSES)
def test_what_is_no_plain_address_is_none(address):
    with pytest.raises(NotAnAddress):
        wire_address(address)


def built(sender, *, subject="Hi", recipient="ana@example.com", **contact):
    message = Message.model_validate(
        {"message": "m", "topic": "news", "email": {"subject": subject, "text": "Hi {{ contact.first_name }}"}}
    )
    snapshot = prepare(message, senders={"shop": sender}, languages=["en"], read={}.get)
    links = Links(secret="a" * 64, public_url="https://news.example.com")
    return Letters(links).build(snapshot, channel="email", recipient=recipient, key="k1", now=1_780_000_000_000, contact={"id": 7, "first_name": "Ana", "language": "en", **contact})  # fmt: skip


def opened(letter):
    assert isinstance(letter, Letter), letter
    raw = letter.payload
    assert raw.count(b"\n") == raw.count(b"\r") == raw.count(b"\r\n")
    message = message_from_bytes(raw, policy=policy.default)
    assert not message.defects
    return message


PLAIN = [
    name
    for name, _ in opened(built(Sender(name="Shop", email="shop@example.com", reply_to="help@example.com"))).items()
]


@pytest.mark.parametrize("text", CORPUS, ids=ascii)
def test_a_senders_name_is_one_name_of_one_address(text):
    message = opened(built(Sender(name=text, email="shop@example.com", reply_to="help@example.com")))
    assert [name for name, _ in message.items()] == PLAIN
    assert [each.addr_spec for each in message["From"].addresses] == ["shop@example.com"]
    assert not message["From"].defects
    text_part = next(message.iter_parts()).get_content()
    assert " ".join(unescape(text).split())[:5].strip("\0\u202e") in " ".join(
        text_part.split()
    )  # the footer names who writes
    assert "49" not in text_part


@pytest.mark.parametrize("text", CORPUS, ids=ascii)
def test_a_subject_is_one_line(text):
    for letter in (
        built(
            Sender(name="Shop", email="shop@example.com", reply_to="help@example.com"),
            subject="{{ contact.first_name }}",
            first_name=text,
        ),
    ):
        message = opened(letter)
        assert [name for name, _ in message.items()] == PLAIN
        assert str(message["Subject"]).isprintable()


@pytest.mark.parametrize("address", [each for each in ADDRESSES if each])
def test_an_address_that_is_none_makes_no_letter(address):
    for letter in (
        built(Sender(name="Shop", email="shop@example.com"), recipient=address),
        built(
            Sender.model_construct(name="Shop", email="shop@example.com", reply_to=address),
            recipient="ana@example.com",
        ),
        built(Sender.model_construct(name="Shop", email=address, reply_to=None)),
    ):
        assert isinstance(letter, Refused)
        assert "\n" not in letter.reason
        assert "\r" not in letter.reason


@pytest.mark.parametrize(
    "text",
    [
        *CORPUS,
        "../../etc/passwd",
        "a/b\\c",
        "con.pdf",
        ".htaccess",
        "x" * 500 + ".pdf",
        "invoice.pdf\r\nContent-Type: text/html",
    ],
    ids=ascii,
)
def test_the_name_of_an_attachment_is_a_name(text):
    encoded = base64.b64encode(b"%PDF").decode()
    try:
        attached = fetched(["bill"], {"bill": {"name": text, "type": "application/pdf", "base64": encoded}})
    except BadAttachment:
        return
    message = message_from_bytes(part(attached), policy=policy.default)
    assert {name.lower() for name, _ in message.items()} <= {
        "content-type",
        "content-transfer-encoding",
        "content-disposition",
    }
    shown = message.get_filename()
    assert shown == file_name(text)
    assert shown.isprintable()
    assert not set(shown) & set('/\\:*?"<>|')
    assert not shown.startswith(".")
    assert message.get_content() == b"%PDF"


@pytest.mark.parametrize(
    "type_",
    ["text/html\r\nX: y", "multipart/mixed; boundary=x", "message/rfc822", "text", "a/b; name=x", "", *HEADERS[:4]],
)
def test_the_type_of_an_attachment_is_one_or_refused(type_):
    try:
        attached = fetched(["bill"], {"bill": {"name": "a.pdf", "type": type_, "base64": ""}})
    except BadAttachment:
        return
    message = message_from_bytes(part(attached), policy=policy.default)
    assert not message.is_multipart()
    assert len(message.get_all("Content-Type")) == 1
    assert message.get("X") is None
