"""All SMTP connections of a channel at work at once in the caller's own thread; speaks to its caller as `pool.Pool` does.

Where a thread a connection hands every letter over four times, this asks the kernel which sockets have something to say, and
goes on with those. Only connecting takes a thread: looking up a name, TLS and logging in wait for others.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
from collections import deque
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from flowctl.channels.dialogue import Connect, Leave, Pause, Talk
from flowctl.channels.pool import Attempt, Round, Sender
from flowctl.channels.smtp_wire import Lost

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from flowctl.channels.channel import Letter, Receipt
    from flowctl.channels.dialogue import Dialogue, Wish
    from flowctl.channels.smtp import SmtpChannel, SmtpConnection
    from flowctl.channels.smtp_wire import Wire

# How long those who ask to leave wait for the other lines: a commit takes about as long, and serves them all.
GATHER_S = 0.002
_NEVER = float("inf")


@dataclass(kw_only=True, slots=True, eq=False)
class _Line:
    connection: SmtpConnection
    letter: Letter | None = None
    dialogue: Dialogue | None = None
    wish: Wish | None = None  # what it waits for
    until_s: float = _NEVER  # monotonic; when it has waited long enough
    unsent: memoryview | None = None
    watched: Wire | None = None  # whose socket the selector knows
    events: int = 0


class Lines(Sender):
    """The connections, opened as they are needed and kept between runs; one run at a time, in one thread."""

    def __init__(self, channel: SmtpChannel) -> None:
        super().__init__()
        self._channel = channel
        self._lines: list[_Line] = []
        self._idle: list[_Line] = []
        self._moving = 0  # lines that will have something to say; those that ask and those that idle will not
        self._asking: list[_Line] = []
        self._ended: list[Attempt] = []
        self._ahead: deque[Letter] = deque()  # built while there was nothing else to do
        self._selector = selectors.DefaultSelector()
        self._connected: SimpleQueue[tuple[_Line, BaseException | None]] = SimpleQueue()
        self._bell, self._ring = socket.socketpair()
        for end in (self._bell, self._ring):
            end.settimeout(0)
        self._selector.register(self._bell, selectors.EVENT_READ)

    def close(self) -> None:
        """Refuse what still asks, wait for what is under way, hang up. Never raises; may be called again."""
        self.stop()
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(Exception):  # whoever could be told is gone
            self._finish()
        for line in self._lines:
            self._unwatch(line)
            line.connection.say_goodbye()
        for line in self._lines:
            line.connection.close()
        self._lines, self._idle = [], []
        self._selector.close()
        self._bell.close()
        self._ring.close()

    def rounds(self, letters: Iterable[Letter]) -> Iterator[Round]:
        """Send letters; see `pool`. `letters` is read little by little, and further while all lines wait for their servers."""
        source = iter(letters)
        try:
            while True:
                self._gather(source)
                asking, self._asking = self._asking, []
                done, self._ended = tuple(self._ended), []
                if not (asking or done or self._moving):
                    break
                round_ = Round(asking=tuple(line.letter for line in asking if line.letter), done=done)
                yield round_
                for line in asking:
                    self._advance(line, answer=line.letter is not None and line.letter.key in round_.granted)
            if left := self._breaker.last():
                yield Round(asking=(), done=left)
        finally:
            self._ahead.clear()
            self._finish()

    def _gather(self, source: Iterator[Letter]) -> None:
        """Go on until all lines that can ask do, or a moment after one did; letters are handed out and built meanwhile."""
        self._feed(source)
        until_s = _NEVER
        while self._moving:
            news = bool(self._asking or self._ended)
            if news:
                until_s = min(until_s, time.monotonic() + GATHER_S)
            ahead = len(self._ahead) < self._channel.connections and self._may_take()
            # Building ahead must not keep those waiting who are ready to go on, nor those who have asked for long.
            if self._poll(0.0 if ahead else until_s - time.monotonic()):
                if self._idle and self._may_take():
                    self._feed(source)
                    until_s = _NEVER  # those that took a letter will ask presently
            elif time.monotonic() >= until_s:
                return
            elif ahead and (letter := next(source, None)) is not None:
                self._ahead.append(letter)
            elif ahead:
                self._poll(until_s - time.monotonic())

    def _may_take(self) -> bool:
        return not (self._stopped or self._breaker.refusal)

    def _feed(self, source: Iterator[Letter]) -> None:
        """A letter to every line that has none, as long as there are some."""
        while (self._idle or len(self._lines) < self._channel.connections) and self._may_take():
            letter = self._ahead.popleft() if self._ahead else next(source, None)
            if letter is None:
                return
            if not self._idle:
                line = _Line(connection=self._channel.open())
                self._lines.append(line)
                self._idle.append(line)
            line = self._idle.pop()
            line.letter, line.dialogue = letter, line.connection.dialogue(letter)
            self._advance(line)

    def _advance(self, line: _Line, *, answer: object = None, error: BaseException | None = None) -> None:
        """Tell a line what it waited for, and go on with it as far as it goes without waiting."""
        dialogue = line.dialogue
        assert dialogue is not None  # noqa: S101 - who waits holds one
        if line.wish is not None and not isinstance(line.wish, Leave):
            self._moving -= 1
        line.wish, line.until_s = None, _NEVER
        while True:
            try:
                wish = dialogue.send(answer) if error is None else dialogue.throw(error)
            except StopIteration as end:
                self._over(line, end.value)
                return
            answer = error = None
            if isinstance(wish, Talk):
                try:
                    answer = self._said(line, wish)
                except OSError as lost:
                    error = lost
                if answer is None and error is None:
                    break
            elif isinstance(wish, Leave):
                line.wish = wish
                self._asking.append(line)
                return
            else:
                self._begin(line, wish)
                break
        line.wish = wish
        self._moving += 1

    def _begin(self, line: _Line, wish: Pause | Connect) -> None:
        if isinstance(wish, Pause):
            line.until_s = time.monotonic() + wish.seconds
        else:
            self._unwatch(line)  # the number of a closed socket may soon be another's
            threading.Thread(target=self._connect, args=(line,), name="flowctl-connect", daemon=True).start()

    def _over(self, line: _Line, receipt: Receipt) -> None:
        letter = line.letter
        assert letter is not None  # noqa: S101 - whose dialogue ended
        line.letter = line.dialogue = None
        self._watch(line)
        self._idle.append(line)
        # Judged at once: the next letter must not slip through meanwhile.
        self._ended += self._breaker.take(Attempt(letter=letter, receipt=receipt))

    def _said(self, line: _Line, talk: Talk) -> object:
        """Say something; returns the reply where it is there already. Raises `Lost`."""
        wire = line.connection.wire
        if wire is None or wire.sock is None:
            message = "not connected"
            raise Lost(message)
        line.unsent = None
        if talk.data:
            sent = wire.send_some(talk.data)
            if sent < len(talk.data):
                line.unsent = memoryview(talk.data)[sent:]
        elif (reply := line.connection.heard()) is not None:
            return reply
        line.until_s = time.monotonic() + talk.timeout_s
        self._watch(line)
        return None

    def _poll(self, timeout_s: float) -> bool:
        """Go on with the lines that can, after waiting for one at most so long; returns whether any did."""
        now = time.monotonic()
        if timeout_s > 0:
            # What time alone brings: the turns of a pace, and the end of patience.
            timeout_s = min(timeout_s, min((line.until_s for line in self._lines), default=_NEVER) - now)
        ready = self._selector.select(None if timeout_s == _NEVER else max(0.0, timeout_s))
        went = False
        for key, _ in ready:
            went = (self._stir(key.data) if key.data is not None else self._take_connected()) or went
        if not ready:
            went = self._take_late()
        return went

    def _take_late(self) -> bool:
        now, went = time.monotonic(), False
        for line in self._lines:
            if line.until_s <= now:
                went = True
                wire = line.connection.wire
                if isinstance(line.wish, Pause) or wire is None:
                    self._advance(line)
                else:
                    self._advance(line, error=wire.lost("timed out waiting for a reply"))
        return went

    def _stir(self, line: _Line) -> bool:
        """A line's socket is ready; returns whether it went on."""
        wire = line.connection.wire
        if not isinstance(line.wish, Talk) or wire is None:
            self._unwatch(line)  # it hangs up, or speaks unasked: whoever speaks next will notice
            return False
        try:
            if line.unsent is not None:
                sent = wire.send_some(line.unsent)
                line.unsent = line.unsent[sent:] if sent < len(line.unsent) else None
                line.until_s = time.monotonic() + line.wish.timeout_s
                self._watch(line)
            wire.take_in()
            reply = line.connection.heard()
        except OSError as lost:
            self._advance(line, error=lost)
            return True
        if reply is None:
            return False
        self._advance(line, answer=reply)
        return True

    def _watch(self, line: _Line) -> None:
        """Have the selector know the line's socket as it now is."""
        wire = line.connection.wire
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if line.unsent is not None else 0)
        if wire is line.watched and (wire is None or events == line.events):
            return
        self._unwatch(line)
        if wire is not None and wire.sock is not None:
            self._selector.register(wire.sock, events, line)
            line.watched, line.events = wire, events

    def _unwatch(self, line: _Line) -> None:
        watched, line.watched = line.watched, None
        if watched is not None:
            for key in [key for key in self._selector.get_map().values() if key.data is line]:
                self._selector.unregister(key.fileobj)

    def _connect(self, line: _Line) -> None:
        """In a thread of its own."""
        error: BaseException | None = None
        try:
            line.connection.connect()
            if line.connection.wire is not None and line.connection.wire.sock is not None:
                line.connection.wire.sock.settimeout(0)
        except BaseException as raised:  # noqa: BLE001 - it is raised again where the line goes on
            error = raised
        self._connected.put((line, error))
        with contextlib.suppress(OSError):  # rung often enough, or nobody listens any more
            self._ring.send(b"!")

    def _take_connected(self) -> bool:
        with contextlib.suppress(BlockingIOError):
            self._bell.recv(4096)
        went = False
        with contextlib.suppress(Empty):
            while True:
                line, error = self._connected.get_nowait()
                self._advance(line, error=error)
                went = True
        return went

    def _finish(self) -> None:
        """The caller left in the middle, or there is no more: nothing more leaves, and what is leaving is waited for."""
        while True:
            self._asking = []
            for line in self._lines:
                if isinstance(line.wish, Leave):
                    self._advance(line, answer=False)
            if not self._moving:
                break
            self._poll(_NEVER)
        self._ended = []
