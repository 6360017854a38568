"""Named points at which a crash test lets the process die: `FLOWCTL_CRASH_AT=NAME` or `NAME:NTH`."""

from __future__ import annotations

import os

POINTS = (
    "observed", "enrolled", "advanced", "claimed", "built", "transmitting", "transmitted", "settled", "delivered",
)  # fmt: skip
_KILLED = 137  # what a shell reports of a process that SIGKILL ended

_at, _, _nth = os.environ.get("FLOWCTL_CRASH_AT", "").partition(":")
_left = int(_nth or 1)


def point(name: str) -> None:
    """Die here, without clean-up, where the environment says so."""
    global _left  # noqa: PLW0603 - counts the passes of one process
    if name != _at:
        return
    _left -= 1
    if _left == 0:
        os._exit(_KILLED)
