"""One flowctl at a time: a kernel lock on a file beside the store, which the kernel itself drops when a process dies."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from flowctl.failure import Busy, Failure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.store.database import Store


@contextmanager
def exclusive(store: Store) -> Iterator[None]:
    """Hold the store alone, for a tick or whatever else must not overlap; a store in memory is alone already.

    Raises:
        Busy: another process holds it.
    """
    if store.path is None:
        yield
        return
    path = store.path.with_name(store.path.name + ".lock")
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        message = f"cannot make the lock file {path}: {error.strerror}"
        raise Failure(message, help="the store's folder must be writable for whoever runs flowctl") from error
    try:
        _lock(descriptor)
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        # The file stays: removing it would let a third process lock a new one while a second still holds this.
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
        message = f"another flowctl is running (pid {holder})"
        raise Busy(message, help="nothing was done; the next run does it") from None
