"""Hands letters to rendering processes and takes them back; a process that dies loses one letter, and is replaced.

Only where many messages wait: a process takes a fifth of a second to start, in which a tick builds a thousand letters itself.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import subprocess
import sys
from collections import deque
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any

from flowctl.channels.channel import Letter
from flowctl.engine.letters import Refused
from flowctl.engine.renderer import LETTER_CPU_S, NOTHING, frame, is_whole, unframed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flowctl.engine.claims import Claim
    from flowctl.engine.letters import Case

Job = tuple["Claim", str, "Case"]
"""A claim, the name of its message, what its letter is made from."""

BATCH = 25  # letters a frame
# Frames a process has before it: enough to work on while this one claims, commits and speaks to servers. Fewer where it signs, which takes
# five times as long: whoever has none left to build would wait for them at the end.
AHEAD, AHEAD_SIGNING = 8, 3
PATIENCE_S = 120.0  # for a frame; its letters are bounded one by one, so this is for a process that hangs
_PIPE_BYTES = 1 << 20
# What Python itself needs; nothing that could be a secret.
_ENVIRONMENT = ("PATH", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "LANG", "LC_ALL", "TZ", "PYTHONTZPATH")


class Renderers:
    """The rendering processes of one delivery; `said` is what `renderer` begins with."""

    def __init__(self, said: dict[str, Any], count: int) -> None:
        self._processes = [_Process(said) for _ in range(count)]
        self._ahead = AHEAD_SIGNING if said["keys"] else AHEAD
        self._survived: set[str] = set()  # names of messages

    def start(self) -> None:
        """Start them ahead of their first letters."""
        for process in self._processes:
            process.start()

    def close(self) -> None:
        """End them; may be called again."""
        for process in self._processes:
            process.end()

    def letters(
        self, jobs: Iterator[Job], here: Callable[[list[Job]], list[Letter | Refused]], *, at_once: int = 1
    ) -> Iterator[tuple[Claim, Letter | Refused]]:
        """Each claim with its letter; what is asked for next is built while the caller is busy with the last.

        Who would wait for a process builds some `here` instead, `at_once` and ahead of those under way: so all processors are busy
        whatever letters cost. Only of messages whose letters a process has survived.
        """
        under_way: deque[tuple[_Process, list[Job]]] = deque()
        turns = cycle(self._processes)
        waiting: deque[Job] = deque()  # read from `jobs`, and given to nobody yet
        try:
            while True:
                while len(under_way) < len(self._processes) * self._ahead and (batch := _drawn(waiting, jobs, BATCH)):
                    process = next(turns)
                    process.give(batch)
                    under_way.append((process, batch))
                if not under_way:
                    return
                process, batch = under_way[0]
                while not process.has_some():
                    mine = _drawn(waiting, jobs, at_once)
                    if not mine or not self._survived.issuperset(name for _, name, _ in mine):
                        waiting.extendleft(reversed(mine))
                        break
                    for (claim, _, _), letter in zip(mine, here(mine), strict=True):
                        yield claim, letter
                made = process.take()
                under_way.popleft()
                if made is None:
                    # It takes everything it had along: what lies behind goes to its successor once the culprit is found.
                    made = process.one_by_one(batch)
                    for _, later in (each for each in under_way if each[0] is process):
                        process.give(later)
                else:
                    self._survived.update(name for _, name, _ in batch)
                for (claim, _, _), letter in zip(batch, made, strict=True):
                    yield claim, letter
        finally:
            if under_way:  # the caller stopped in the middle: what still comes is nobody's
                self.close()


class _Process:
    """One process, started when it is first given something, and again where it died.

    Its pipes are read and written as they are ready, in the caller's thread: a thread of its own would have the interpreter
    change hands at every letter.
    """

    def __init__(self, said: dict[str, Any]) -> None:
        self._said = said
        self._child: subprocess.Popen[bytes] | None = None
        self._unsent = bytearray()
        self._came = bytearray()

    def give(self, batch: list[Job]) -> None:
        """Hand over a batch; a process that is dead shows it when its letters are taken."""
        self.start()
        self._unsent += frame([(name, case) for _, name, case in batch])
        self._write()

    def start(self) -> None:
        """Start it, where it is not."""
        if self._child is None:
            self._start()

    def has_some(self) -> bool:
        """Whether a batch has come, or nothing more will: `take` need not wait."""
        self._write()
        return is_whole(self._came) or not self._read() or is_whole(self._came)

    def take(self) -> list[Letter | Refused] | None:
        """The letters of the oldest batch; None where the process died over it."""
        child = self._child
        if child is None:
            return None
        assert child.stdin is not None and child.stdout is not None  # noqa: S101, PT018 - pipes, by how it was started
        while (made := unframed(self._came)) is NOTHING:
            writing = [child.stdin] if self._unsent else []
            readable, writable, _ = select.select([child.stdout], writing, [], PATIENCE_S)
            if writable:
                self._write()
            if not (writable or self._read()) or not (readable or writable):
                return None
        return [one if isinstance(one, Refused) else Letter._make(one) for one in made]

    def one_by_one(self, batch: list[Job]) -> list[Letter | Refused]:
        """A batch again after a death, each letter alone: the one that kills again is refused."""
        made: list[Letter | Refused] = []
        self.end()
        for job in batch:
            self.give([job])
            one = self.take()
            if one is None:
                made.append(Refused(reason=self._died()))
            else:
                made += one
        return made

    def end(self) -> None:
        """Kill it: it holds nothing that is not made again."""
        child, self._child = self._child, None
        self._unsent.clear()
        self._came.clear()
        if child is not None:
            child.kill()
            child.wait()
            for pipe in (child.stdin, child.stdout):
                if pipe is not None:
                    _close(pipe)

    def _died(self) -> str:
        child = self._child
        status = None
        if child is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                status = child.wait(timeout=1)
        self.end()
        if status == -signal.SIGPROF:
            return f"the template runs away: it takes more than {LETTER_CPU_S:g} s of processor time"
        return f"the process that rendered it ended ({_told(status)})"

    def _start(self) -> subprocess.Popen[bytes]:
        environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", "flowctl.engine.renderer"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment, bufsize=0,
        )  # fmt: skip
        assert child.stdin is not None and child.stdout is not None  # noqa: S101, PT018 - pipes, as said above
        for pipe in (child.stdin, child.stdout):
            os.set_blocking(pipe.fileno(), False)
            _widen(pipe.fileno())
        self._child = child
        self._unsent += frame(self._said)
        self._write()
        return child

    def _write(self) -> None:
        """What the pipe takes now."""
        child = self._child
        if child is None or child.stdin is None:
            return
        try:
            while self._unsent:
                del self._unsent[: os.write(child.stdin.fileno(), self._unsent)]
        except BlockingIOError:
            pass
        except OSError:  # it died, and shows it when its letters are taken
            self._unsent.clear()

    def _read(self) -> bool:
        """What came so far; False where nothing more will come."""
        child = self._child
        if child is None or child.stdout is None:
            return False
        try:
            while data := os.read(child.stdout.fileno(), _PIPE_BYTES):
                self._came += data
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False


def _drawn(waiting: deque[Job], jobs: Iterator[Job], count: int) -> list[Job]:
    """The next jobs, those that wait first."""
    drawn = [waiting.popleft() for _ in range(min(count, len(waiting)))]
    return drawn + list(islice(jobs, count - len(drawn)))


def _widen(pipe: int) -> None:
    """Room for several batches, so that neither end waits for the other; where the system refuses it, it is only slower."""
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        with contextlib.suppress(OSError):
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)


def _close(pipe: Any) -> None:
    with contextlib.suppress(OSError):
        pipe.close()


def _told(status: int | None) -> str:
    if status is None:
        return "it hung"
    return signal.Signals(-status).name if status < 0 else f"status {status}"
