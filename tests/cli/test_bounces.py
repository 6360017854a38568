"""`flowctl bounces import`: from mailboxes to what conditions, guards, reports and the gate see."""

import io
import json
import mailbox
import shutil
import sys
from types import SimpleNamespace

import pytest

from flowctl.engine.bounces import BounceImport
from flowctl.engine.links import Claim, Links
from flowctl.store import consents, contacts, suppressions
from flowctl.store.database import transaction
from tests.engine.test_mail_reports import KEY, MAILS, WHOLE

DAY = 86_400_000
SENT_AT = 1_772_445_600_000  # 2026-03-02T10:00:00Z; the reports are of five minutes later
NOW = SENT_AT + 3_600_000
ANA = "ana@example.net"


@pytest.fixture(autouse=True)
def _now(monkeypatch):
    monkeypatch.setenv("FLOWCTL_NOW", "2026-03-02T11:00:00Z")


@pytest.fixture
def shop(applied):
    """A store with ana, and a function that puts a letter to her into the outbox as if it had left."""
    connection = applied.connection
    with transaction(connection):
        ana = contacts.create(connection, {"key": "ana", "email": ANA}, origin=0, now=1)
        said = consents.Statement(contact_id=ana, channel="email", granted=True, at=1, source="form")
        consents.record(connection, [said], now=1)
        connection.execute("INSERT INTO names (id, kind, name) VALUES (1, 'channel', 'email'), (2, 'message', 'hello')")
        connection.execute(
            "INSERT INTO workflow_versions VALUES (1, 'w', 1, 1, 'd', 'w.yaml', '{\"instructions\": []}')"
        )

    def left(key=KEY, *, at=SENT_AT, state=3, recipient=ANA, contact=ana):
        with transaction(connection):
            (enrollment,) = connection.execute(
                "INSERT INTO enrollments (contact_id, workflow, version_id, cause, rkey, entered_at, pc, at) "
                "VALUES (?, 'w', 1, ?, ?, 1, 0, 1) RETURNING id",
                (contact, f"manual:{key}", key),
            ).fetchone()
            (number,) = connection.execute(
                "INSERT INTO outbox (contact_id, enrollment_id, version_id, pc, visit, channel, message, recipient, marketing, priority, "
                "arrived_at, expires_at, state, counted_at, settled_at, key) VALUES (?, ?, 1, 0, 0, 1, 2, ?, 1, 50, 1, 2, ?, ?, ?, ?) RETURNING id",
                (contact, enrollment, recipient, state, at, at, key),
            ).fetchone()
            if state == 3:
                connection.execute(
                    "INSERT INTO message_events (contact_id, message, status, at, outbox_id, enrollment_id, channel) VALUES (?, 2, 0, ?, ?, ?, 1)",
                    (contact, at, number, enrollment),
                )
        return number

    def query(text, *values):
        return connection.execute(text, values).fetchall()

    return SimpleNamespace(store=applied, connection=connection, ana=ana, left=left, query=query)


@pytest.fixture
def read(shop):
    """Import mails by name or as bytes, at NOW; the counts."""

    def run(*mails, now=NOW):
        links = Links(secret=shop.store.secret, public_url="")
        importer = BounceImport(shop.connection, links=links, now=now)
        importer.take(
            (str(place), mail if isinstance(mail, bytes) else (MAILS / f"{mail}.eml").read_bytes())
            for place, mail in enumerate(mails)
        )
        return importer.outcome

    return run


def statuses_of(shop):
    return shop.query("SELECT status FROM message_events WHERE status > 0 ORDER BY id")


@pytest.mark.parametrize(
    "name", ["postfix-unknown", "exim-plain", "gmail-unknown", "exchange-online", "qmail", "verp", "no-message-id"]
)
def test_a_hard_bounce_is_stored_suppresses_and_is_known_the_second_time(shop, read, name):
    shop.left()
    done = read(name)
    assert (done.counts, done.suppressed) == ({"hard": 1}, 1)
    assert statuses_of(shop) == [(5,)]
    assert suppressions.is_suppressed(shop.connection, "email", "ANA@example.net")
    ((reason, source),) = shop.query("SELECT reason, source FROM suppressions WHERE contact_id = 0")
    assert (reason, ANA in source) == ("bounced", False)
    ((detail,),) = shop.query("SELECT detail FROM message_events WHERE status = 5")
    assert json.loads(detail)["bounce"] == "hard"
    before = "\n".join(shop.connection.iterdump())
    done = read(name)
    assert (done.counts, done.suppressed) == ({"known": 1}, 0)
    assert "\n".join(shop.connection.iterdump()) == before


def test_conditions_triggers_and_reports_see_the_event(shop, read):
    shop.left()
    read("postfix-unknown", "arf-yahoo")
    found = shop.query("SELECT t.name, e.props, e.at FROM events e JOIN event_types t ON t.id = e.type ORDER BY e.id")
    assert [(name, json.loads(props)["key"]) for name, props, _ in found] == [
        ("message_bounced", KEY),
        ("message_complained", KEY),
    ]
    assert found[0][2] == SENT_AT + 5 * 60_000


@pytest.mark.parametrize(
    ("name", "status"), [("postfix-unknown", 5), ("arf-yahoo", 6), ("delivered", 1), ("postfix-full", 5)]
)
@pytest.mark.parametrize("state", [5, 0])
def test_what_was_in_doubt_was_sent(shop, read, name, status, state):
    number = shop.left(state=5)
    if state == 0:  # it waits to be sent once more
        shop.connection.execute(
            "UPDATE outbox SET state = 0, ready_at = 9, settled_at = NULL, counted_at = NULL, doubts = 1"
        )
    assert read(name).settled == 1
    assert shop.query("SELECT state, ready_at FROM outbox WHERE id = ?", number) == [(3, None)]
    assert shop.query("SELECT status FROM message_events WHERE outbox_id = ? ORDER BY status", number) == [
        (0,),
        (status,),
    ]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("arf-yahoo", "complained"),
        ("arf-redacted", "complained"),
        ("hotmail-jmrp", "complained"),
        ("arf-opt-out", "unsubscribed"),
    ],
)
def test_a_complaint_suppresses(shop, read, name, reason):
    shop.left()
    assert read(name).counts == {reason: 1}
    assert [row[1] for row in suppressions.of_contact(shop.connection, shop.ana)] == [reason]


@pytest.mark.parametrize(
    ("name", "kind"),
    [("postfix-delayed", "delayed"), ("exim-warning", "delayed"), ("out-of-office", "reply"), ("vacation", "reply"), ("read-receipt", "reply"),
     ("human", "other"), ("arf-not-spam", "other"), ("other-message", "unknown")],
)  # fmt: skip
def test_what_says_nothing_changes_nothing(shop, read, name, kind):
    shop.left()
    before = "\n".join(shop.connection.iterdump())
    assert read(name).counts == {kind: 1}
    assert "\n".join(shop.connection.iterdump()) == before


def test_explain_says_why(shop, read, flowctl):
    shop.left()
    read("postfix-unknown")
    status, out, err = flowctl("explain", "ana")
    assert status == 0, err
    assert "bounce hard, status 5.1.1, said 550 5.1.1 <ana@example.net>: Recipient address rejected" in out


def key_of(number):
    return f"{number:032x}"


def soft(number, when):
    mail = (MAILS / "postfix-full.eml").read_bytes().replace(KEY.encode(), key_of(number).encode())
    from email.utils import formatdate

    return mail.replace(b"Mon, 02 Mar 2026 11:05:00 +0100", formatdate(when / 1000).encode())


@pytest.mark.parametrize(
    ("left_on", "bounced", "answered", "suppressed"),
    [
        ((0, 3, 6), (0, 1, 2), None, True),
        ((0, 7, 13), (0, 1, 2), None, True),
        ((0, 8, 16), (0, 1, 2), None, False),  # too far apart
        ((0, 3), (0, 1), None, False),
        ((0, 3, 4, 6), (0, 1, 3), 2, False),  # one of them was opened
        ((0, 1, 7, 8), (0, 2, 3), None, False),  # one of them has not bounced for longer than servers try
        ((0, 1, 2, 3), (0, 1, 3), None, True),  # one of them may still bounce
    ],
)
def test_soft_bounces_suppress_after_three_in_a_row(shop, read, left_on, bounced, answered, suppressed):
    for number, day in enumerate(left_on):
        shop.left(key_of(number), at=SENT_AT + day * DAY)
    if answered is not None:
        shop.connection.execute(
            "INSERT INTO message_events (contact_id, message, status, at, outbox_id) SELECT contact_id, message, 2, 1, id FROM outbox WHERE key = ?",
            (key_of(answered),),
        )
    now = SENT_AT
    for number in bounced:
        now = SENT_AT + left_on[number] * DAY + 60_000
        done = read(soft(number, now), now=now + 60_000)
        assert done.counts == {"soft": 1}
        assert done.suppressed == (suppressed and number == bounced[-1])
    assert suppressions.is_suppressed(shop.connection, "email", ANA) == suppressed
    if suppressed:
        assert suppressions.of_contact(shop.connection, shop.ana)[0][1:] == (
            "bounced",
            now // 1000 * 1000,
            "3 soft bounces in a row",
        )


def test_the_same_soft_bounce_three_times_is_one(shop, read):
    shop.left()
    assert read("postfix-full", "postfix-full", "orange-full").counts == {"soft": 1, "known": 2}
    assert not suppressions.is_suppressed(shop.connection, "email", ANA)


def test_a_signed_link_finds_the_letter_whose_message_id_was_replaced(shop, read):
    shop.left(recipient="alias@example.org")
    url = Links(secret=shop.store.secret, public_url="https://news.example.com").url(
        "unsubscribe", Claim(key=KEY, contact_id=shop.ana, channel="email", topic=None)
    )
    mail = (MAILS / "postfix-unknown.eml").read_bytes().replace(b"https://news.example.com/u/xyz.sig", url.encode())
    mail = mail.replace(f"<{KEY}@example.com>".encode(), b"<0102018f@eu-west-1.amazonses.example>")
    assert read(mail.replace(url.encode()[-8:], b"forged00")).counts == {"address": 1}
    assert read(mail).counts == {"hard": 1}


def test_one_report_on_several_of_our_recipients(shop, read):
    old = contacts.create(shop.connection, {"key": "old", "email": "old@example.net"}, origin=0, now=1)
    shop.left(recipient="ana@EXAMPLE.net")
    shop.left(key_of(1), recipient="old@example.net", contact=old)
    assert read("postfix-multi").counts == {"hard": 1}  # the letter has one recipient
    without_id = (MAILS / "postfix-multi.eml").read_bytes().replace(b"Message-ID:", b"X-Nothing:")
    assert read(without_id).counts == {"known": 1, "soft": 1}


def test_an_address_of_ours_in_somebody_elses_bounce_is_suppressed_once(shop, read):
    assert read("postfix-unknown", "postfix-unknown", "postfix-full").counts == {"address": 1, "known": 1, "unknown": 1}
    assert statuses_of(shop) == []
    assert [row[1] for row in suppressions.of_contact(shop.connection, shop.ana)] == ["bounced"]


def test_a_letter_long_before_is_not_what_bounced(shop, read):
    shop.left(key_of(1), at=SENT_AT - 40 * DAY)
    assert read("no-message-id").counts == {"address": 1}


def test_reports_from_a_clock_that_runs_ahead_are_of_now(shop, read):
    shop.left()
    mail = (MAILS / "postfix-unknown.eml").read_bytes().replace(b"Mar 2026 11:05", b"Mar 2046 11:05")
    read(mail)
    assert shop.query("SELECT at FROM message_events WHERE status = 5") == [(NOW,)]


# ------------------------------------------------------------------------------------------------------------ the command line


@pytest.fixture
def maildir(project):
    box = mailbox.Maildir(project / "Maildir")
    for path in sorted(MAILS.glob("*.eml")):
        box.add(path.read_bytes())
    return box


def test_a_maildir_twice(shop, maildir, project, flowctl):
    shop.left(state=5)
    (project / "Maildir" / "new" / "9.broken").write_bytes(b"")
    status, out, err = flowctl("bounces", "import", "Maildir", "--json")
    said = json.loads(out)
    assert status == 1
    assert (said["kind"], said["mails"], said["settled"], said["suppressed"]) == (
        "bounces-import",
        len(WHOLE) + 1,
        1,
        1,
    )
    assert said["unreadable"] == [{"mail": "new/9.broken", "reason": "it is empty"}]
    assert "new/9.broken: it is empty" in err
    assert "1 message in doubt settled" in err
    before = "\n".join(shop.connection.iterdump())
    status, out, _ = flowctl("bounces", "import", "Maildir", "--json")
    again = json.loads(out)
    assert {
        again[kind]
        for kind in ("hard", "soft", "complained", "unsubscribed", "delivered", "address", "settled", "suppressed")
    } == {0}
    assert "\n".join(shop.connection.iterdump()) == before
    assert len(list((project / "Maildir" / "new").iterdir())) == len(WHOLE) + 1  # left as it is


def test_an_mbox_a_folder_a_file_and_a_pipe_say_the_same(shop, project, flowctl, monkeypatch, capsys):
    shop.left()
    box = mailbox.mbox(project / "box")
    for mail in WHOLE:
        box.add(mail)
    box.close()
    shutil.copytree(MAILS, project / "mails")
    copies = []
    for place in ("box", "mails"):
        _, out, _ = flowctl("bounces", "import", place, "--json")
        copies.append(json.loads(out))
        assert copies[-1]["mails"] == len(WHOLE)
    assert copies[0]["hard"] + copies[0]["soft"] == 1  # the first of them; the rest are of the same letter
    assert copies[1]["known"] > 10
    (project / "one.eml").write_bytes((MAILS / "arf-yahoo.eml").read_bytes())
    assert flowctl("bounces", "import", "one.eml")[0] == 0
    for data, count in (((project / "box").read_bytes(), len(WHOLE)), (WHOLE[0], 1), (b"", 0)):
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data)))
        status, out, _ = flowctl("bounces", "import", "-", "--json")
        assert (status, json.loads(out)["mails"]) == (0, count)


@pytest.mark.parametrize(("place", "words"), [("nowhere", "cannot be read"), (".", "is no Maildir")])
def test_what_is_no_mailbox_is_refused(shop, flowctl, place, words):
    status, _, err = flowctl("bounces", "import", place)
    assert status == 2
    assert words in err
    assert "Traceback" not in err


def test_a_name_that_drives_a_terminal_is_shown_harmless(shop, project, flowctl):
    (project / "box").mkdir()
    (project / "box" / "\x1b[2Jx.eml").write_bytes(b"")
    status, _, err = flowctl("bounces", "import", "box")
    assert status == 1
    assert "\x1b" not in err


def test_the_queries_use_an_index(shop):
    shop.left()
    plans = []
    shop.connection.set_trace_callback(plans.append)
    importer = BounceImport(shop.connection, links=None, now=NOW)
    importer.take([("a", (MAILS / "no-message-id.eml").read_bytes()), ("b", (MAILS / "postfix-full.eml").read_bytes())])
    shop.connection.set_trace_callback(None)
    for text in plans:
        if text.startswith("SELECT") and "outbox" in text:
            steps = [row[3] for row in shop.connection.execute(f"EXPLAIN QUERY PLAN {text}")]
            assert not [step for step in steps if step.startswith("SCAN")], (text, steps)
