"""Attachments: files of the project and what was fetched, in mail that any reader takes apart."""

from base64 import b64encode
from email import message_from_bytes, policy
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowctl.channels.smtp_wire import lined
from flowctl.engine import mime
from flowctl.engine.attachments import Attached, BadAttachment, fetched, file_name, part
from flowctl.engine.letters import Letters, Refused
from flowctl.engine.templates import prepare
from flowctl.language.attached import FILE_BYTES_MAX, encoded
from flowctl.language.message import Message
from flowctl.language.settings import Sender
from flowctl.project.load import load, load_texts
from tests.engine.world import MINUTE, SETTINGS, T0, World

PDF = b"%PDF-1.7\r\n" + bytes(range(256)) * 20
MESSAGE = """
messages:
  invoice:
    purpose: transactional
    email: {from: shop, subject: Invoice, text: "Hello {{ contact.first_name|default('you') }}", attach: ATTACH}
"""
FLOW = """
workflow: billing
triggers: [{event: signup}]
steps: [{send: invoice}]
"""


def parts_of(payload):
    assert lined(payload) == payload
    mail = message_from_bytes(payload, policy=policy.default)
    assert not any(each.defects for each in mail.walk())
    return mail, list(mail.iter_attachments())


def build(attach, data=None, files=None):
    said = {"subject": "s", "text": "Bonjour", "attach": attach}
    message = Message.model_validate({"message": "m", "purpose": "transactional", "email": said}, strict=False)
    texts = {name: encoded(content) for name, content in (files or {}).items()}
    by_digest = {}
    made = prepare(
        message,
        senders={"s": Sender(name="S", email="s@shop.example")},
        languages=["fr"],
        read=texts.get,
        project="shop",
    )
    import hashlib

    from flowctl.engine.attachments import files_of

    for content in files_of([made], texts):
        by_digest[hashlib.sha256(content).hexdigest()] = content
    return Letters(None, files=by_digest.get).build(
        made, channel="email", recipient="zoe@example.com", key="k", now=T0, contact={"id": 1}, data=data or {}
    )


def test_a_file_stands_beside_the_alternative_of_text_and_html():
    letter = build(
        ["Conditions générales.pdf", "prices.csv"], files={"Conditions générales.pdf": PDF, "prices.csv": b"a;b\n"}
    )
    mail, (pdf, csv) = parts_of(letter.payload)
    assert mail.get_content_type() == "multipart/mixed"
    assert [each.get_content_type() for each in mail.iter_parts()] == [
        "multipart/alternative", "application/pdf", "text/csv",
    ]  # fmt: skip
    assert mail.get_body(("plain",)).get_content() == "Bonjour\r\n"
    assert (pdf.get_filename(), pdf.get_content()) == ("Conditions générales.pdf", PDF)
    assert csv.get_filename() == "prices.csv"
    assert csv.get_payload(decode=True) == b"a;b\n"
    assert b"filename*=utf-8''Conditions%20g%C3%A9n%C3%A9rales.pdf" in letter.payload
    assert all(len(line) <= 78 for line in letter.payload.split(b"\r\n\r\n")[-1].split(b"\r\n"))
    assert letter.payload.count(b"\n") == letter.payload.count(b"\r\n")


@settings(deadline=None)
@given(name=st.text(min_size=1, max_size=200), content=st.binary(max_size=300))
def test_any_name_and_content_come_out_the_same(name, content):
    clean = file_name(name)
    assert not set(clean) & set('/\\:*?"<>|\r\n\0')
    assert len(clean) <= 120
    if not clean or not _encodable(clean):
        return
    made = mime.skeleton(
        name="S", address="s@s.example", reply_to=None, marketing=False, encodings=("base64", "base64"), mixed=True
    )
    raw = made.filled(b"", b"t\r\n", b"h\r\n", [part(Attached(name=clean, type="application/pdf", content=content))])
    _, (found,) = parts_of(raw)
    assert found.get_content() == content
    assert found.get_filename() == clean


def _encodable(text):
    return not any(0xD800 <= ord(char) <= 0xDFFF for char in text)


INVOICE = {"name": "R-2026-7.pdf", "type": "application/pdf", "base64": b64encode(PDF).decode()}


def test_what_was_fetched_goes_along():
    _, (pdf,) = parts_of(build([{"from": "data.order.invoice"}], data={"order": {"invoice": INVOICE}}).payload)
    assert (pdf.get_filename(), pdf.get_content_type(), pdf.get_content()) == ("R-2026-7.pdf", "application/pdf", PDF)


@pytest.mark.parametrize(
    ("invoice", "reason"),
    [
        (None, 'no attachment in data.invoice: it must be {"name", "type", "base64"}'),
        ("https://x.example/i.pdf", 'no attachment in data.invoice: it must be {"name", "type", "base64"}'),
        ({**INVOICE, "name": ""}, "the attachment in data.invoice has no `name`"),
        ({**INVOICE, "name": "../.."}, "the attachment in data.invoice: `base64` is none"),
        ({**INVOICE, "base64": "no base64!"}, "the attachment in data.invoice: `base64` is none"),
        ({**INVOICE, "base64": 7}, "the attachment in data.invoice: `base64` is none"),
        (
            {**INVOICE, "type": "a\r\nBcc: x"},
            "the attachment in data.invoice has a `type` that is none, such as application/pdf",
        ),
    ],
)
def test_bad_data_fails_only_its_message(invoice, reason):
    if isinstance(invoice, dict) and invoice["name"] == "../..":
        invoice, reason = {**invoice, "name": "///"}, None
    made = build([{"from": "data.invoice"}], data={"invoice": invoice})
    if reason is None:
        _, (pdf,) = parts_of(made.payload)
        assert pdf.get_filename() == "___"
    else:
        assert made == Refused(reason=reason)


@pytest.mark.parametrize("type_", ["multipart/mixed", "message/rfc822", "MESSAGE/RFC822"])
def test_what_a_reader_would_take_apart_goes_as_bytes(type_):
    assert fetched(["i"], {"i": {**INVOICE, "type": type_}}).type == "application/octet-stream"


def test_too_much_together_is_refused():
    big = {"name": "a.bin", "base64": b64encode(bytes(FILE_BYTES_MAX)).decode()}
    made = build([{"from": "data.a"}, {"from": "data.a"}, {"from": "data.b"}], data={"a": big, "b": INVOICE})
    assert made.reason.startswith("its attachments are 10,490,890 bytes together, over the limit of 10,485,760")


def test_a_value_that_is_missing_says_where():
    with pytest.raises(BadAttachment, match=r"no attachment in data\.order\.invoice"):
        fetched(["order", "invoice"], {"order": []})


def project_in(folder, attach="[terms.pdf]", content=PDF):
    (folder / "flowctl.yaml").write_text(SETTINGS, encoding="utf-8")
    (folder / "messages.yaml").write_text(MESSAGE.replace("ATTACH", attach), encoding="utf-8")
    (folder / "billing.yaml").write_text(FLOW, encoding="utf-8")
    if content is not None:
        (folder / "terms.pdf").write_bytes(content)
    return load(folder)


def test_a_release_keeps_its_files_and_a_tick_needs_no_folder(tmp_path):
    from flowctl.engine.apply import apply

    project = project_in(tmp_path)
    assert not project.errors
    world = World(FLOW, messages=MESSAGE.replace("ATTACH", "[]"))
    apply(world.store, project, commit="c1", now=T0)
    (tmp_path / "terms.pdf").unlink()
    (files,) = world.connection.execute("SELECT files FROM releases ORDER BY id DESC LIMIT 1").fetchone()
    world.contact("ana")
    world.event("ana", "signup", T0 + MINUTE)
    world.tick(T0 + MINUTE)
    _, (pdf,) = parts_of(world.channel.transmitted[0].payload)
    assert pdf.get_content() == PDF
    # What `rollback` does: the release's own texts are a project again.
    import json

    again = load_texts(json.loads(files), Path("/"))
    assert not again.errors
    assert again.bodies["terms.pdf"] == encoded(PDF)
    runtime = world.connection.execute("SELECT runtime FROM releases ORDER BY id DESC LIMIT 1").fetchone()[0]
    assert encoded(PDF)[20:60] not in runtime  # a tick with nothing to send reads no attachment


@pytest.mark.parametrize(
    ("attach", "content", "message"),
    [
        ("[terms.pdf]", bytes(FILE_BYTES_MAX + 1), "`terms.pdf` cannot be attached: it is larger than 5 MiB"),
        ("[terms.pdf]", None, "there is no file `terms.pdf`"),
        ("[../secret.pdf]", PDF, "there is no file `../secret.pdf`"),
        ("[link.pdf]", PDF, "there is no file `link.pdf`"),
    ],
)
def test_a_file_that_cannot_go_is_said_where_it_stands(tmp_path, attach, content, message):
    (tmp_path / "secret.pdf").write_bytes(PDF)
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "link.pdf").symlink_to(tmp_path / "secret.pdf")
    (error, *_) = project_in(folder, attach, content).errors
    assert message in error.message
    assert (error.place.path, error.place.line) == ("messages.yaml", 5)
