"""Faults of a real SMTP server, and what each letter is told."""

from __future__ import annotations

import os
import socket
from collections import Counter
from contextlib import closing

import pytest

from flowctl.channels.pace import Pace
from flowctl.channels.pool import sender
from flowctl.channels.registry import make_channel
from flowctl.channels.smtp import SmtpChannel, SmtpSettings
from flowctl.channels.smtp_wire import lined, stuffed
from tests.conformance.letters import a_letter
from tests.servers.running import HERE

FIFTY = [a_letter(f"c{number}") for number in range(50)]


def send_all(settings, letters):
    """Receipts by recipient, with every asking letter granted, and why the breaker opened."""
    receipts = {}
    with closing(sender(make_channel("email", settings))) as pool:
        for round_ in pool.rounds(letters):
            round_.grant(round_.asking)
            for attempt in round_.done:
                assert attempt.letter.recipient not in receipts
                receipts[attempt.letter.recipient] = attempt.receipt
        return receipts, pool.refusal


def told(receipts):
    return Counter((receipt.outcome, receipt.scope) for receipt in receipts.values())


def one(settings, letter=None):
    committed = []
    connection = make_channel("email", settings).open()
    receipt = connection.transmit(letter or a_letter(), lambda: committed.append(1) or True)
    connection.close()
    return receipt, len(committed)


def test_fifty_letters_on_four_lines_all_arrive_as_they_are(smtp_server):
    server = smtp_server()
    receipts, refusal = send_all(server.settings(connections=4), FIFTY)
    assert told(receipts) == {("sent", "message"): 50}
    assert refusal is None
    assert sorted(server.raw()) == sorted(letter.payload for letter in FIFTY)


@pytest.mark.parametrize("more", [[], ["--no-pipelining"]])
@pytest.mark.parametrize(
    ("fault", "outcome", "scope", "phase"),
    [
        (["--mail", "451 4.3.0 later"], "retry", "provider", "mail"),
        (["--mail", "550 5.7.1 not you"], "retry", "sender", "mail"),
        (["--rcpt", "c1@example.com", "452 4.5.3 later"], "retry", "message", "rcpt"),
        (["--drop", "mail"], "retry", "provider", "mail"),
    ],
)
def test_the_envelope_is_judged_the_same_in_one_journey_and_in_two(smtp_server, fault, outcome, scope, phase, more):
    receipt, committed = one(smtp_server(*fault, *more).settings(), a_letter("c1"))
    assert (receipt.outcome, receipt.scope, receipt.phase, committed) == (outcome, scope, phase, 0)


@pytest.mark.parametrize("more", [[], ["--no-pipelining"]])
def test_one_550_among_fifty_suppresses_one_address_and_stops_nobody(smtp_server, more):
    server = smtp_server("--rcpt", "c7@example.com", "550 5.1.1 no such user", *more)
    receipts, refusal = send_all(server.settings(connections=4), FIFTY)
    assert told(receipts) == {("sent", "message"): 49, ("failed", "address"): 1}
    assert receipts["c7@example.com"].reply == "550 5.1.1 no such user"
    assert refusal is None
    assert len(server.recipients()) == 49


def test_421_after_some_letters_is_answered_with_a_new_line(smtp_server):
    server = smtp_server("--per-connection", "3")
    receipts, refusal = send_all(server.settings(connections=2), FIFTY)
    assert told(receipts) == {("sent", "message"): 50}
    assert refusal is None


def test_421_for_good_opens_the_breaker_and_costs_no_attempt(smtp_server):
    server = smtp_server("--total", "10")
    receipts, refusal = send_all(server.settings(), FIFTY)
    outcomes = told(receipts)
    assert outcomes[("sent", "message")] == 10
    assert set(outcomes) == {("sent", "message"), ("retry", "provider")}
    assert len(receipts) < 50
    assert refusal.reply == "421 4.7.0 enough for now"
    assert len(server.recipients()) == 10


def test_a_server_that_closes_after_each_letter_gets_them_all(smtp_server):
    server = smtp_server("--close-after")
    receipts, refusal = send_all(server.settings(connections=2), FIFTY)
    assert told(receipts) == {("sent", "message"): 50}
    assert refusal is None


def test_dropped_after_the_dot_is_in_doubt(smtp_server):
    server = smtp_server("--drop", "dot", "--only", "c7@example.com")
    receipts, refusal = send_all(server.settings(connections=2), FIFTY)
    assert told(receipts) == {("sent", "message"): 49, ("in_doubt", "message"): 1}
    assert receipts["c7@example.com"].outcome == "in_doubt"
    assert refusal is None


def test_a_server_that_leaves_everything_in_doubt_is_not_fed(smtp_server):
    server = smtp_server("--drop", "dot")
    receipts, refusal = send_all(server.settings(), FIFTY)
    assert set(told(receipts)) == {("in_doubt", "message")}
    assert 5 <= len(receipts) <= 7
    assert refusal.outcome == "in_doubt"


@pytest.mark.parametrize("phase", ["rcpt", "data"])
def test_dropped_before_the_text_is_tried_again(smtp_server, phase):
    server = smtp_server("--drop", phase, "--only", "c7@example.com")
    receipts, refusal = send_all(server.settings(connections=2), FIFTY)
    assert told(receipts) == {("sent", "message"): 49, ("retry", "message"): 1}
    assert refusal is None
    assert "c7@example.com" not in server.recipients()


@pytest.mark.parametrize("phase", ["greeting", "mail"])
def test_dropped_before_any_recipient_was_named_is_the_providers_fault(smtp_server, phase):
    receipt, committed = one(smtp_server("--drop", phase).settings())
    assert (receipt.outcome, receipt.scope, committed) == ("retry", "provider", 0)


def test_server_down():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        receipt, committed = one({"adapter": "smtp", "host": "127.0.0.1", "port": taken.getsockname()[1], "timeout": 2})
    assert (receipt.outcome, receipt.scope, receipt.phase, committed) == ("retry", "provider", "connect", 0)
    assert "refused" in receipt.reply


def test_host_that_does_not_exist():
    receipt, _ = one({"adapter": "smtp", "host": "mail.invalid", "timeout": 2})
    assert (receipt.outcome, receipt.scope, receipt.phase) == ("retry", "provider", "connect")
    assert receipt.reply.startswith("mail.invalid:25: ")


@pytest.mark.parametrize(
    "raw",
    [r"blah\r\n", r"250-ok\r\n", r"250-ok\r\n550 no\r\n", r"250", r"25\r\n", r"999 what\r\n", r"354 go on\r\n", ""],
)
def test_what_is_no_reply_to_the_dot_is_in_doubt(smtp_server, raw):
    server = smtp_server("--raw", raw)
    receipt, committed = one(server.settings())
    assert (receipt.outcome, receipt.phase, committed) == ("in_doubt", "body", 1)
    assert len(server.recipients()) == 1


def test_silence_after_the_dot_is_in_doubt(smtp_server):
    receipt, _ = one(smtp_server("--delay", "3").settings(reply_timeout=0.2))
    assert (receipt.outcome, receipt.phase) == ("in_doubt", "body")
    assert "timed out" in receipt.reply


def test_a_slow_answer_is_waited_for(smtp_server):
    receipt, _ = one(smtp_server("--delay", "0.6").settings(timeout=0.3))
    assert receipt.outcome == "sent"


@pytest.mark.parametrize("reply", ["299 fine", "251 forwarded", "200 ok"])
def test_any_2xx_is_sent(smtp_server, reply):
    receipt, _ = one(smtp_server("--dot", reply).settings())
    assert (receipt.outcome, receipt.reply) == ("sent", reply)


def test_closing_right_after_the_answer_is_sent_all_the_same(smtp_server):
    receipt, _ = one(smtp_server("--raw", r"250 ok\r\n").settings())
    assert receipt.outcome == "sent"


@pytest.mark.parametrize(
    ("reply", "outcome", "scope"),
    [
        ("451 4.3.2 busy", "retry", "provider"),
        ("452 try later", "retry", "message"),
        ("550 looks like spam", "failed", "message"),
        ("554 5.7.1 blocked", "retry", "sender"),
        ("554 no", "retry", "sender"),
        ("550 5.1.1 no such user", "failed", "address"),
        ("552 5.3.4 too big", "failed", "message"),
    ],
)
def test_refusals_after_the_dot(smtp_server, reply, outcome, scope):
    server = smtp_server("--dot", reply)
    receipt, committed = one(server.settings())
    assert (receipt.outcome, receipt.scope, receipt.reply, committed) == (outcome, scope, reply, 1)
    assert server.recipients() == []


def test_a_line_survives_a_refusal(smtp_server):
    server = smtp_server(
        "--rcpt", "no@example.com", "550 5.1.1 no", "--rcpt", "later@example.com", "450 4.2.0 greylisted"
    )
    connection = make_channel("email", server.settings()).open()
    outcomes = [connection.transmit(a_letter(name), lambda: True).outcome for name in ("no", "later", "ana")]
    connection.close()
    assert outcomes == ["failed", "retry", "sent"]


def test_one_recipient_refused_by_policy_is_not_the_providers_refusal(smtp_server):
    server = smtp_server(
        "--rcpt", "c7@example.com", "550 5.7.1 members only", "--rcpt", "c8@example.com", "450 4.3.2 not now"
    )
    receipts, refusal = send_all(server.settings(connections=2), FIFTY)
    assert told(receipts) == {("sent", "message"): 48, ("failed", "message"): 1, ("retry", "message"): 1}
    assert refusal is None


def test_everybody_refused_by_policy_is(smtp_server):
    server = smtp_server("--dot", "554 5.7.1 your domain is blocked")
    receipts, refusal = send_all(server.settings(), FIFTY)
    assert set(told(receipts)) == {("retry", "sender")}
    assert 3 <= len(receipts) <= 5
    assert refusal.reply == "554 5.7.1 your domain is blocked"


# ------------------------------------------------------------------------------------------------------ TLS, login, options


CA = str(HERE / "cert.pem")


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_over_tls(smtp_server, security):
    server = smtp_server(f"--{security}")
    receipt, _ = one(server.settings(security=security, ca=CA))
    assert receipt.outcome == "sent"


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_certificate_nobody_vouches_for_gets_nothing(smtp_server, security):
    receipt, committed = one(smtp_server(f"--{security}").settings(security=security, username="me", password="x"))
    assert (receipt.outcome, receipt.scope, committed) == ("retry", "provider", 0)
    assert "certificate not trusted" in receipt.reply


def test_a_server_without_starttls_gets_nothing_in_the_clear(smtp_server):
    server = smtp_server("--auth", "me:secret")
    receipt, committed = one(server.settings(security="starttls", username="me", password="secret"))
    assert (receipt.outcome, receipt.scope, committed) == ("retry", "provider", 0)
    assert "STARTTLS" in receipt.reply


def test_login(smtp_server):
    server = smtp_server("--auth", "me:secret")
    assert one(server.settings(username="me", password="secret"))[0].outcome == "sent"


@pytest.mark.parametrize("password", ["wrong-password", "pässwörd", ""])
def test_a_wrong_login_concerns_the_sender_and_is_not_told(smtp_server, password):
    server = smtp_server("--auth", "me:secret")
    receipt, committed = one(server.settings(username="me", password=password))
    assert (receipt.outcome, receipt.scope, receipt.phase, committed) == ("retry", "sender", "login", 0)
    assert not password or password not in repr(receipt)


def test_without_the_login_that_is_asked_for(smtp_server):
    receipt, _ = one(smtp_server("--auth", "me:secret").settings())
    assert (receipt.outcome, receipt.scope) == ("retry", "sender")


def test_a_message_over_the_servers_limit_is_not_offered(smtp_server):
    receipt, committed = one(smtp_server("--size", "1000").settings(), a_letter(text="x" * 70 + "\r\n" + "y" * 1000))
    assert (receipt.outcome, receipt.scope, committed) == ("failed", "message", 0)
    assert "limit of 1000" in receipt.reply


def test_an_address_beyond_ascii_needs_smtputf8(smtp_server):
    letter = a_letter(recipient="zoé@example.com")
    server = smtp_server()
    assert one(server.settings(), letter)[0].outcome == "sent"
    assert server.recipients() == ["zoé@example.com"]
    receipt, committed = one(smtp_server("--no-utf8").settings(), letter)
    assert (receipt.outcome, receipt.scope, committed) == ("failed", "message", 0)


def test_a_domain_beyond_ascii_needs_nothing(smtp_server):
    server = smtp_server("--no-utf8")
    assert one(server.settings(), a_letter(recipient="ana@müller.example"))[0].outcome == "sent"
    assert server.recipients() == ["ana@xn--mller-kva.example"]


@pytest.mark.parametrize(
    "recipient",
    ["a@b.example>\r\nRCPT TO:<c@d.example", "a b@c.example", "a@b.example\n", "", "@b", "a@", "a@b@c.example"],
)
def test_an_address_cannot_smuggle_a_command(plain_smtp_server, recipient):
    receipt, committed = one(plain_smtp_server.settings(), a_letter()._replace(recipient=recipient))
    assert (receipt.outcome, receipt.scope, committed) == ("failed", "message", 0)


@pytest.mark.parametrize(
    ("said", "wire"),
    [
        (b"a\r\n", b"a\r\n.\r\n"),
        (b"a", b"a\r\n.\r\n"),
        (b".a\r\n.\r\n..b\r\n", b"..a\r\n..\r\n...b\r\n.\r\n"),
        (b"a\nb\rc\r\n", b"a\r\nb\r\nc\r\n.\r\n"),
        (b"a\r\n.\nQUIT\r\n", b"a\r\n..\r\nQUIT\r\n.\r\n"),
        (b"", b"\r\n.\r\n"),
    ],
)
def test_quoting(said, wire):
    assert stuffed(lined(said)) == wire


def test_all_lines_of_a_channel_share_one_pace(smtp_server):
    server = smtp_server()
    clock, slept = [0.0], []

    def sleep(seconds):
        slept.append(seconds)
        clock[0] += seconds

    settings = SmtpSettings(host=server.host, port=server.port)
    channel = SmtpChannel(settings, pace=Pace(10, monotonic=lambda: clock[0], sleep=sleep))
    lines = [channel.open(), channel.open()]
    for number in range(21):
        assert lines[number % 2].transmit(a_letter(f"c{number}"), lambda: True).outcome == "sent"
    for line in lines:
        line.close()
    assert clock[0] == pytest.approx(2.0)


def test_after_a_pause_a_pace_does_not_burst():
    clock = [100.0]

    def sleep(seconds):
        clock[0] += seconds

    pace = Pace(50, monotonic=lambda: clock[0], sleep=sleep)
    pace.wait()
    clock[0] += 3600
    begun = clock[0]
    for _ in range(50):
        pace.wait()
    assert clock[0] - begun >= 0.85


def test_no_process_is_asked_for_its_own_name(monkeypatch, plain_smtp_server):
    """socket.getfqdn can hang for seconds on a machine without DNS."""
    monkeypatch.setattr(socket, "getfqdn", lambda *_: os.abort())
    assert one(plain_smtp_server.settings())[0].outcome == "sent"
