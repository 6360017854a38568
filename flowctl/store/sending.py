"""How far sending went: counted in the store and, beside it, in a file that a restored copy of the store cannot bring back.

Each batch that passes the point of no return counts one up in the store, and is then written to `STORE.sent`, before a byte of
it leaves. So the file is never ahead of the store that wrote it: where it is, the store was restored from a copy, and what was
sent since the copy is known to nobody.
"""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from typing import TYPE_CHECKING

from flowctl.failure import Failure

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

    from flowctl.store.database import Store

SUFFIX = ".sent"
DAY_MS = 86_400_000
FLUSH_S = 1.0
_LINE = re.compile(rb"flowctl-sending 1 ([0-9a-f-]{36}) (\d{16}) (\d{16})\n")
_ADOPT = "`flowctl store adopt` lets it send again, and says what may then arrive twice"


@dataclass(frozen=True, kw_only=True, slots=True)
class Sent:
    """What the file says: which store, how many batches, when the last one was; UTC ms."""

    uuid: str
    batch: int
    at: int


class NotTheNewest(Failure):
    """The store is older than its sending record, or its record is not there: it may have sent what it does not know of."""


class SendingRecord:
    """The file beside one store; for a store in memory there is none, and nothing to guard."""

    def __init__(self, store: Store) -> None:
        self.path: Path | None = store.path and store.path.with_name(store.path.name + SUFFIX)
        self._store = store
        self._descriptor = -1
        self._flushed_s = -math.inf

    def read(self) -> Sent | None:
        """What the file says; None where there is no file.

        Raises:
            Failure: it cannot be read, or says nothing that flowctl wrote.
        """
        if self.path is None:
            return None
        try:
            line = self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            message = f"cannot read the sending record {self.path}: {error.strerror}"
            raise Failure(message, help="it must be readable for whoever runs flowctl") from error
        found = _LINE.fullmatch(line)
        if not found:
            message = f"{self.path} is no sending record"
            raise NotTheNewest(message, help=f"it was damaged or is another program's file: {_ADOPT}")
        return Sent(uuid=found[1].decode(), batch=int(found[2]), at=int(found[3]))

    def check(self) -> None:
        """Refuse a store that may have sent what it does not know of.

        A store that never sent takes over whatever file lies there, unless the file is its own.

        Raises:
            NotTheNewest: it is older than the record, or the record is missing or another store's.
        """
        if self.path is None:
            return
        said, batch = self.read(), self.batch
        if said is None or said.uuid != self._store.uuid:
            if batch == 0:
                return
            fault = "is not there" if said is None else "is another store's"
            message = f"the store has sent {batch} batches of messages, and its sending record {self.path} {fault}"
            raise NotTheNewest(message, help=f"a store that moves takes that file along; without it, {_ADOPT}")
        if said.batch > batch:
            message = f"the store is older than its own sending record: {said.batch - batch} batches of messages left after this copy was made, the last at {_iso(said.at)}"
            raise NotTheNewest(message, help=f"is it a restored backup? {_ADOPT}")

    @property
    def batch(self) -> int:
        """How many batches passed the point of no return, as the store knows it."""
        (batch,) = self._store.connection.execute("SELECT sent_batch FROM store").fetchone()
        return int(batch)

    def count(self, marketing: int, now: int) -> int:
        """Count one more batch, in the transaction that makes it `transmitting`; returns its number for `write`."""
        connection = self._store.connection
        (batch,) = connection.execute("UPDATE store SET sent_batch = sent_batch + 1 RETURNING sent_batch").fetchone()
        if marketing:
            connection.execute(
                "INSERT INTO sending_days (day, marketing) VALUES (?, ?) ON CONFLICT (day) DO UPDATE SET marketing = marketing + excluded.marketing",
                (now // DAY_MS, marketing),
            )
        return int(batch)

    def write(self, batch: int, now: int) -> None:
        """Write down that a batch is about to leave; after its transaction, before its first byte.

        The first of a run is flushed, then one a second: the death of a process loses nothing, a power cut at most that
        second, which only matters to a copy of the store that was made within it.

        Raises:
            Failure: it cannot be written; then nothing may leave.
        """
        if self.path is None:
            return
        try:
            if self._descriptor < 0:
                fresh = not self.path.exists()
                self._descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
                if fresh:
                    _flush_folder(self.path.parent)
            # One sector, in place: it is there whole or not at all, and needs no room on a full disk.
            os.pwrite(self._descriptor, f"flowctl-sending 1 {self._store.uuid} {batch:016} {now:016}\n".encode(), 0)
            if monotonic() - self._flushed_s >= FLUSH_S:
                os.fdatasync(self._descriptor)
                self._flushed_s = monotonic()
        except OSError as error:
            raise self._unwritten(error) from error

    def close(self) -> None:
        """Flush and close the file. Raises as `write`."""
        if self._descriptor < 0:
            return
        descriptor, self._descriptor = self._descriptor, -1
        try:
            os.fdatasync(descriptor)
        except OSError as error:
            raise self._unwritten(error) from error
        finally:
            os.close(descriptor)

    def _unwritten(self, error: OSError) -> Failure:
        message = f"cannot write the sending record {self.path}: {error.strerror}"
        return Failure(
            message, help="the store's folder must be writable and have room; what is not in the record has not left"
        )


def busiest_day(connection: sqlite3.Connection, *, before: int, days: int) -> tuple[int, int]:
    """The most marketing messages of one UTC day, of the last `days` days before that of `before` on which there were any; and how many days."""
    most, found = connection.execute(
        "SELECT coalesce(max(marketing), 0), count(*) FROM (SELECT marketing FROM sending_days WHERE day < ? ORDER BY day DESC LIMIT ?)",
        (before // DAY_MS, days),
    ).fetchone()
    return int(most), int(found)


def _iso(moment: int) -> str:
    return datetime.fromtimestamp(moment / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
