"""Forks ticks and kills them: a process that has loaded flowctl and opened no store, so that a tick begins within a millisecond.

Reads lines `NOW DELAY_S WHEN` (UTC ms) and answers each with `killed` or the exit status of the tick. It is killed DELAY_S after it
began, or with WHEN `sending` after the server wrote the next letter down; with `never` it is left alone.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import flowctl.channels.smtp  # noqa: F401 - loaded before the first child needs it
from flowctl.engine.tick import tick
from flowctl.failure import Failure
from flowctl.store.database import open_store


def run(path: str, now: int) -> int:
    """One tick of its own."""
    try:
        store = open_store(path, create=False)
        tick(store, now=now)
        store.close()
    except Failure as failure:
        print(failure.message, file=sys.stderr, flush=True)
        return failure.exit_code
    return 0


def wait_for_a_letter(child: int, ledger: Path) -> None:
    """Until the server has taken one more, or the child is over."""
    size = ledger.stat().st_size
    while ledger.stat().st_size == size:
        if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            return
        time.sleep(0.0002)


def main() -> None:
    store, ledger = sys.argv[1], Path(sys.argv[2])
    for line in sys.stdin:
        now, delay_s, when = line.split()
        child = os.fork()
        if child == 0:
            code = 99
            try:
                code = run(store, int(now))
            finally:
                os._exit(code)
        if when == "sending":
            wait_for_a_letter(child, ledger)
        if when != "never":
            time.sleep(float(delay_s))
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        print("killed" if os.WIFSIGNALED(status) else os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
