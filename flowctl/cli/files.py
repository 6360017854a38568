"""Files that commands write: for people, readable by their owner alone, as they hold what the store holds; and the project's own, at once or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import IO

_BOM = b"\xef\xbb\xbf"


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


def rewrite(path: Path, text: str) -> None:
    """Give a project's file another text, at once or not at all; its byte order mark and permissions stay. Raises OSError."""
    before = path.read_bytes()
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write((_BOM if before.startswith(_BOM) else b"") + text.encode())
        Path(name).chmod(path.stat().st_mode)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
