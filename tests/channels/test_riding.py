"""Letters whose first words ride behind the text before them: what a server heard, and what each letter is told, whatever it answers."""

from __future__ import annotations

import re
import select
import socket
import threading
import time
from collections import Counter
from contextlib import closing, contextmanager, suppress

import pytest

from flowctl.channels.pace import Pace
from flowctl.channels.pool import sender
from flowctl.channels.registry import make_channel
from flowctl.channels.smtp import SmtpChannel, SmtpSettings
from tests.conformance.letters import a_letter

TEN = [a_letter(f"c{number}", text=f"Hello.\r\n.\r\n..{number}\r\n") for number in range(10)]
CLOSE, SILENCE, HALF = b"", b"(silence)", b"250-ok\r\n"  # and then it closes


def address(number):
    return f"c{number}@example.com"


class Server:
    """Reads what it is sent line by line and not a byte further; answers as told, by verb and recipient, the first time only."""

    def __init__(self, faults, *, offers):
        self.faults = dict(faults)
        self.greeting = b"".join(b"250-%s\r\n" % offer.encode() for offer in ("here", *offers)) + b"250 HELP\r\n"
        self.kept, self.named, self.at_s = [], [], []  # texts by recipient; recipients; when each MAIL came
        self.unfinished = b""  # what stood where a text was awaited, and had no end
        self.rode = 0  # how often something followed a text before its answer
        self.hasty = 0  # how often something followed MAIL before its answer
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._lines, self.threads = [], []
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def settings(self):
        return {
            "adapter": "smtp",
            "host": "127.0.0.1",
            "port": self._listening.getsockname()[1],
            "timeout": 2,
            "reply_timeout": 0.5,
        }

    def close(self):
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for line in self._lines:
            with suppress(OSError):
                line.close()

    def _serve(self):
        with suppress(OSError):
            while True:
                line, _ = self._listening.accept()
                self._lines.append(line)
                self.threads.append(threading.Thread(target=self._speak, args=(line,), daemon=True))
                self.threads[-1].start()

    def _speak(self, line):
        with suppress(OSError), line, line.makefile("rb", buffering=0) as words:
            line.sendall(b"220 here\r\n")
            recipient = None
            while word := words.readline():
                verb = word[:4].upper().strip().decode()
                if verb == "EHLO":
                    line.sendall(self.greeting)
                    continue
                if verb == "MAIL":
                    self.hasty += bool(select.select([line], [], [], 0.01)[0])
                    self.at_s.append(time.monotonic())
                    recipient = None
                if verb == "RCPT":
                    recipient = re.search(rb"<(.*)>", word)[1].decode()
                    self.named.append(recipient)
                answer = self._answer(line, verb, recipient, b"354 go\r\n" if verb == "DATA" else b"250 ok\r\n")
                if not answer:
                    return
                if verb == "DATA" and answer == "as usual":
                    text = b""
                    try:
                        while (word := words.readline()) not in (b".\r\n", b""):
                            text += word
                    finally:
                        self.unfinished += b"" if word == b".\r\n" else text
                    if not word:
                        return
                    self.rode += bool(select.select([line], [], [], 0)[0])
                    self.kept.append((recipient, re.sub(rb"(?m)^\.", b"", text)))
                    if not self._answer(line, "dot", recipient, b"250 kept\r\n"):
                        return

    def _answer(self, line, verb, recipient, usual):
        """How it answered, as usual or as told; None where the line ends."""
        answer = self.faults.pop((verb, recipient), None)
        answer = answer() if callable(answer) else answer
        if answer is None and verb == "MAIL":
            answer = self.faults.pop(("MAIL", len(self.at_s)), None)
        if answer is None:
            line.sendall(usual)
            return "as usual"
        if answer == SILENCE:
            time.sleep(1.5)
            return "as told"
        if answer == CLOSE:
            return None
        line.sendall(answer)
        return None if answer.startswith(b"421") or answer == HALF else "as told"


class Crowded(Server):
    """Takes so many lines at a time."""

    most, open, refused = 3, 0, 0

    def _speak(self, line):
        if self.open >= self.most:
            self.refused += 1
            with line:
                line.sendall(b"421 4.7.0 too many connections from you\r\n")
            return
        self.open += 1
        super()._speak(line)
        self.open -= 1


@contextmanager
def a_server(faults=(), *, offers=("PIPELINING", "SIZE 100000")):
    server = Server(faults, offers=offers)
    try:
        yield server
        for thread in server.threads:
            thread.join(3)
        assert server.unfinished == b""
    finally:
        server.close()


def send(server, letters, *, fenced=(), each_round=lambda lines, round_: None, **more):
    """Receipts by recipient, whom leave was asked for, and why the breaker opened."""
    receipts, asked = {}, []
    with closing(sender(make_channel("email", {**server.settings, **more}))) as lines:
        for round_ in lines.rounds(letters):
            asked += [letter.recipient for letter in round_.asking]
            round_.grant(letter for letter in round_.asking if letter.recipient not in fenced)
            for attempt in round_.done:
                assert attempt.letter.recipient not in receipts
                receipts[attempt.letter.recipient] = attempt.receipt
            each_round(lines, round_)
        return receipts, asked, lines.refusal


def told(receipts):
    return {who: (receipt.outcome, receipt.phase, receipt.scope) for who, receipt in receipts.items()}


SENT = ("sent", "body", "message")
DOUBT = ("in_doubt", "body", "message")
PIPELINING = pytest.mark.parametrize("offers", [("PIPELINING",), ()], ids=["one journey", "many"])


def test_one_line_sends_all_in_order_each_with_the_next_one_behind_it():
    with a_server() as server:
        receipts, asked, _ = send(server, TEN)
    assert told(receipts) == {letter.recipient: SENT for letter in TEN}
    assert server.kept == [(letter.recipient, letter.payload) for letter in TEN]
    assert asked == server.named == [letter.recipient for letter in TEN]
    assert server.rode == 9


def test_nothing_rides_where_the_server_does_not_say_that_it_may():
    with a_server(offers=()) as server:
        send(server, TEN)
    assert (len(server.kept), server.rode) == (10, 0)


def test_everything_waits_for_its_answer_where_the_settings_say_so():
    """For a server that offers pipelining and gets out of step."""
    with a_server() as server:
        send(server, TEN, pipelining=False)
    assert (len(server.kept), server.rode, server.hasty) == (10, 0, 0)
    assert server.named == [letter.recipient for letter in TEN]


def test_many_lines_lose_and_repeat_nothing():
    letters = [a_letter(f"c{number}", text=f".{number}\r\n" * (number % 7)) for number in range(60)]
    with a_server() as server:
        receipts, _, _ = send(server, letters, connections=4)
    assert set(told(receipts).values()) == {SENT}
    assert sorted(server.kept) == sorted((letter.recipient, letter.payload) for letter in letters)
    assert server.rode > 30


@PIPELINING
@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (b"250 kept\r\n", SENT),
        (b"299 fine\r\n", SENT),
        (b"250-well\r\n250 kept\r\n", SENT),
        (b"451 4.2.1 later\r\n", ("retry", "body", "message")),
        (b"550 5.6.0 no\r\n", ("failed", "body", "message")),
        (b"354 again\r\n", DOUBT),
        (b"fine with me\r\n", DOUBT),
        (b"999 what\r\n", DOUBT),
        (HALF, DOUBT),
        (b"250-ok\r\n550 no\r\n", DOUBT),
        (CLOSE, DOUBT),
        (SILENCE, DOUBT),
    ],
)
def test_what_a_text_is_answered_concerns_its_letter_alone(answer, outcome, offers):
    with a_server({("dot", address(3)): answer}, offers=offers) as server:
        receipts, asked, refusal = send(server, TEN)
    assert told(receipts) == {letter.recipient: SENT for letter in TEN} | {address(3): outcome}
    assert refusal is None
    # Each text was said once, and leave for it asked once: what rode behind the third was said again on a new line, not sent again.
    assert Counter(who for who, _ in server.kept) == Counter(asked) == Counter(letter.recipient for letter in TEN)
    assert dict(server.kept) == {letter.recipient: letter.payload for letter in TEN}


@PIPELINING
@pytest.mark.parametrize(
    ("verb", "answer", "outcome"),
    [
        ("RCPT", b"550 5.1.1 nobody\r\n", ("failed", "rcpt", "address")),
        ("RCPT", b"452 4.2.2 full\r\n", ("retry", "rcpt", "message")),
        ("RCPT", b"what\r\n", SENT),  # on a successor
        ("DATA", b"452 4.2.2 full\r\n", ("retry", "data", "message")),
        ("DATA", b"552 too much\r\n", ("failed", "data", "message")),
        ("DATA", b"250 no, go on\r\n", ("retry", "data", "message")),
    ],
)
def test_what_a_letter_that_rides_is_answered_concerns_it_alone(verb, answer, outcome, offers):
    with a_server({(verb, address(4)): answer}, offers=offers) as server:
        receipts, _, refusal = send(server, TEN)
    assert told(receipts) == {letter.recipient: SENT for letter in TEN} | {address(4): outcome}
    assert refusal is None
    left = [one for one in TEN if outcome == SENT or one.recipient != address(4)]
    assert server.kept == [(one.recipient, one.payload) for one in left]


@PIPELINING
@pytest.mark.parametrize("more", [b"250 kept\r\n", b"550 5.6.0 no\r\n", b"421 4.3.2 closing\r\n", b"25"])
def test_a_server_that_says_more_than_that_it_awaits_the_text_does_not_get_it(more, offers):
    """What it said first would be taken for its answer to the text, and that one for the answer to the next letter."""
    with a_server({("DATA", address(4)): b"354 go\r\n" + more}, offers=offers) as server:
        receipts, _, refusal = send(server, TEN)
    outcome = SENT if offers else ("retry", "data", "message")  # its leave was granted before DATA
    assert told(receipts) == {letter.recipient: SENT for letter in TEN} | {address(4): outcome}
    assert refusal is None
    left = [one for one in TEN if outcome == SENT or one.recipient != address(4)]
    assert server.kept == [(one.recipient, one.payload) for one in left]


@PIPELINING
@pytest.mark.parametrize("more", [b"250 really\r\n", b"550 5.1.1 nobody\r\n", b"421 4.4.2 closing\r\n"])
def test_what_a_server_says_unasked_is_no_answer_to_the_next_letter(more, offers):
    receipts = []
    faults = {("dot", address(0)): b"250 kept\r\n" + more}
    with a_server(faults, offers=offers) as server, closing(sender(make_channel("email", server.settings))) as lines:
        for letter in TEN[:3]:
            for round_ in lines.rounds([letter]):
                round_.grant(round_.asking)
                receipts += [attempt.receipt.outcome for attempt in round_.done]
        assert receipts == ["sent"] * 3
    assert server.kept == [(letter.recipient, letter.payload) for letter in TEN[:3]]


@PIPELINING
@pytest.mark.parametrize("connections", [1, 3])
@pytest.mark.parametrize("said", [CLOSE, b"421 4.3.2 shutting down\r\n", b"550 5.6.0 no\r\n"])
def test_a_server_that_ends_a_line_while_leave_is_asked_for_does_not_get_the_text(said, connections, offers):
    """Nothing of the letter was said, so that there is no doubt."""
    asked = []

    def shut_down(_, round_):
        if not asked and address(4) in {letter.recipient for letter in round_.asking}:
            asked.extend(letter.recipient for letter in round_.asking)
            for line in server._lines:
                line.sendall(said)
                line.shutdown(socket.SHUT_RDWR)
            time.sleep(0.05)

    with a_server(offers=offers) as server:
        receipts, _, _ = send(server, TEN, each_round=shut_down, connections=connections)
    assert address(4) in asked
    for who in asked:
        assert told(receipts)[who] == ("retry", "data", "message")
    assert not set(asked) & {who for who, _ in server.kept}


@PIPELINING
@pytest.mark.parametrize("answer", [CLOSE, b"421 4.7.0 enough on this line\r\n"])
@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "DATA"])
def test_a_line_that_ends_under_a_letter_that_rides_has_a_successor(verb, answer, offers):
    with a_server({(verb, 5 if verb == "MAIL" else address(4)): answer}, offers=offers) as server:
        receipts, _, _ = send(server, TEN)
    safe = ("DATA", b"421 4.7.0 enough on this line\r\n"), ("DATA", CLOSE)
    outcomes = told(receipts)
    if offers or (verb, answer) not in safe:
        assert outcomes == {letter.recipient: SENT for letter in TEN}
        assert server.kept == [(letter.recipient, letter.payload) for letter in TEN]
    else:  # its leave was granted before DATA, and cannot be asked for twice
        assert outcomes[address(4)][0] == "retry"
        assert address(4) not in dict(server.kept)


def test_a_server_that_hangs_up_on_what_it_has_not_read_gets_every_letter_once():
    faults = {("dot", letter.recipient): b"250 kept\r\n" for letter in TEN}

    class HangingUp(Server):
        def _answer(self, line, verb, recipient, usual):
            answer = super()._answer(line, verb, recipient, usual)
            return None if verb == "dot" else answer

    server = HangingUp(faults, offers=("PIPELINING",))
    with closing(server):
        receipts, _, _ = send(server, TEN)
    assert told(receipts) == {letter.recipient: SENT for letter in TEN}
    assert server.kept == [(letter.recipient, letter.payload) for letter in TEN]
    assert server.rode == 9


@PIPELINING
@pytest.mark.parametrize("connections", [1, 3])
def test_a_provider_that_refuses_texts_gets_no_more_of_them(connections, offers):
    refusals = {("dot", letter.recipient): b"421 4.3.2 closing\r\n" for letter in TEN}
    with a_server(refusals, offers=offers) as server:
        receipts, asked, refusal = send(server, TEN, connections=connections)
    assert refusal is not None
    assert set(told(receipts).values()) == {("retry", "body", "provider")}
    # Those under way on other lines are finished; what rode behind the third was not asked for, and has no receipt.
    assert set(receipts) == set(asked) == {who for who, _ in server.kept}
    assert 3 <= len(asked) <= 2 + connections
    if connections == 1:
        assert server.rode == (3 if offers else 0)


@PIPELINING
def test_stop_lets_what_left_be_answered_and_nothing_ride_on(offers):
    with a_server(offers=offers) as server:
        receipts, asked, _ = send(server, TEN, each_round=lambda lines, round_: len(round_.done) and lines.stop())
    assert told(receipts) == dict.fromkeys(asked, SENT)
    assert [who for who, _ in server.kept] == asked
    assert 1 <= len(asked) <= 2


def test_after_stop_nothing_is_put_behind_what_may_leave():
    with a_server() as server:
        _, asked, _ = send(server, TEN, each_round=lambda lines, _: lines.stop())
    assert asked == server.named == [address(0)]
    assert server.rode == 0


def test_what_rides_when_stop_is_called_is_not_asked_for():
    """Its server awaits a text by then, and gets none."""
    with a_server() as server, closing(sender(make_channel("email", server.settings))) as lines:
        server.faults["dot", address(1)] = lambda: lines.stop() or b"250 kept\r\n"
        asked = []
        for round_ in lines.rounds(TEN):
            round_.grant(round_.asking)
            asked += [letter.recipient for letter in round_.asking]
    assert [who for who, _ in server.kept] == asked == [address(0), address(1)]
    assert server.rode == 2


@PIPELINING
def test_what_is_taken_over_by_another_does_not_leave_and_holds_nobody_up(offers):
    with a_server(offers=offers) as server:
        receipts, asked, _ = send(server, TEN, fenced=(address(3), address(4)))
    assert {who for who, receipt in receipts.items() if receipt.fenced} == {address(3), address(4)}
    assert Counter(asked) == Counter(letter.recipient for letter in TEN)
    assert server.kept == [(one.recipient, one.payload) for one in TEN if one.recipient not in (address(3), address(4))]


@PIPELINING
def test_a_letter_that_is_refused_before_a_word_is_said_leaves_its_place_to_the_next(offers):
    letters = list(TEN)
    letters[3] = letters[3]._replace(recipient="nobody")
    letters[4] = a_letter("c4", text="x" * 200_000)
    with a_server(offers=(*offers, "SIZE 100000")) as server:
        receipts, asked, _ = send(server, letters)
    outcomes = told(receipts)
    assert outcomes.pop("nobody") == ("failed", "open", "message")
    assert outcomes.pop(address(4)) == ("failed", "mail", "message")
    assert outcomes == dict.fromkeys(asked, SENT)
    assert [who for who, _ in server.kept] == asked == [address(number) for number in (0, 1, 2, 5, 6, 7, 8, 9)]


def test_nothing_rides_ahead_of_its_turn():
    with a_server() as server:
        receipts, _, _ = send(server, TEN, rate="20/s", connections=2)
    assert set(told(receipts).values()) == {SENT}
    begun = server.at_s[0]
    # At most a tenth of a second's letters may be caught up with.
    assert all(at - begun >= nth / 20 - 0.12 for nth, at in enumerate(server.at_s))
    assert len(server.at_s) == 10


def test_no_turn_of_a_pace_is_lost_to_a_letter_that_does_not_ride():
    turns = []

    class Counting(Pace):
        def turn(self):
            turns.append(1)
            return super().turn()

    with a_server() as server:
        settings = SmtpSettings(host="127.0.0.1", port=server.settings["port"], connections=2)
        with closing(SmtpChannel(settings, pace=Counting(20)).sender()) as lines:
            for round_ in lines.rounds(TEN):
                round_.grant(round_.asking)
    assert len(server.kept) == len(turns) == 10


def test_a_pace_that_nobody_waits_for_lets_letters_ride():
    with a_server() as server:
        send(server, TEN, rate="100000/s")
    assert server.rode == 9


@PIPELINING
@pytest.mark.parametrize(
    ("answer", "outcome"),
    [(b"552 5.3.4 too much", "failed"), (b"452 4.3.1 full", "retry"), (b"250 2.0.0 kept", "in_doubt")],
)
def test_an_answer_in_the_middle_of_a_text_ends_the_line(answer, outcome, offers):
    """What is said next would be taken for the rest of the text."""
    long = a_letter("c1", text=("x" * 70 + "\r\n") * 200_000)
    letters = [TEN[0], long, *TEN[2:]]
    heard = []

    class Early(Server):
        def _speak(self, line):
            heard.append(b"")
            me, answered = len(heard) - 1, False
            with suppress(OSError), line:
                line.sendall(b"220 here\r\n")
                while data := line.recv(65_536):
                    heard[me] += data[-200:] if answered else data
                    if b"ehlo" in data:
                        line.sendall(self.greeting)
                    if not answered and (verbs := re.findall(rb"(?mi)^(MAIL|RCPT|DATA|\.\r$|QUIT)", data)):
                        line.sendall(b"".join(b"354 go\r\n" if verb == b"DATA" else b"250 ok\r\n" for verb in verbs))
                    if not answered and b"x" * 70 in data:
                        answered = True
                        line.sendall(answer + b"\r\n")
                        time.sleep(0.3)

    server = Early({}, offers=offers)
    with closing(server):
        receipts, _, _ = send(server, letters)
    assert {who: receipt.outcome for who, receipt in receipts.items()} == {
        letter.recipient: "sent" for letter in letters
    } | {address(1): outcome}
    assert [b"<c2@example.com>" in each for each in heard] == [False, True]


@pytest.mark.parametrize("expected", [0, 40])
def test_lines_that_a_server_has_no_room_for_are_given_up_and_the_others_go_on(expected):
    letters = [letter._replace(key=f"{letter.key}-{nth}") for nth in range(4) for letter in TEN]
    server = Crowded((), offers=("PIPELINING",))
    with closing(server), closing(sender(make_channel("email", {**server.settings, "connections": 8}))) as lines:
        lines.expect(expected)
        done = []
        for round_ in lines.rounds(letters):
            round_.grant(round_.asking)
            done += round_.done
        assert lines.refusal is None
    assert [attempt.receipt.outcome for attempt in done] == ["sent"] * 40
    assert len({attempt.letter.key for attempt in done}) == len(server.kept) == 40
    assert 1 <= server.refused <= 8


def test_a_server_that_has_room_for_nobody_refuses_everything():
    server = Crowded((), offers=("PIPELINING",))
    server.most = 0
    with closing(server), closing(sender(make_channel("email", {**server.settings, "connections": 4}))) as lines:
        done = [attempt.receipt for round_ in lines.rounds(TEN) for attempt in round_.done]
        assert lines.refusal is not None
    assert {(receipt.outcome, receipt.scope) for receipt in done} == {("retry", "provider")}
