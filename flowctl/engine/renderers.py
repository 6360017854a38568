"""Hands letters to rendering processes and takes them back in order; a process that dies loses one letter, and is replaced.

Only where many messages wait: a process takes a fifth of a second to start, in which a tick builds a thousand letters itself.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from itertools import cycle, islice
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from flowctl.engine.letters import Refused
from flowctl.engine.renderer import LETTER_CPU_S, read_frame, write_frame

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.channels.channel import Letter
    from flowctl.engine.claims import Claim

Job = tuple["Claim", str, dict[str, Any]]
"""A claim, the name of its message, what its letter is made from."""

BATCH = 25  # letters a frame
AHEAD = 3  # frames a process has before it: one in work, one in the pipe, one on its way back
PATIENCE_S = 120.0  # for a frame; its letters are bounded one by one, so this is for a process that hangs
# What Python itself needs; nothing that could be a secret.
_ENVIRONMENT = ("PATH", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "LANG", "LC_ALL", "TZ", "PYTHONTZPATH")


class Renderers:
    """The rendering processes of one delivery; `said` is what `renderer` begins with."""

    def __init__(self, said: dict[str, Any], count: int) -> None:
        self._processes = [_Process(said) for _ in range(count)]

    def close(self) -> None:
        """End them; may be called again."""
        for process in self._processes:
            process.end()

    def letters(self, jobs: Iterator[Job]) -> Iterator[tuple[Claim, Letter | Refused]]:
        """Each claim with its letter, in order; what is asked for next is built while the caller is busy with the last."""
        under_way: deque[tuple[_Process, list[Job]]] = deque()
        turns = cycle(self._processes)
        try:
            while True:
                while len(under_way) < len(self._processes) * AHEAD and (batch := list(islice(jobs, BATCH))):
                    process = next(turns)
                    process.give(batch)
                    under_way.append((process, batch))
                if not under_way:
                    return
                process, batch = under_way[0]
                made = process.take()
                under_way.popleft()
                if made is None:
                    # It takes everything it had along: what lies behind goes to its successor once the culprit is found.
                    made = process.one_by_one(batch)
                    for _, later in (each for each in under_way if each[0] is process):
                        process.give(later)
                for (claim, _, _), letter in zip(batch, made, strict=True):
                    yield claim, letter
        finally:
            if under_way:  # the caller stopped in the middle: what still comes is nobody's
                self.close()


class _Process:
    """One process, started when it is first given something, and again where it died."""

    def __init__(self, said: dict[str, Any]) -> None:
        self._said = said
        self._child: subprocess.Popen[bytes] | None = None
        self._made: SimpleQueue[Any] = SimpleQueue()

    def give(self, batch: list[Job]) -> None:
        """Hand over a batch; a process that is dead shows it when its letters are taken."""
        child = self._child or self._start()
        assert child.stdin is not None  # noqa: S101 - a pipe, by how it was started
        with contextlib.suppress(OSError):
            write_frame(child.stdin, [(name, case) for _, name, case in batch])

    def take(self) -> list[Letter | Refused] | None:
        """The letters of the oldest batch; None where the process died over it."""
        try:
            made: list[Letter | Refused] | None = self._made.get(timeout=PATIENCE_S)
        except Empty:
            made = None
        return made

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
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment,
        )  # fmt: skip
        assert child.stdin is not None and child.stdout is not None  # noqa: S101, PT018 - pipes, as said above
        self._child, self._made = child, SimpleQueue()
        # Read all the time, or both would wait for the other to read first.
        threading.Thread(target=_listen, args=(child.stdout, self._made), name="flowctl-rendered", daemon=True).start()
        with contextlib.suppress(OSError):
            write_frame(child.stdin, self._said)
        return child


def _listen(source: Any, made: SimpleQueue[Any]) -> None:
    try:
        while (letters := read_frame(source)) is not None:
            made.put(letters)
    except (OSError, ValueError):  # closed from the other side
        pass
    made.put(None)


def _close(pipe: Any) -> None:
    with contextlib.suppress(OSError):
        pipe.close()


def _told(status: int | None) -> str:
    if status is None:
        return "it hung"
    return signal.Signals(-status).name if status < 0 else f"status {status}"
