"""What is read out of the mails in tests/mails, written after the formats of their programs, and out of broken ones."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowctl.engine.mail_reports import Report, Unreadable, read_report

MAILS = Path(__file__).parent.parent / "mails"
KEY = "0123456789abcdef0123456789abcdef"
ANA = "ana@example.net"

# mail → kind, recipient, status, whether it bears the message's key; or what it is passed over as
EXPECTED = {
    "postfix-unknown": ("hard", ANA, "5.1.1", True),
    "postfix-no-domain": ("hard", ANA, "5.4.4", True),
    "postfix-full": ("soft", ANA, "5.2.2", True),
    "postfix-delayed": "delayed",
    "postfix-expired": ("soft", ANA, "4.4.1", True),
    "delivered": ("delivered", ANA, "", True),
    "gmail-unknown": ("hard", ANA, "5.1.1", True),
    "gmail-over-quota": ("soft", ANA, "4.2.2", True),
    "orange-unknown": ("hard", ANA, "5.1.1", True),
    "orange-full": ("soft", ANA, "5.1.1", True),
    "orange-rejected": ("soft", ANA, "5.2.0", True),
    "free-blocked": ("soft", ANA, "5.7.1", True),
    "yahoo-unknown": ("hard", ANA, "5.0.0", True),
    "exchange-online": ("hard", ANA, "5.4.1", True),
    "exchange-legacy": ("hard", ANA, "5.1.10", True),
    "opensmtpd": ("hard", ANA, "5.1.1", True),
    "srs-forwarded": ("hard", ANA, "5.1.1", False),
    "base64-report": ("hard", ANA, "5.1.1", True),
    "exim-plain": ("hard", ANA, "5.1.1", True),
    "exim-frozen": ("soft", ANA, "", True),
    "exim-warning": "delayed",
    "qmail": ("hard", ANA, "5.1.1", True),
    "no-message-id": ("hard", ANA, "5.1.1", False),
    "other-message": ("soft", ANA, "5.2.2", False),
    "verp": ("hard", "someone@elsewhere.example", "5.1.1", True),
    "arf-yahoo": ("complained", ANA, "", True),
    "arf-redacted": ("complained", "", "", True),
    "arf-opt-out": ("unsubscribed", ANA, "", True),
    "arf-not-spam": "other",
    "arf-auth-failure": "other",
    "hotmail-jmrp": ("complained", ANA, "", True),
    "out-of-office": "reply",
    "vacation": "reply",
    "read-receipt": "reply",
    "human": "other",
}


def report(name):
    return read_report((MAILS / f"{name}.eml").read_bytes())


def test_every_mail_is_expected():
    assert EXPECTED.keys() | {"postfix-multi", "utf8-report"} == {path.stem for path in MAILS.glob("*.eml")}


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("name", EXPECTED)
def test_reads(name, line_end):
    said = read_report((MAILS / f"{name}.eml").read_bytes().replace(b"\n", line_end))
    if isinstance(EXPECTED[name], str):
        assert (said.findings, said.ignored) == ((), EXPECTED[name])
        return
    (finding,) = said.findings
    found = (finding.kind, finding.recipient, finding.status, KEY in said.keys)
    assert found == EXPECTED[name]
    assert said.at is not None


def test_one_report_on_several_recipients():
    found = [(each.kind, each.recipient) for each in report("postfix-multi").findings]
    assert found == [("soft", "old@example.net"), ("hard", "ANA@example.net")]


def test_an_internationalised_report():
    said = report("utf8-report")
    assert said.keys == (KEY,)
    assert [each.kind for each in said.findings] == ["hard"]


def test_the_servers_words_are_kept_on_one_line_and_short():
    (finding,) = report("gmail-unknown").findings
    assert finding.said.startswith("550-5.1.1 The email account that you tried to reach does not exist.")
    assert "\n" not in finding.said
    assert len(finding.said) <= 300


def test_whose_letter_it_is_about():
    assert report("other-message").foreign
    assert not report("no-message-id").foreign
    assert report("postfix-unknown").tokens == ("xyz.sig",)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"  \n\n", "empty"),
        (b"\xff\xfe\x00\x00", "no header"),
        (b"From: MAILER-DAEMON@x.example\nSubject: Undeliverable\n\nSorry.\n", "not of whom"),
        (
            b"From: postmaster@x.example\nContent-Type: multipart/report; boundary=x\n\n--x\nContent-Type: message/delivery-status\n\n\xff\n--x--\n",
            "not of whom",
        ),
    ],
)
def test_what_cannot_be_read_says_why(data, reason):
    with pytest.raises(Unreadable, match=reason):
        read_report(data)


WHOLE = [path.read_bytes() for path in sorted(MAILS.glob("*.eml"))]


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(WHOLE),
    st.lists(st.tuples(st.integers(0, 4000), st.binary(max_size=8)), max_size=6),
    st.integers(1, 4000),
)
def test_a_mail_damaged_in_any_way_is_a_report_or_unreadable(mail, edits, end):
    for place, piece in edits:
        mail = mail[:place] + piece + mail[place + len(piece) // 2 :]
    for data in (mail, mail[:end]):
        with contextlib.suppress(Unreadable):
            assert isinstance(read_report(data), Report)


@pytest.mark.parametrize(
    "hostile",
    [
        b"Content-Type: multipart/report; boundary=\n\n",
        b"Content-Type: multipart/mixed; boundary=a\n\n" + b"--a\nContent-Type: multipart/mixed; boundary=a\n\n" * 2000,
        b"Content-Type: message/rfc822\n\n" * 1500,
        b"From: mailer-daemon@x\nContent-Type: text/plain; charset=nonsense\n\n550 5.1.1 user unknown <ana@example.net>\n",
        b"From: mailer-daemon@x\nDate: Mon, 99 Foo 9999 99:99:99 +9999\nX-Failed-Recipients: "
        + b"a@b.example, " * 20000
        + b"\n\nx",
        b"From: =?utf-8?b?////?= <mailer-daemon@x>\nX-Failed-Recipients: \xff\xfe@\xff\n\n5.1.1",
        b"From: mailer-daemon@x\n\n" + b"<" * 200_000,
    ],
)
def test_a_hostile_mail_is_harmless(hostile):
    with contextlib.suppress(Unreadable):
        read_report(hostile)
