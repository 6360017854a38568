"""What every channel adapter promises, whatever it talks to."""

from __future__ import annotations

import json
import uuid
from typing import get_args

import pytest

from flowctl.channels.channel import Outcome, Phase, Receipt, Scope
from flowctl.channels.recording import RecordingChannel
from flowctl.channels.registry import ADAPTERS, make_channel
from flowctl.project.providers import packaged_names
from flowctl.store import contacts, inbox
from flowctl.store.database import open_store
from tests.conformance.letters import a_letter
from tests.servers.apis import Brevo, Keyed, Ovh, Twilio, Vonage
from tests.servers.described import described

DISK_FULL = "disk full"
SECRET = "s3cr3t-of-the-test"


class Harness:
    """An adapter, and how to see what left by it."""

    def __init__(self, channel, arrived, *, breaks=None, letter=a_letter, closes=lambda: None):
        self.channel = channel
        self.arrived = arrived  # recipient -> list of payloads
        self.breaks = breaks  # the same adapter on a provider that cannot be reached; None: it is the store itself
        self.letter = letter
        self.closes = closes


def smtp_harness(tmp_path, server):
    settings = server.settings(username=None, password=SECRET)

    def arrived(recipient):
        kept = zip(server.envelopes(), server.raw(), strict=True)
        return [raw for envelope, raw in kept if recipient in envelope["to"]]

    nowhere = make_channel("email", {**settings, "port": 1, "timeout": 1, "username": "me"})
    return Harness(make_channel("email", settings), arrived, breaks=nowhere)


def maildir_harness(tmp_path, server):
    folder = tmp_path / "mail"

    def arrived(recipient):
        files = [file for name in ("new", "cur") if (folder / name).exists() for file in (folder / name).iterdir()]
        return [raw for raw in (file.read_bytes() for file in files) if recipient.encode() in raw]

    (tmp_path / "file").write_text("no folder")
    nowhere = make_channel("email", {"adapter": "maildir", "path": str(tmp_path / "file" / "mail")})
    return Harness(make_channel("email", {"adapter": "maildir", "path": str(folder)}), arrived, breaks=nowhere)


def recording_harness(tmp_path, server):
    channel = RecordingChannel()

    def arrived(recipient):
        return [letter.payload for letter in channel.transmitted if letter.recipient == recipient]

    broken = RecordingChannel(lambda _: Receipt(outcome="retry", reply="no", phase="connect", scope="provider"))
    return Harness(channel, arrived, breaks=broken)


def an_sms(name):
    number = f"+336{int(uuid.uuid5(uuid.NAMESPACE_OID, name)) % 10**8:08}"
    return a_letter(
        name,
        channel="sms",
        sender="MaisonLune",
        recipient=number,
        message_id="",
        payload={"text": "Bonjour à tous, 10 €"},
    )


def api_harness(kind):
    def harness(tmp_path, server):
        api = kind()
        settings = described(api.settings())

        def arrived(recipient):
            return [{"text": one.text} for one in api.to(recipient)]

        nowhere = make_channel("sms", {**settings, "url": "http://127.0.0.1:1", **secrets_of(settings)})
        return Harness(make_channel("sms", settings), arrived, breaks=nowhere, letter=an_sms, closes=api.close)

    return harness


def secrets_of(settings):
    if "token" in settings:
        return {"token": SECRET}
    return {"values": dict.fromkeys(settings["values"], SECRET)}


def inbox_harness(tmp_path, server):
    store = open_store(":memory:", create=True)
    number = contacts.create(store.connection, {"key": "ana"}, origin=1, now=0)

    class Shelf(inbox.Shelf):
        """Without an outbox behind it: every key is this contact's."""

        def _owner(self, key):
            return number

    def arrived(recipient):
        rows = store.connection.execute("SELECT content FROM inbox WHERE key = ?", (f"key-{recipient}",))
        return [json.loads(content) for (content,) in rows]

    def letter(name):
        return a_letter(name, channel="in_app", recipient=name, payload={"title": "Bonjour", "text": "Entrez"})

    channel = make_channel("in_app", {"adapter": "inbox", "store": Shelf(store.connection, lambda: 0)})
    return Harness(channel, arrived, letter=letter, closes=store.close)


HARNESSES = {
    "smtp": smtp_harness, "maildir": maildir_harness, "recording": recording_harness, "inbox": inbox_harness, "twilio": api_harness(Twilio),
    "http": api_harness(Keyed), "http-vonage": api_harness(Vonage), "http-brevo": api_harness(Brevo), "http-ovh": api_harness(Ovh),
}  # fmt: skip


@pytest.fixture(params=sorted(HARNESSES))
def harness(request, tmp_path, plain_smtp_server):
    made = HARNESSES[request.param](tmp_path, plain_smtp_server)
    yield made
    made.closes()


@pytest.fixture
def letter(harness):
    return harness.letter(f"ana-{uuid.uuid4().hex}")


@pytest.fixture
def breaks(harness):
    if harness.breaks is None:
        pytest.skip("the store itself: out of reach, there is no tick either")
    return harness.breaks


def test_every_adapter_is_held_to_this():
    assert set(ADAPTERS) | {"recording"} == {name.partition("-")[0] for name in HARNESSES}
    assert {name.partition("-")[2] for name in HARNESSES} - {""} == set(packaged_names())


def well_formed(receipt):
    assert receipt.outcome in get_args(Outcome)
    assert receipt.scope in get_args(Scope)
    assert receipt.phase in get_args(Phase)
    assert "\n" not in receipt.reply
    assert SECRET not in repr(receipt)
    return receipt


def test_commit_is_asked_once_before_anything_leaves(harness, letter):
    seen = []

    def commit():
        seen.append(harness.arrived(letter.recipient))
        return True

    connection = harness.channel.open()
    receipt = well_formed(connection.transmit(letter, commit))
    connection.close()
    assert receipt.outcome == "sent"
    assert seen == [[]]
    assert harness.arrived(letter.recipient) == [letter.payload]


def test_a_fenced_letter_does_not_leave_and_the_line_stays_usable(harness, letter):
    connection = harness.channel.open()
    receipt = well_formed(connection.transmit(letter, lambda: False))
    assert receipt.fenced
    assert harness.arrived(letter.recipient) == []
    assert connection.transmit(letter, lambda: True).outcome == "sent"
    connection.close()
    assert harness.arrived(letter.recipient) == [letter.payload]


def test_what_commit_raises_comes_out_and_nothing_leaves(harness, letter):
    def commit():
        raise OSError(DISK_FULL)

    connection = harness.channel.open()
    with pytest.raises(OSError, match=DISK_FULL):
        connection.transmit(letter, commit)
    assert harness.arrived(letter.recipient) == []
    assert connection.transmit(letter, lambda: True).outcome == "sent"
    connection.close()


def test_a_letter_sent_twice_is_the_same_to_the_byte(harness, letter):
    connection = harness.channel.open()
    for _ in range(2):
        assert connection.transmit(letter, lambda: True).outcome == "sent"
    connection.close()
    arrived = harness.arrived(letter.recipient)
    assert arrived
    assert all(payload == letter.payload for payload in arrived)


def test_a_provider_out_of_reach_costs_no_attempt_and_asks_no_commit(breaks, letter):
    asked = []
    connection = breaks.open()
    receipt = well_formed(connection.transmit(letter, lambda: asked.append(1) or True))
    connection.close()
    assert (receipt.outcome, receipt.scope, asked) == ("retry", "provider", [])
    assert receipt.opens_breaker


def test_close_may_be_called_again_and_before_use(harness, letter):
    unused = harness.channel.open()
    unused.close()
    connection = harness.channel.open()
    connection.transmit(letter, lambda: True)
    connection.close()
    connection.close()


def test_opening_does_no_work(breaks):
    breaks.open().close()


def test_secrets_show_nowhere(harness, breaks, letter):
    connection = breaks.open()
    said = [harness.channel, breaks, connection, connection.transmit(letter, lambda: True)]
    assert all(SECRET not in repr(one) and SECRET not in str(one) for one in said)


def test_a_letter_does_not_show_its_text():
    assert "Bonjour" not in repr(a_letter())


@pytest.mark.parametrize(
    ("outcome", "scope"),
    [("sent", "address"), ("failed", "sender"), ("failed", "provider"), ("in_doubt", "provider"), ("retry", "address")],
)
def test_receipts_that_make_no_sense_cannot_be_made(outcome, scope):
    with pytest.raises(ValueError, match="cannot be"):
        Receipt(outcome=outcome, scope=scope, reply="", phase="body")


def test_a_payload_that_is_no_email_is_a_file_too(tmp_path):
    channel = make_channel("sms", {"adapter": "maildir", "path": str(tmp_path / "out")})
    letter = a_letter()._replace(channel="sms", recipient="+33612345678", payload={"text": "Bonjour"})
    assert channel.open().transmit(letter, lambda: True).outcome == "sent"
    assert '"text": "Bonjour"' in (tmp_path / "out" / "new" / "key-ana.json").read_text()


def test_smtp_refuses_what_is_no_email_without_asking(plain_smtp_server):
    connection = make_channel("email", plain_smtp_server.settings()).open()
    asked = []
    receipt = connection.transmit(a_letter()._replace(payload={"text": "x"}), lambda: asked.append(1) or True)
    assert (receipt.outcome, asked) == ("failed", [])
