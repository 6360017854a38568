"""A process that renders and does nothing else: `python -m flowctl.engine.renderer`, spoken to by `renderers` over its pipes.

It gets no environment, no store and no network, and has limits that a template cannot talk its way around: of memory, and of
processor time a letter. Who exceeds them loses the process, and with it its own letter alone.
"""

from __future__ import annotations

import gc
import os
import pickle
import resource
import signal
import struct
import sys
from typing import IO, Any

from flowctl.engine.contact import Fields
from flowctl.engine.letters import Letters, Refused, read
from flowctl.engine.links import Links

MEMORY_BYTES_MAX = 1 << 30
LETTER_CPU_S = 5.0  # of one letter, or of all of a frame: the work budget ends any template in half a second; this is for what the budget cannot see
HEAD = struct.Struct("!I")
NOTHING: Any = object()


def main() -> None:
    """Read what letters are made of, write letters, until the pipe closes."""
    # Nobody but its parent ends it: an order to the whole group would look like a runaway template.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    gc.set_threshold(100_000, 50, 50)  # letters leave next to no cycles; as the command line has it
    # Whatever prints must not end up among the letters.
    source, sink = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    said = _heard(source)
    if said is None:
        return
    letters, messages, fields = _letters(said), said["messages"], Fields(said["fields"])
    while (jobs := _heard(source)) is not None:
        read([case for _, case in jobs], fields)
        # For all of them: where one takes it all, each is asked for again alone.
        signal.setitimer(signal.ITIMER_PROF, LETTER_CPU_S)
        made = letters.build_all([(messages[name], case) for name, case in jobs])
        # As plain tuples, which are pickled in half the time of named ones.
        sink.write(frame([one if isinstance(one, Refused) else tuple(one) for one in made]))
        sink.flush()
        signal.setitimer(signal.ITIMER_PROF, 0)


def _letters(said: dict[str, Any]) -> Letters:
    signers = None
    if said["keys"]:
        from flowctl.engine.dkim import Signers  # noqa: PLC0415 - only where mail is signed

        signers = Signers(said["keys"])
    links = Links(secret=said["secret"], public_url=said["public_url"]) if said["public_url"] else None
    return Letters(links, signers=signers)


def _heard(source: IO[bytes]) -> Any:
    """The next object; None where the pipe is closed."""
    head = source.read(HEAD.size)
    if len(head) < HEAD.size:
        return None
    (size,) = HEAD.unpack(head)
    data = source.read(size)
    return pickle.loads(data) if len(data) == size else None  # noqa: S301 - written by our own other end


def frame(said: Any) -> bytes:
    """An object as it goes through a pipe. Both ends are this program, so that pickle is no risk."""
    data = pickle.dumps(said, protocol=pickle.HIGHEST_PROTOCOL)
    return HEAD.pack(len(data)) + data


def is_whole(came: bytearray) -> bool:
    """Whether what came through a pipe begins with a whole object."""
    return len(came) >= HEAD.size and len(came) >= HEAD.size + HEAD.unpack_from(came)[0]


def unframed(came: bytearray) -> Any:
    """Take the first object from what came through a pipe; `NOTHING` while it is not whole."""
    if not is_whole(came):
        return NOTHING
    end = HEAD.size + HEAD.unpack_from(came)[0]
    said = pickle.loads(memoryview(came)[HEAD.size : end])  # noqa: S301 - written by our own other end
    del came[:end]
    return said


if __name__ == "__main__":
    main()
