"""Files that commands write for people: only their owner can read them, for they hold what the store holds."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO


def open_private(path: Path, *, newline: str | None = None) -> IO[str]:
    """Open a text file to write anew, mode 0600 also where it was there already."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    file = os.fdopen(descriptor, "w", encoding="utf-8", newline=newline)
    os.fchmod(descriptor, 0o600)
    return file


def write_private(path: Path, text: str) -> None:
    """Write such a file."""
    with open_private(path) as file:
        file.write(text)
