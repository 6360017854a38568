"""DKIM signatures as verifiers see them: dkimpy, and mail that went over the wire."""

import base64
import re

import dkim
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from dkim.canonicalization import Relaxed
from hypothesis import given, settings
from hypothesis import strategies as st

from flowctl.engine.adapters import Channels
from flowctl.engine.dkim import Signer, Signers, relaxed_body
from flowctl.engine.processes import MANY
from flowctl.engine.runtime import load as load_runtime
from flowctl.engine.tick import tick
from flowctl.failure import Failure
from tests.channels.conftest import smtp_server
from tests.engine.world import MESSAGES, MINUTE, SETTINGS, T0, World, project

__all__ = ["smtp_server"]
RSA, ED25519 = generate_private_key(65537, 2048), Ed25519PrivateKey.generate()
HEAD = b"From: Maison Lune <shop@shop.example>\r\nTo: zoe@example.com\r\nSubject: =?utf-8?b?w6k=?=\r\n =?utf-8?b?w6k=?=\r\n"
FLOW = "workflow: w\ntriggers: [{event: signup}]\nsteps: [{send: MESSAGE, via: email}]\n"


def pem(key):
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


def record(key):
    public = key.public_key()
    if key is ED25519:
        raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        return b"v=DKIM1; k=ed25519; p=" + base64.b64encode(raw)
    der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return b"v=DKIM1; k=rsa; p=" + base64.b64encode(der)


def verified(mail, key=RSA):
    asked = []

    def dns(name, timeout=5):
        asked.append(name)
        return record(key)

    wire = mail if mail.endswith(b"\r\n") else mail + b"\r\n"  # as SMTP carries it
    found = dkim.verify(wire, dnsfunc=dns)
    assert asked in ([b"s1._domainkey.shop.example."], [])
    return found


def signer(key=RSA):
    return Signer(domain="shop.example", selector="s1", key=pem(key))


BODIES = [
    b"", b"\r\n", b"\r\n\r\n\r\n", b"one line", b"one line\r\n\r\n\r\n", b"  two  spaces \t and tabs\t\r\n \r\n\t\r\n", b" \r\n", b"x" * 990 + b"\r\n",
    "Bonjour, été ☀\r\n".encode(), b".\r\n..\r\n.leading dots\r\n", b"trailing  ", b"a\r\n\r\nb\r\n   \r\n",
]  # fmt: skip


@pytest.mark.parametrize("key", [RSA, ED25519], ids=["rsa", "ed25519"])
@pytest.mark.parametrize("body", BODIES)
def test_a_verifier_accepts_any_body(body, key):
    mail = signer(key).signed(HEAD + b"\r\n" + body, at=T0)
    assert verified(mail, key)
    if body.strip(b" \t\r\n"):
        assert not verified(mail.replace(body, body + b"\r\nmore\r\n"), key)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.text(" \tab.é", max_size=12), max_size=8), st.booleans())
def test_bodies_are_made_canonical_as_dkimpy_does(lines, ends):
    body = "\r\n".join(lines).encode() + (b"\r\n" if ends else b"")
    whole = body if not body or body.endswith(b"\r\n") else body + b"\r\n"  # what SMTP makes of it
    theirs = Relaxed.canonicalize_body(whole)
    assert relaxed_body(body) == (b"" if theirs == b"\r\n" else theirs)


def test_nothing_can_be_added_or_changed_on_the_way():
    mail = signer().signed(HEAD + b"List-Unsubscribe: <https://x.example/u/1>\r\n\r\nBody\r\n", at=T0)
    assert verified(mail)
    for header in (b"From: evil@evil.example\r\n", b"Subject: Other\r\n", b"To: b@example.com\r\n"):
        assert not verified(mail.replace(b"\r\nList-Unsubscribe", b"\r\n" + header + b"List-Unsubscribe"))
    assert not verified(mail.replace(b"/u/1", b"/u/2"))


def test_the_signature_is_short_lines_and_says_when():
    mail = signer().signed(HEAD + b"\r\nBody\r\n", at=T0)
    head = mail[: mail.index(b"From:")]
    assert all(len(line) <= 78 for line in head.split(b"\r\n")[1:])
    assert f"t={T0 // 1000};".encode() in head
    assert mail == signer().signed(HEAD + b"\r\nBody\r\n", at=T0)


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("nonsense", "no private key in PEM"),
        (pem(generate_private_key(65537, 1024)).replace("A", "B", 9), "no private key"),
    ],
)
def test_a_key_that_is_none_is_refused_without_its_words(key, reason):
    with pytest.raises(ValueError, match=reason) as raised:
        Signer(domain="d", selector="s", key=key)
    assert "nonsense" not in str(raised.value)


SIGNED = SETTINGS.replace(
    "email: {adapter: maildir, path: mail}",
    'email: {adapter: smtp, host: HOST, port: PORT, dkim: {domain: shop.example, selector: s1, key: "${DKIM_KEY}"}}',
)


@pytest.mark.parametrize("message", ["hello", "receipt"])
def test_what_leaves_by_smtp_is_signed_and_welcome(tmp_path, monkeypatch, smtp_server, message):
    server = smtp_server()
    monkeypatch.setenv("DKIM_KEY", pem(RSA))
    said = SIGNED.replace("HOST", server.host).replace("PORT", str(server.port))
    words = MESSAGES.replace("text: Hello}\n    sms", 'text: ".\\n\\n..é\\n\\nlast  \\n\\n\\n\\n"}\n    sms')
    world = World(FLOW.replace("MESSAGE", message), settings=said, messages=words)
    world.contact("ana")
    world.event("ana", "signup", T0 + MINUTE)
    report = tick(world.store, now=T0 + MINUTE, base=tmp_path)
    assert report.sent == 1, report
    (raw,) = server.raw()
    assert verified(raw)
    head = raw[: raw.index(b"\r\n\r\n")].decode()
    signed = re.search(r"h=([^;]*);", head).group(1).replace("\r\n ", "").split(":")
    assert signed.count("from") == 2
    if message == "hello":
        # RFC 8058 §3.1 and §4: both headers, whole on their lines, under the signature.
        assert re.search(r"\r\nList-Unsubscribe: <https://news\.example\.com/u/[A-Za-z0-9_.=-]{60,}>\r\n", head)
        assert "\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n" in head
        assert {"list-unsubscribe", "list-unsubscribe-post", "feedback-id"} <= set(signed)
        assert "\r\nFeedback-ID: hello:::world" in head
        assert "Auto-Submitted" not in head
    else:
        assert "\r\nAuto-Submitted: auto-generated" in head
        assert "auto-submitted" in signed
        assert "List-Unsubscribe" not in head
        assert "Feedback-ID" not in head


def test_what_is_sent_again_in_doubt_is_the_same_to_the_byte_signature_included(tmp_path, monkeypatch, smtp_server):
    server = smtp_server("--drop", "dot")
    monkeypatch.setenv("DKIM_KEY", pem(RSA))
    said = SIGNED.replace("HOST", server.host).replace("PORT", str(server.port))
    world = World(FLOW.replace("MESSAGE", "receipt"), settings=said)
    world.contact("ana")
    world.event("ana", "signup", T0 + MINUTE)
    assert tick(world.store, now=T0 + MINUTE, base=tmp_path).in_doubt == 1
    monkeypatch.setenv("DKIM_KEY", pem(generate_private_key(65537, 2048)))  # whatever happened to the key since
    tick(world.store, now=T0 + 30 * MINUTE, base=tmp_path)
    first, second = server.raw()
    assert first == second
    assert verified(first)


@pytest.mark.parametrize("people", [1, MANY + 1])
def test_a_missing_key_stops_the_channel_and_no_contact(tmp_path, monkeypatch, people):
    monkeypatch.delenv("DKIM_KEY", raising=False)
    world = World(FLOW.replace("MESSAGE", "hello"), settings=SIGNED.replace("HOST", "localhost").replace("PORT", "9"))
    for number in range(people):
        world.contact(f"ana{number}")
        world.event(f"ana{number}", "signup", T0 + MINUTE)
    report = tick(world.store, now=T0 + MINUTE, base=tmp_path)
    assert report.refusals["email"].startswith("the variable DKIM_KEY is not set")
    assert (report.failed, report.sent) == (0, 0)


def test_the_senders_key_goes_before_the_channels(tmp_path, monkeypatch):
    monkeypatch.setenv("DKIM_KEY", pem(RSA))
    own = tmp_path / "own.pem"
    own.write_text(pem(ED25519), encoding="ascii")
    own.chmod(0o600)
    said = SIGNED.replace("HOST", "localhost").replace("PORT", "9").replace(
        "shop@example.com", "shop@example.com, dkim: {domain: own.example, selector: s2, key: own.pem}"
    )  # fmt: skip
    world = World(settings=said)
    signers = Channels(load_runtime(world.connection), tmp_path).signers
    assert isinstance(signers, Signers)
    assert repr(signers.of("Shop@example.com")) == "Signer(s2._domainkey.own.example)"
    assert repr(signers.of("other@example.com")) == "Signer(s1._domainkey.shop.example)"
    own.chmod(0o644)
    with pytest.raises(Failure, match="can be read by others"):
        _ = Channels(load_runtime(world.connection), tmp_path).signers


def test_a_key_needs_a_selector():
    (error,) = project(settings=SIGNED.replace("selector: s1, ", "").replace("PORT", "9")).errors
    assert "a `key` needs the `selector`" in error.message
    assert error.place.path == "flowctl.yaml"
