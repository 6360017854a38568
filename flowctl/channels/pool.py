"""Several connections of one channel at work at once, and the breaker that stops them all.

The pool never touches the store. It asks for leave: `rounds` hands the caller, in the caller's own thread, the letters
that stand before the point of no return together with those that are done, so that one transaction settles both:

    with Pool(channel) as pool:
        for round_ in pool.rounds(letters):
            with store.transaction():
                settle(round_.done)
                mine = mark_transmitting(round_.asking)     # those not fenced
            round_.grant(mine)                              # only now may they leave
        if pool.refusal: tell somebody

A letter that is not granted by the time the caller asks for the next round does not leave. What has no receipt at the
end was not attempted.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from flowctl.channels.channel import Channel, Connection, Letter, Receipt

# Letters taken per connection: one in its hands and one behind it, so that none waits for the next to be built.
LETTERS_PER_CONNECTION = 2
# How long those who ask to leave wait for the other connections: a commit takes about as long, and serves them all.
GATHER_S = 0.002
# What sounds like the provider's refusal once a recipient is named, "by policy" say, may be that recipient's own wish:
# one of them must not hold up everybody at every tick. Three in a row with nothing accepted between are the provider's.
SUSPICIONS_MAX = 3
# A server that keeps hanging up after the text makes a doubt of every letter; marketing in doubt is never sent again.
DOUBTS_IN_A_ROW_MAX = 5
_CERTAIN_PHASES = ("open", "connect", "tls", "login", "mail")


class Attempt(NamedTuple):
    """A letter and what became of it; a tuple, as there is one for every message."""

    letter: Letter
    receipt: Receipt


@dataclass(kw_only=True, slots=True)
class Round:
    """What happened since the last one: letters that ask to leave, and attempts that are over."""

    asking: tuple[Letter, ...]
    done: tuple[Attempt, ...]
    granted: set[str] = field(default_factory=set)

    def grant(self, letters: Iterable[Letter]) -> None:
        """Let these go: their being `transmitting` is durable."""
        self.granted.update(letter.key for letter in letters)


@dataclass(frozen=True, slots=True)
class _Ask:
    letter: Letter
    verdict: SimpleQueue[bool] = field(default_factory=SimpleQueue)


@dataclass(frozen=True, slots=True)
class _Done:
    settled: list[Attempt]  # this one and those that were held back, or none
    error: BaseException | None = None


@dataclass(frozen=True, slots=True)
class _Job:
    letter: Letter
    ask: Callable[[Letter], bool]


class Sender(ABC):
    """Many letters by one channel, with leave asked for many at once; see the module."""

    def __init__(self) -> None:
        self._stopped = False
        self._closed = False
        self._breaker = Breaker()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def refusal(self) -> Receipt | None:
        """Why the breaker is open, or None; it stays open for the sender's life."""
        return self._breaker.refusal

    def stop(self) -> None:
        """Hand out no more letters; those under way are finished, and the current run then ends. Any thread may ask."""
        self._stopped = True

    @abstractmethod
    def expect(self, count: int) -> None:
        """So many letters are being made: what takes time before the first one may be begun."""

    @abstractmethod
    def close(self) -> None:
        """Refuse what still asks, wait for what is under way, hang up. Never raises; may be called again."""

    @abstractmethod
    def rounds(self, letters: Iterable[Letter]) -> Iterator[Round]:
        """Send letters; they are read in the caller's thread, little by little."""


def sender(channel: Channel) -> Sender:
    """A channel's own sender where it has one, as e-mail does; else a pool of threads."""
    own: Callable[[], Sender] | None = getattr(channel, "sender", None)
    return own() if own else Pool(channel)


class Pool(Sender):
    """Threads, one a connection, started as they are needed and kept between runs; one run at a time."""

    def __init__(self, channel: Channel) -> None:
        super().__init__()
        self._channel = channel
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._inbox: SimpleQueue[_Ask | _Done] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._leave = threading.Lock()
        self._asked: list[_Ask] = []

    def close(self) -> None:
        """Refuse what still asks, wait for what is under way, hang up. Never raises; may be called again."""
        self.stop()
        with self._leave:
            self._closed = True
            asked, self._asked = self._asked, []
        for ask in asked:
            ask.verdict.put(item=False)
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()
        self._threads = []

    def expect(self, count: int) -> None:
        """Nothing: a thread connects when it has its first letter."""

    def rounds(self, letters: Iterable[Letter]) -> Iterator[Round]:
        """Send letters; see the module. `letters` is read in the caller's thread, little by little."""
        for asks, done in self._run(letters, self._ask):
            round_ = Round(asking=tuple(ask.letter for ask in asks), done=done)
            try:
                yield round_
            finally:
                for ask in asks:
                    self._answer(ask, granted=ask.letter.key in round_.granted)

    def send(self, letters: Iterable[Letter], commit: Callable[[Letter], bool]) -> Iterator[Attempt]:
        """The same with `commit` called from the connections' own threads; what it raises comes out here."""
        for _, done in self._run(letters, commit):
            yield from done

    def _run(
        self, letters: Iterable[Letter], ask: Callable[[Letter], bool]
    ) -> Iterator[tuple[list[_Ask], tuple[Attempt, ...]]]:
        source = iter(letters)
        under_way, exhausted = 0, False
        try:
            while True:
                while not exhausted and self._may_take(under_way):
                    letter = next(source, None)
                    exhausted = letter is None
                    if letter is not None:
                        self._hand_out(_Job(letter, ask), under_way)
                        under_way += 1
                if under_way == 0:
                    break
                asks, ended = self._gather(under_way)
                under_way -= len(ended)
                done = _settled(ended)
                if asks or done:
                    yield asks, done
            if left := self._breaker.last():
                yield [], left
        finally:
            self._refuse_rest(under_way)

    def _may_take(self, under_way: int) -> bool:
        if self._stopped or self._breaker.refusal:
            return False
        # Building a letter must not keep those waiting who ask to leave; an idle connection comes first all the same.
        connections = self._channel.connections
        return under_way < connections or (under_way < connections * LETTERS_PER_CONNECTION and self._inbox.empty())

    def _hand_out(self, job: _Job, under_way: int) -> None:
        if len(self._threads) < min(self._channel.connections, under_way + 1):
            thread = threading.Thread(target=self._work, name=f"flowctl-send-{len(self._threads)}", daemon=True)
            self._threads.append(thread)
            thread.start()
        self._jobs.put(job)

    def _gather(self, under_way: int) -> tuple[list[_Ask], list[_Done]]:
        """Everything that came in; waits for the first, and a moment for the other connections: they share a commit."""
        asks: list[_Ask] = []
        ended: list[_Done] = []
        item: _Ask | _Done | None = self._inbox.get()
        until_s = time.monotonic() + GATHER_S
        while item is not None:
            if isinstance(item, _Ask):
                asks.append(item)
            else:
                ended.append(item)
            # Each connection that is not done for good will ask once more.
            item = self._next(until_s if len(asks) < min(under_way - len(ended), len(self._threads)) else None)
        return asks, ended

    def _next(self, until_s: float | None) -> _Ask | _Done | None:
        """What came in next, until a time; what is there already where none is said."""
        try:
            if until_s is not None and (left_s := until_s - time.monotonic()) > 0:
                return self._inbox.get(timeout=left_s)
            return self._inbox.get_nowait()
        except Empty:
            return None

    def _refuse_rest(self, under_way: int) -> None:
        """The caller left in the middle: nothing more leaves, and what is leaving is waited for."""
        while under_way > 0:
            item = self._inbox.get()
            if isinstance(item, _Ask):
                self._answer(item, granted=False)
            else:
                under_way -= 1

    def _answer(self, ask: _Ask, *, granted: bool) -> None:
        """Until its answer an ask is remembered: whoever fails between asking and granting may still close the pool."""
        with self._leave:
            self._asked = [other for other in self._asked if other is not ask]
        ask.verdict.put(granted)

    def _ask(self, letter: Letter) -> bool:
        """Called in a connection's thread: wait for the caller's word."""
        ask = _Ask(letter)
        with self._leave:
            if self._closed:
                return False
            self._asked.append(ask)
            self._inbox.put(ask)
        return ask.verdict.get()

    def _work(self) -> None:
        connection = self._channel.open()
        try:
            while (job := self._jobs.get()) is not None:
                self._inbox.put(self._attempt(connection, job))
        finally:
            connection.close()

    def _attempt(self, connection: Connection, job: _Job) -> _Done:
        if self._stopped or self._breaker.refusal:
            return _Done([])
        try:
            receipt = connection.transmit(job.letter, lambda: job.ask(job.letter))
            # Judged here and not by the caller: the next letter must not slip through meanwhile.
            return _Done(self._breaker.take(Attempt(letter=job.letter, receipt=receipt)))
        except BaseException as error:  # noqa: BLE001 - it is raised again in the caller's thread
            return _Done([], error)


class Breaker:
    """Judges receipts by their neighbours: is it the letter, or the provider. Any thread may ask it."""

    def __init__(self) -> None:
        self.refusal: Receipt | None = None
        self._lock = threading.Lock()
        self._suspects: list[Attempt] = []
        self._doubts_in_a_row = 0
        self._accepted = False

    def take(self, attempt: Attempt) -> list[Attempt]:
        """Those whose receipts are now certain."""
        with self._lock:
            return self._take(attempt)

    def _take(self, attempt: Attempt) -> list[Attempt]:
        receipt = attempt.receipt
        if receipt.outcome == "in_doubt":
            self._doubts_in_a_row += 1
            if self._doubts_in_a_row >= DOUBTS_IN_A_ROW_MAX:
                self._open(receipt)
            return [attempt]
        if receipt.outcome == "sent":
            self._accepted = True
            self._doubts_in_a_row = 0
            return [*self._acquitted(), attempt] if self._suspects else [attempt]
        if not receipt.opens_breaker:
            return [attempt]
        if receipt.phase not in _CERTAIN_PHASES and self.refusal is None:
            self._suspects.append(attempt)
            if len(self._suspects) < SUSPICIONS_MAX:
                return []
            self._open(receipt)
            return self._convicted()
        self._open(receipt)
        return [*self._convicted(), attempt]

    def last(self) -> tuple[Attempt, ...]:
        """Those held back to the end: if anything was accepted in this run, it was not the provider."""
        return tuple(self._acquitted() if self._accepted and self.refusal is None else self._convicted())

    def _open(self, receipt: Receipt) -> None:
        self.refusal = self.refusal or receipt

    def _acquitted(self) -> list[Attempt]:
        """The provider takes letters from this sender, so these refusals concern their letters alone."""
        return [one._replace(receipt=_of_letter(one.receipt)) for one in self._convicted()]

    def _convicted(self) -> list[Attempt]:
        suspects, self._suspects = self._suspects, []
        return suspects


def _settled(ended: list[_Done]) -> tuple[Attempt, ...]:
    for end in ended:
        if end.error is not None:
            raise end.error
    return tuple(attempt for end in ended for attempt in end.settled)


def _of_letter(receipt: Receipt) -> Receipt:
    """The receipt where a refusal concerns its letter: what a sender may never send has failed, the rest is tried again."""
    return replace(receipt, outcome="failed" if receipt.scope == "sender" else "retry", scope="message")
