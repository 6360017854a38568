"""Backups: a consistent, compact copy of a store in use, checked before it takes its name."""

from __future__ import annotations

import os
import sqlite3
from typing import TYPE_CHECKING

from flowctl.failure import Failure, UsageFailure
from flowctl.store.database import Store, translated

if TYPE_CHECKING:
    from pathlib import Path


def backup(store: Store, target: Path) -> int:
    """Copy the store to `target`, which is replaced only by a copy that was checked; its size in bytes.

    Ticks and imports may go on meanwhile: the copy is of the moment it began.

    Raises:
        UsageFailure: the target is the store itself or a folder.
        Failure: it cannot be written, or the copy does not check out.
    """
    if target.is_dir() or (store.path is not None and target.resolve() == store.path.resolve()):
        message = f"{target} is {'a folder' if target.is_dir() else 'the store itself'}"
        raise UsageFailure(message, help="name a file for the copy")
    draft = target.with_name(target.name + ".part")
    try:
        draft.unlink(missing_ok=True)
        # Made first, for its mode: VACUUM INTO accepts an empty file.
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        with translated(draft):
            store.connection.execute("VACUUM INTO ?", (str(draft),))
        _check(draft)
        _flush(draft)
        draft.replace(target)
        _flush(target.parent)
    except OSError as error:
        message = f"cannot write {error.filename or target}: {error.strerror}"
        raise Failure(message, help="the folder must exist and be writable") from error
    finally:
        draft.unlink(missing_ok=True)
    return target.stat().st_size


def _check(draft: Path) -> None:
    copy = sqlite3.connect(draft)
    try:
        faults = [row[0] for row in copy.execute("PRAGMA integrity_check(3)")]
        broken = copy.execute("PRAGMA foreign_key_check").fetchone()
    finally:
        copy.close()
    if faults != ["ok"] or broken:
        message = f"the copy is damaged: {faults[0] if faults != ['ok'] else f'a row of {broken[0]} refers to nothing'}"
        raise Failure(message, help="the store itself may be; the backup before this one was left as it is")


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
