"""A channel that writes files: e-mail into a Maildir that any mail reader opens, the rest as JSON beside it.

The file's name derives from the letter's key, so that a letter sent twice is one file.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import socket
import threading
from typing import TYPE_CHECKING

from flowctl.channels.channel import FENCED, Commit, Letter, Phase, Receipt, one_line

if TYPE_CHECKING:
    from pathlib import Path

# One that a file system takes as it is, and that has none of Maildir's own `:` and `,`.
_PLAIN_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")


class MaildirChannel:
    """Writes into `path`, a Maildir that is made when needed; directories 0700, files 0600."""

    def __init__(self, path: Path, *, connections: int = 1) -> None:
        self._path = path
        self._connections = connections

    def __repr__(self) -> str:
        return f"MaildirChannel({str(self._path)!r})"

    @property
    def connections(self) -> int:
        """How many connections may be open at once."""
        return self._connections

    def open(self) -> MaildirWriter:
        """A writer; the folders are made when the first letter comes."""
        return MaildirWriter(self._path)


class MaildirWriter:
    """One writer: `tmp` is the safe phase, the rename into `new` the point of no return."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._made = False

    def transmit(self, letter: Letter, commit: Commit) -> Receipt:
        """Write a letter; it appears in `new` whole or not at all."""
        name = file_name(letter)
        draft = self._path / "tmp" / f"{name}.{socket.gethostname()}.{os.getpid()}.{threading.get_ident()}"
        try:
            self._make()
            _write(draft, _content(letter))
        except OSError as error:
            _remove(draft)
            return _cannot_write(error, "open")
        try:
            if not commit():
                _remove(draft)
                return FENCED
        except BaseException:
            _remove(draft)
            raise
        try:
            draft.replace(self._path / "new" / name)
            _sync_folder(self._path / "new")
        except OSError as error:
            _remove(draft)
            return _cannot_write(error, "body")
        return Receipt(outcome="sent", reply=f"written as new/{name}", phase="body")

    def reach(self) -> str | None:
        """Whether its folders are there, or can be made, and take files; what is wrong, or None."""
        draft = self._path / "tmp" / f"reach.{socket.gethostname()}.{os.getpid()}.{threading.get_ident()}"
        try:
            self._make()
            _write(draft, b"")
        except OSError as error:
            return one_line(f"cannot write: {error.strerror or error}")
        finally:
            _remove(draft)
        return None

    def close(self) -> None:
        """Nothing is held open."""

    def _make(self) -> None:
        if self._made:
            return
        for folder in (self._path, *(self._path / name for name in ("tmp", "new", "cur"))):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._made = True


def file_name(letter: Letter) -> str:
    """The one file name of a letter: `KEY.eml`, or `KEY.json` for what is no e-mail."""
    key = letter.key if _PLAIN_KEY.fullmatch(letter.key) else hashlib.sha256(letter.key.encode()).hexdigest()
    return f"{key}.{'eml' if isinstance(letter.payload, bytes) else 'json'}"


def _content(letter: Letter) -> bytes:
    if isinstance(letter.payload, bytes):
        return letter.payload
    shown = {"channel": letter.channel, "sender": letter.sender, "recipient": letter.recipient, "key": letter.key}
    return json.dumps(shown | {"payload": letter.payload}, ensure_ascii=False, indent=2, default=str).encode() + b"\n"


def _write(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


def _cannot_write(error: OSError, phase: Phase) -> Receipt:
    # Also after the rename: the name is the key's, so that writing it again makes no second letter.
    return Receipt(
        outcome="retry", reply=one_line(f"cannot write: {error.strerror or error}"), phase=phase, scope="provider"
    )
