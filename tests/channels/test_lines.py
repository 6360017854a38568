"""All SMTP conversations of a channel in one thread: what the caller is asked and told, whatever the servers do."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import closing, contextmanager

import pytest

from flowctl.channels import lines
from flowctl.channels.lines import Lines
from flowctl.channels.pool import Pool, sender
from flowctl.channels.recording import RecordingChannel
from flowctl.channels.registry import make_channel
from flowctl.channels.smtp import SmtpConnection
from tests.conformance.letters import a_letter
from tests.servers.running import HERE

FIFTY = [a_letter(f"c{number}") for number in range(50)]
DISK_FULL = "disk full"


def lines_to(settings, **more):
    return closing(sender(make_channel("email", {**settings, **more})))


def test_email_has_lines_and_others_have_threads(smtp_server):
    with lines_to(smtp_server().settings()) as lines, closing(sender(RecordingChannel())) as pool:
        assert isinstance(lines, Lines)
        assert isinstance(pool, Pool)


def test_lines_ask_together_and_none_leaves_before_its_leave(smtp_server, monkeypatch):
    monkeypatch.setattr(lines, "GATHER_S", 2.0)
    monkeypatch.setattr(lines, "GATHER_S_MAX", 2.0)
    server = smtp_server()
    asked = []
    with lines_to(server.settings(connections=8)) as under_way:
        for round_ in under_way.rounds(FIFTY):
            arrived = set(server.recipients())
            assert not arrived & {letter.recipient for letter in round_.asking}
            asked.append(len(round_.asking))
            round_.grant(round_.asking)
    assert sum(asked) == 50
    assert max(asked) == 8
    assert len(server.recipients()) == 50


@pytest.mark.parametrize("more", [[], ["--no-pipelining"]])
def test_what_is_not_granted_does_not_leave_and_the_others_do(smtp_server, more):
    server = smtp_server(*more)
    fenced = []
    with lines_to(server.settings(connections=4)) as lines:
        for round_ in lines.rounds(FIFTY):
            round_.grant(letter for letter in round_.asking if letter.key != "key-c7")
            fenced += [attempt.letter.key for attempt in round_.done if attempt.receipt.fenced]
    assert fenced == ["key-c7"]
    assert len(server.recipients()) == 49
    assert "c7@example.com" not in server.recipients()


def test_a_caller_that_fails_lets_nothing_more_leave(smtp_server):
    server = smtp_server()
    with lines_to(server.settings(connections=4)) as lines:
        rounds = lines.rounds(FIFTY)
        first = next(rounds)
        with pytest.raises(OSError, match=DISK_FULL):
            rounds.throw(OSError(DISK_FULL))
        assert first.asking
    assert server.recipients() == []


def test_closing_in_the_middle_waits_for_what_is_leaving(smtp_server):
    server = smtp_server("--delay", "0.3")
    lines = sender(make_channel("email", server.settings(connections=3)))
    rounds = lines.rounds(FIFTY)
    first = next(rounds)
    first.grant(first.asking)
    threading.Timer(0.1, lines.stop).start()
    done = [attempt.receipt for round_ in rounds for attempt in round_.done]
    lines.close()
    lines.close()
    sent = [receipt for receipt in done if receipt.outcome == "sent"]
    assert all(receipt.fenced for receipt in done if receipt not in sent)
    assert len(server.recipients()) == len(sent) == len(first.asking)


def test_closing_while_leave_is_asked_for_lets_nothing_leave_and_ends_the_run(smtp_server):
    server = smtp_server()
    lines = sender(make_channel("email", server.settings(connections=3)))
    for round_ in lines.rounds(FIFTY):
        round_.grant(round_.asking)
        lines.close()
    assert server.recipients() == []


def test_few_letters_open_few_lines_and_they_are_kept_between_runs(smtp_server, monkeypatch):
    server = smtp_server()
    opened = []
    connect = SmtpConnection.connect
    monkeypatch.setattr(SmtpConnection, "connect", lambda line: (opened.append(line), connect(line)))
    with lines_to(server.settings(connections=8)) as lines:
        for letter in FIFTY[:4]:
            for round_ in lines.rounds([letter]):
                round_.grant(round_.asking)
    assert len(server.recipients()) == 4
    assert len(opened) == 1


def test_a_slow_line_holds_up_no_other(smtp_server):
    server = smtp_server("--delay", "0.5", "--only", "c0@example.com")
    ended = []
    with lines_to(server.settings(connections=2)) as lines:
        for round_ in lines.rounds(FIFTY):
            round_.grant(round_.asking)
            ended += [attempt.letter.recipient for attempt in round_.done]
    assert len(ended) == 50
    assert ended.index("c0@example.com") > 5


def counted_connects(monkeypatch):
    opened = []
    connect = SmtpConnection.connect
    monkeypatch.setattr(SmtpConnection, "connect", lambda line: (opened.append(line), connect(line)))
    return opened


def test_lines_for_letters_that_are_expected_connect_while_the_first_is_built(smtp_server, monkeypatch):
    server = smtp_server()
    opened = counted_connects(monkeypatch)

    def slowly_built():
        until = time.monotonic() + 10
        while len(opened) < 8 and time.monotonic() < until:
            time.sleep(0.01)
        yield from FIFTY

    with lines_to(server.settings(connections=8)) as lines:
        lines.expect(50)
        for round_ in lines.rounds(slowly_built()):
            assert len(opened) == 8
            round_.grant(round_.asking)
        lines.expect(50)
    assert len(server.recipients()) == 50
    assert len(opened) == len(set(opened)) == 8


def test_lines_that_cannot_connect_for_expected_letters_say_so_of_the_first_ones_and_try_no_second_time(monkeypatch):
    opened = counted_connects(monkeypatch)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with lines_to({"adapter": "smtp", "host": "127.0.0.1", "port": port}, connections=4) as lines:
        lines.expect(3)
        done = [attempt.receipt for round_ in lines.rounds(FIFTY) for attempt in round_.done]
        assert lines.refusal is not None
    assert {(receipt.outcome, receipt.scope, receipt.phase) for receipt in done} == {("retry", "provider", "connect")}
    assert 3 <= len(opened) <= 4
    assert len(set(opened)) == len(opened)


@pytest.mark.parametrize("expected", [0, 50])
def test_what_nobody_foresaw_while_several_lines_connect_comes_out_and_holds_up_nobody(monkeypatch, expected):
    def unforeseen(_):
        message = "nobody foresaw this"
        raise ValueError(message)

    monkeypatch.setattr(SmtpConnection, "connect", unforeseen)
    came_out = []

    def run():
        with lines_to({"adapter": "smtp", "host": "127.0.0.1", "port": 9}, connections=4) as lines:
            lines.expect(expected)
            try:
                list(lines.rounds(FIFTY))
            except ValueError as error:
                came_out.append(error)

    running = threading.Thread(target=run, daemon=True)
    running.start()
    running.join(10)
    assert not running.is_alive()
    assert "nobody foresaw this" in str(came_out)


def test_lines_that_are_expected_in_vain_are_closed(smtp_server):
    server = smtp_server()
    with lines_to(server.settings(connections=4)) as lines:
        lines.expect(50)
        assert list(lines.rounds([])) == []
        lines.expect(50)
    assert server.recipients() == []


@contextmanager
def mute_server(*, greets):
    """A server that takes connections and then says nothing, or only its greeting."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        taken = []

        def serve():
            while True:
                try:
                    line, _ = listening.accept()
                except OSError:
                    return
                taken.append(line)
                if greets:
                    line.sendall(b"220 mute\r\n")
                    line.recv(1000)
                    line.sendall(b"250-mute\r\n250 PIPELINING\r\n")

        threading.Thread(target=serve, daemon=True).start()
        yield {"adapter": "smtp", "host": "127.0.0.1", "port": listening.getsockname()[1], "timeout": 0.3}
        listening.shutdown(socket.SHUT_RDWR)
        for line in taken:
            line.close()


@pytest.mark.parametrize(("greets", "phase"), [(False, "connect"), (True, "mail")])
def test_silence_ends_and_concerns_the_provider(greets, phase):
    begun = time.monotonic()
    with mute_server(greets=greets) as settings, lines_to(settings, connections=2) as lines:
        done = [attempt for round_ in lines.rounds(FIFTY) for attempt in round_.done]
        assert lines.refusal is not None
    assert {(attempt.receipt.outcome, attempt.receipt.scope, attempt.receipt.phase) for attempt in done} == {
        ("retry", "provider", phase)
    }
    assert "timed out" in done[0].receipt.reply
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize("connections", [1, 3])
@pytest.mark.parametrize("security", ["none", "starttls", "tls"])
def test_a_letter_longer_than_any_buffer_arrives_as_it_is(smtp_server, security, connections):
    text = ("." + "x" * 70 + "\r\n") * 60_000
    server = smtp_server(*([] if security == "none" else [f"--{security}"]))
    letters = [a_letter(f"c{number}", text=text) for number in range(3)]
    trust = {} if security == "none" else {"ca": str(HERE / "cert.pem")}
    settings = server.settings(connections=connections, security=security, **trust)
    with lines_to(settings) as lines:
        outcomes = []
        for round_ in lines.rounds(letters):
            round_.grant(round_.asking)
            outcomes += [attempt.receipt for attempt in round_.done]
    assert [receipt.outcome for receipt in outcomes] == ["sent"] * 3, outcomes
    assert sorted(server.raw()) == sorted(letter.payload for letter in letters)


def test_a_pace_holds_for_all_lines_together(smtp_server):
    server = smtp_server()
    begun = time.monotonic()
    with lines_to(server.settings(connections=4), rate="20/s") as lines:
        for round_ in lines.rounds(FIFTY[:11]):
            round_.grant(round_.asking)
    assert time.monotonic() - begun >= 0.35
    assert len(server.recipients()) == 11


def test_a_server_that_hangs_up_on_idle_lines_costs_nobody_anything(smtp_server):
    server = smtp_server("--close-after")
    with lines_to(server.settings(connections=2)) as lines:
        for half in (FIFTY[:25], FIFTY[25:]):
            for round_ in lines.rounds(half):
                round_.grant(round_.asking)
                assert {attempt.receipt.outcome for attempt in round_.done} <= {"sent"}
            time.sleep(0.05)
    assert len(server.recipients()) == 50
