"""How many processes a tick may use to render, and from how many messages on; apart, for a small tick needs no more."""

from __future__ import annotations

import os

MANY = 200  # messages, above which processes are worth starting
PROCESSES_MAX = 4


def processes_wanted() -> int:
    """How many processes a tick may use, itself included: FLOWCTL_PROCESSES, else one a processor, at most 4."""
    said = os.environ.get("FLOWCTL_PROCESSES", "")
    if said.isdigit() and int(said) >= 1:
        return int(said)
    return min(os.cpu_count() or 1, PROCESSES_MAX)
