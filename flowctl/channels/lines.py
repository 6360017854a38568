"""All SMTP connections of a channel at work at once in the caller's own thread; speaks to its caller as `pool.Pool` does.

Where a thread a connection hands every letter over four times, this asks the kernel which sockets have something to say, and
goes on with those. Only connecting takes a thread: looking up a name, TLS and logging in wait for others.

Where the server allows it, the first words for a line's next letter ride behind the text of the one before, in the same send
(RFC 2920 §3.1): one journey a letter. Nothing of a letter that rides is said but MAIL, RCPT and DATA, so that it stays in its
safe phase whatever becomes of the one before it; and it is handed out only when that one is over.
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

from flowctl.channels.dialogue import CONNECT, Connect, Leave, Pause, Talk
from flowctl.channels.pool import Attempt, Round, Sender
from flowctl.channels.replies import TEMPORARY_FROM
from flowctl.channels.smtp_wire import Lost

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from flowctl.channels.channel import Letter, Receipt
    from flowctl.channels.dialogue import Dialogue, Wish
    from flowctl.channels.smtp import SmtpChannel, SmtpConnection
    from flowctl.channels.smtp_wire import Wire

# How long those who ask to leave wait for the other lines: a commit takes about as long, and serves them all.
GATHER_S = 0.002
# How long they wait at most, for lines that were given a letter meanwhile, and for letters that could ride behind theirs.
GATHER_S_MAX = 0.1
# How long letters are built without a look at whether a server has answered.
LOOK_S = 0.001
_NEVER = float("inf")


@dataclass(kw_only=True, slots=True, eq=False)
class _Line:
    connection: SmtpConnection
    letter: Letter | None = None
    dialogue: Dialogue | None = None
    wish: Wish | None = None  # what it waits for
    until_s: float = _NEVER  # monotonic; when it has waited long enough
    unsent: memoryview | None = None
    rider: Letter | None = None  # the next letter, whose first words follow the text of this one
    riding: Dialogue | None = None
    ridden: int = 0  # how many bytes those words are
    watched: Wire | None = None  # whose socket the selector knows
    sock: socket.socket | None = None
    events: int = 0
    failed: BaseException | None = None  # why it could not connect for the letter that is expected


class Lines(Sender):
    """The connections, opened as they are needed and kept between runs; one run at a time, in one thread."""

    def __init__(self, channel: SmtpChannel) -> None:
        super().__init__()
        self._channel = channel
        self._lines: list[_Line] = []
        self._idle: list[_Line] = []
        self._most = channel.connections  # fewer once the server has refused one beside others that work
        self._moving = 0  # lines that will have something to say; those that ask and those that idle will not
        self._asking: list[_Line] = []
        self._ended: list[Attempt] = []
        self._source: Iterator[Letter] | None = None  # until there is no more
        self._ahead: deque[Letter] = deque()  # built while there was nothing else to do
        self._due_s = _NEVER  # monotonic; no line has waited long enough before
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

    def expect(self, count: int) -> None:
        """Connect lines for so many letters; what keeps one from it is heard when a letter is to leave by it."""
        while len(self._lines) < min(count, self._most) and self._may_take():
            line = _Line(connection=self._channel.open(), wish=CONNECT)
            self._lines.append(line)
            self._begin(line, CONNECT)
            self._moving += 1

    def rounds(self, letters: Iterable[Letter]) -> Iterator[Round]:
        """Send letters; see `pool`. `letters` is read little by little, and further while all lines wait for their servers."""
        self._source = iter(letters)
        try:
            while True:
                self._gather()
                asking, self._asking = self._asking, []
                done, self._ended = tuple(self._ended), []
                if not (asking or done or self._moving):
                    break
                round_ = Round(asking=tuple(line.letter for line in asking if line.letter), done=done)
                yield round_
                if asking and not self._closed:
                    self._overhear()
                for line in asking:
                    self._advance(line, answer=line.letter is not None and line.letter.key in round_.granted)
            if left := self._breaker.last():
                yield Round(asking=(), done=left)
        finally:
            self._source = None
            self._ahead.clear()
            self._finish()

    def _gather(self) -> None:
        """Go on until all lines that can ask do, or a moment after one did, and a letter is there to ride behind each.

        Where building is what takes the time, that costs nothing; where the server is, the letters are there already.
        """
        self._feed()
        until_s = latest_s = _NEVER
        look_s = 0.0
        while True:
            now = time.monotonic()
            if until_s == _NEVER and (self._asking or self._ended):
                latest_s = min(latest_s, now + GATHER_S_MAX)
                until_s = min(now + GATHER_S, latest_s)
            ahead = len(self._ahead)
            building = self._source is not None and ahead < self._channel.connections and self._may_take()
            short = building and ahead < len(self._asking) and now < latest_s
            if not short and (now >= until_s or not self._moving):
                return
            # Building ahead must not keep those waiting who are ready to go on.
            if now >= look_s or not building:
                look_s = now + LOOK_S
                if self._poll(0.0 if building else until_s - now):
                    if self._idle and self._feed():
                        until_s = _NEVER  # those with a new letter will ask presently
                    continue
            if building and (letter := self._next()) is not None:
                self._ahead.append(letter)

    def _may_take(self) -> bool:
        return not (self._stopped or self._breaker.refusal)

    def _next(self) -> Letter | None:
        """The next letter of the source, built now."""
        letter = next(self._source, None) if self._source is not None else None
        if letter is None:
            self._source = None
        return letter

    def _feed(self) -> bool:
        """A letter to every line that has none, as long as there are some; returns whether any got one."""
        fed = False
        while (self._idle or len(self._lines) < self._most) and self._may_take():
            letter = self._ahead.popleft() if self._ahead else self._next()
            if letter is None:
                break
            fed = True
            if not self._idle:
                line = _Line(connection=self._channel.open())
                self._lines.append(line)
                self._idle.append(line)
            line = self._idle.pop()
            line.letter, line.dialogue = letter, line.connection.dialogue(letter)
            self._advance(line)
        return fed

    def _advance(self, line: _Line, *, answer: object = None, error: BaseException | None = None) -> None:
        """Tell a line what it waited for, and go on with it as far as it goes without waiting."""
        if line.wish is not None and not isinstance(line.wish, Leave):
            self._moving -= 1
        line.wish, line.until_s = None, _NEVER
        while line.dialogue is not None:
            try:
                wish = line.dialogue.send(answer) if error is None else line.dialogue.throw(error)
            except StopIteration as end:
                if not self._over(line, end.value):
                    return
                wish = line.connection.listen  # what the letter that rode had to say first is said
            answer = error = None
            if isinstance(wish, Talk):
                try:
                    answer = self._said(line, wish)
                except OSError as lost:
                    error = lost
                if answer is not None or error is not None:
                    continue
            elif isinstance(wish, Leave):
                line.wish = wish
                self._asking.append(line)
                return
            else:
                self._begin(line, wish)
            line.wish = wish
            self._moving += 1
            return

    def _begin(self, line: _Line, wish: Pause | Connect) -> None:
        if isinstance(wish, Pause):
            self._wait(line, wish.seconds)
        elif line.failed is not None:
            self._has_connected(line, line.failed)
            line.failed = None
        else:
            self._unwatch(line)  # the number of a closed socket may soon be another's
            line.unsent = None
            threading.Thread(target=self._connect, args=(line,), name="flowctl-connect", daemon=True).start()

    def _over(self, line: _Line, receipt: Receipt) -> bool:
        """A line's letter is; returns whether the line goes on with the one that rode behind it."""
        letter = line.letter
        assert letter is not None  # noqa: S101 - whose dialogue ended
        if receipt.phase == "connect" and receipt.opens_breaker and self._others_work(line):
            self._give_up(line)
            self._ahead.appendleft(letter)
            return False
        # Judged at once: the next letter must not slip through meanwhile.
        self._ended += self._breaker.take(Attempt(letter=letter, receipt=receipt))
        line.letter, line.dialogue, line.rider, line.riding = line.rider, line.riding, None, None
        if line.dialogue is not None and self._may_take():
            return True
        if line.dialogue is not None:  # nobody attempts it, and the server awaits its text
            line.dialogue.close()
            line.connection.hang_up()
        line.letter = line.dialogue = None
        self._watch(line)
        self._idle.append(line)
        return False

    def _others_work(self, line: _Line) -> bool:
        return any(other is not line and other.connection.wire is not None for other in self._lines)

    def _give_up(self, line: _Line) -> None:
        """One line less, as servers limit them: the others go on, and the last of them speaks for the provider."""
        self._unwatch(line)
        line.letter = line.dialogue = None
        self._lines.remove(line)
        self._most = len(self._lines)

    def _said(self, line: _Line, talk: Talk) -> object:
        """Say something; returns the reply where it is there already. Raises `Lost`."""
        if not talk.data and (reply := line.connection.heard()) is not None:
            return reply
        wire = line.connection.wire
        if wire is None or wire.sock is None:
            message = "not connected"
            raise Lost(message)
        if talk.data:
            line.ridden = 0
            data = talk.data + self._ride(line) if talk.leads and self._ahead else talk.data
            self._say(line, wire, data if line.unsent is None else bytes(line.unsent) + data)
        self._wait(line, talk.timeout_s)
        self._watch(line)
        return None

    def _ride(self, line: _Line) -> bytes:
        """What there is to say first for the letter that is next, which then rides behind this line's."""
        while self._ahead and self._may_take():
            letter = self._ahead.popleft()
            dialogue = line.connection.dialogue(letter)
            try:
                wish = next(dialogue)
            except StopIteration as end:  # refused before anything was said
                self._ended += self._breaker.take(Attempt(letter=letter, receipt=end.value))
                continue
            if isinstance(wish, Talk):
                line.rider, line.riding, line.ridden = letter, dialogue, len(wish.data)
                return wish.data
            dialogue.close()
            self._ahead.appendleft(letter)
            break
        return b""

    def _wait(self, line: _Line, seconds: float) -> None:
        line.until_s = time.monotonic() + seconds
        self._due_s = min(self._due_s, line.until_s)

    def _poll(self, timeout_s: float) -> bool:
        """Go on with the lines that can, after waiting for one at most so long; returns whether any did."""
        if timeout_s > 0:
            # What time alone brings: the turns of a pace, and the end of patience.
            timeout_s = min(timeout_s, self._due_s - time.monotonic())
        ready = self._selector.select(None if timeout_s == _NEVER else max(0.0, timeout_s))
        went = False
        for key, _ in ready:
            went = (self._stir(key.data) if key.data is not None else self._take_connected()) or went
        if self._due_s <= time.monotonic():
            went = self._take_late() or went
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
        self._due_s = min((line.until_s for line in self._lines), default=_NEVER)
        return went

    def _overhear(self) -> None:
        """What was said to those that asked to leave, before they say their texts: a server that ends its line gets none."""
        for key, _ in self._selector.select(0):
            if key.data is not None and isinstance(key.data.wish, Leave):
                self._stir(key.data)

    def _stir(self, line: _Line) -> bool:
        """A line's socket is ready; returns whether it went on."""
        wire = line.connection.wire
        if not isinstance(line.wish, Talk) or wire is None:
            self._unwatch(line)  # it hangs up, or speaks unasked: whoever speaks next will notice
            if isinstance(line.wish, Leave) and wire is not None:
                with contextlib.suppress(Lost):
                    wire.take_in()
            return False
        try:
            # Before anything more is written: a server that hung up may have answered, and only reading tells.
            reply = line.connection.heard() if wire.take_in() else None
            if line.unsent is not None and reply is None:
                self._say(line, wire, line.unsent)
        except OSError as lost:
            self._advance(line, error=lost)
            return True
        if reply is None:
            return False
        if line.unsent is not None and len(line.unsent) > line.ridden:
            # Answered in the middle of the text: it would take what is said next for the rest, and cannot have taken this.
            line.connection.hang_up()
            if reply.code < TEMPORARY_FROM:
                self._advance(line, error=Lost(f"answered in the middle of the text: {reply}"))
                return True
        self._advance(line, answer=reply)
        return True

    def _say(self, line: _Line, wire: Wire, data: bytes | memoryview) -> None:
        sent = wire.send_some(data)
        line.unsent = memoryview(data)[sent:] if sent < len(data) else None

    def _watch(self, line: _Line) -> None:
        """Have the selector know the line's socket as it now is."""
        wire = line.connection.wire
        events = selectors.EVENT_READ if line.unsent is None else selectors.EVENT_READ | selectors.EVENT_WRITE
        if wire is line.watched and (wire is None or events == line.events):
            return
        self._unwatch(line)
        if wire is not None and wire.sock is not None:
            self._selector.register(wire.sock, events, line)
            line.watched, line.sock, line.events = wire, wire.sock, events

    def _unwatch(self, line: _Line) -> None:
        if line.sock is not None:
            self._selector.unregister(line.sock)
        line.watched = line.sock = None

    def _connect(self, line: _Line) -> None:
        """In a thread of its own."""
        error: BaseException | None = None
        try:
            line.connection.connect()
            if line.connection.wire is not None and line.connection.wire.sock is not None:
                line.connection.wire.sock.settimeout(0)
        except BaseException as raised:  # noqa: BLE001 - it is raised again where the line goes on
            error = raised
        self._has_connected(line, error)

    def _has_connected(self, line: _Line, error: BaseException | None) -> None:
        self._connected.put((line, error))
        with contextlib.suppress(OSError):  # rung often enough, or nobody listens any more
            self._ring.send(b"!")

    def _take_connected(self) -> bool:
        """One for each ring: where going on with it fails, the others still ring."""
        with contextlib.suppress(BlockingIOError):
            self._bell.recv(1)
        try:
            line, error = self._connected.get_nowait()
        except Empty:
            return False
        if line.letter is None:  # one is only expected
            line.failed = error
            self._idle.append(line)
        self._advance(line, error=error)
        return True

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
