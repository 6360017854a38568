from __future__ import annotations

import threading

import pytest

from flowctl.channels.channel import FENCED, Receipt
from flowctl.channels.pool import Pool
from flowctl.channels.recording import RecordingChannel
from tests.conformance.letters import a_letter

LETTERS = [a_letter(f"c{number}") for number in range(100)]
SENT = Receipt(outcome="sent", reply="250", phase="body")
DOWN = Receipt(outcome="retry", reply="421 closing", phase="connect", scope="provider")
BLOCKED = Receipt(outcome="retry", reply="554 5.7.1 no", phase="body", scope="sender")
DISK_FULL, NO_MORE = "disk full", "no more"
DOUBT = Receipt(outcome="in_doubt", reply="lost", phase="body")


def run(pool, letters, grant=lambda letters: letters):
    done = []
    for round_ in pool.rounds(letters):
        round_.grant(grant(round_.asking))
        done += round_.done
    return done


@pytest.fixture(autouse=True)
def _no_thread_is_left():
    before = threading.active_count()
    yield
    assert threading.active_count() == before


@pytest.mark.parametrize("connections", [1, 4])
def test_every_letter_gets_one_receipt(connections):
    channel = RecordingChannel(connections=connections)
    with Pool(channel) as pool:
        done = run(pool, iter(LETTERS))
    assert sorted(attempt.letter.key for attempt in done) == sorted(letter.key for letter in LETTERS)
    assert len(channel.transmitted) == 100


def test_nothing_leaves_before_it_is_granted():
    channel = RecordingChannel(connections=4)
    granted = set()
    with Pool(channel) as pool:
        for round_ in pool.rounds(LETTERS):
            assert {letter.key for letter in channel.transmitted} <= granted
            granted |= {letter.key for letter in round_.asking}
            round_.grant(round_.asking)


def test_what_is_not_granted_is_fenced():
    channel = RecordingChannel(connections=4)
    with Pool(channel) as pool:
        done = run(pool, LETTERS, grant=lambda letters: [letter for letter in letters if letter.key != "key-c7"])
    assert [attempt.letter.key for attempt in done if attempt.receipt == FENCED] == ["key-c7"]
    assert len(channel.transmitted) == 99


def test_a_caller_that_fails_in_the_middle_lets_nothing_more_leave():
    channel = RecordingChannel(connections=4)
    granted = []

    def fail_at_ten(asking):
        if len(granted) >= 10:
            raise OSError(DISK_FULL)
        granted.extend(asking)
        return asking

    with pytest.raises(OSError, match=DISK_FULL), Pool(channel) as pool:
        run(pool, LETTERS, grant=fail_at_ten)
    assert len(channel.transmitted) == len(granted)


def test_letters_are_taken_little_by_little():
    taken = []

    def letters():
        for letter in LETTERS:
            taken.append(letter)
            yield letter

    done = 0
    with Pool(RecordingChannel(connections=2)) as pool:
        for round_ in pool.rounds(letters()):
            round_.grant(round_.asking)
            done += len(round_.done)
            assert len(taken) <= done + 4


def test_what_building_a_letter_raises_comes_out():
    def letters():
        yield LETTERS[0]
        raise RuntimeError(NO_MORE)

    with pytest.raises(RuntimeError, match=NO_MORE), Pool(RecordingChannel()) as pool:
        run(pool, letters())


def test_stop_finishes_what_is_under_way():
    channel = RecordingChannel(connections=2)
    done = []
    with Pool(channel) as pool:
        for round_ in pool.rounds(LETTERS):
            round_.grant(round_.asking)
            done += round_.done
            pool.stop()
    assert 0 < len(done) == len(channel.transmitted) < 10


def test_a_provider_that_is_down_opens_the_breaker_for_good():
    channel = RecordingChannel([SENT, SENT, DOWN])
    with Pool(channel) as pool:
        done = run(pool, LETTERS)
        assert [attempt.receipt for attempt in done] == [SENT, SENT, DOWN]
        assert pool.refusal == DOWN
        assert run(pool, LETTERS) == []
    assert len(channel.asked) == 3


def test_one_suspicion_followed_by_an_acceptance_is_the_letters_own():
    with Pool(RecordingChannel([SENT, BLOCKED, BLOCKED, SENT])) as pool:
        done = run(pool, LETTERS[:4])
        assert pool.refusal is None
    told = {attempt.letter.key: (attempt.receipt.outcome, attempt.receipt.scope) for attempt in done}
    assert told["key-c1"] == told["key-c2"] == ("failed", "message")


def test_three_suspicions_in_a_row_are_the_providers():
    with Pool(RecordingChannel([SENT, BLOCKED, BLOCKED, BLOCKED])) as pool:
        done = run(pool, LETTERS)
        assert pool.refusal == BLOCKED
    assert [attempt.receipt for attempt in done] == [SENT, BLOCKED, BLOCKED, BLOCKED]


@pytest.mark.parametrize(
    ("script", "told"), [([BLOCKED], ("retry", "sender")), ([SENT, BLOCKED], ("failed", "message"))]
)
def test_a_suspicion_at_the_end_is_judged_by_what_came_before(script, told):
    with Pool(RecordingChannel(script)) as pool:
        done = run(pool, LETTERS[: len(script)])
        assert pool.refusal is None
    assert (done[-1].receipt.outcome, done[-1].receipt.scope) == told


def test_five_doubts_in_a_row_are_enough():
    with Pool(RecordingChannel([DOUBT, DOUBT, DOUBT, DOUBT, SENT, DOUBT, DOUBT, DOUBT, DOUBT, DOUBT])) as pool:
        done = run(pool, LETTERS)
        assert pool.refusal == DOUBT
    assert len(done) == 10


def test_send_asks_a_callback_in_the_lines_own_threads():
    channel = RecordingChannel(connections=3)
    threads = set()

    def commit(letter):
        threads.add(threading.current_thread())
        return letter.key != "key-c7"

    with Pool(channel) as pool:
        done = list(pool.send(LETTERS, commit))
    assert len(done) == 100
    assert len(channel.transmitted) == 99
    assert threading.main_thread() not in threads


def test_what_the_callback_raises_comes_out():
    def commit(_):
        raise OSError(DISK_FULL)

    channel = RecordingChannel(connections=2)
    with pytest.raises(OSError, match=DISK_FULL), Pool(channel) as pool:
        list(pool.send(LETTERS, commit))
    assert channel.transmitted == []


def test_few_letters_open_few_lines():
    opened = []

    class Counting(RecordingChannel):
        def open(self):
            opened.append(1)
            return self

    with Pool(Counting(connections=8)) as pool:
        run(pool, LETTERS[:1])
    assert len(opened) == 1
