"""How far sending went: counted in the store and, beside it, in a file that a restored copy of the store cannot bring back.

Each batch that passes the point of no return counts one up in the store, and is then written to `STORE.sent`, before a byte of
it leaves. So the file is never ahead of the store that wrote it: where it is, the store was restored from a copy, and what was
sent since the copy is known to nobody. The file says also where the store lay: a copy of both that runs beside the store it was
made of would send everything twice.
"""

from __future__ import annotations

import math
import os
import re
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from flowctl.failure import Failure

if TYPE_CHECKING:
    import sqlite3

    from flowctl.store.database import Store

SUFFIX = ".sent"
DAY_MS = 86_400_000
FLUSH_S = 1.0
_LINE = re.compile(rb"flowctl-sending 1 ([0-9a-f-]{36}) (\d{16}) (\d{16})\n(?:at ([^\n]*)\n?)?")
_ADOPT = "`flowctl store adopt` lets it send again, and says what may then arrive twice"


@dataclass(frozen=True, kw_only=True, slots=True)
class Sent:
    """What the file says: which store, how many batches, when the last one was (UTC ms), and where the store lay; empty: nobody said."""

    uuid: str
    batch: int
    at: int
    place: str = ""


class NotTheNewest(Failure):
    """The store is older than its sending record, its record is not there, or it is a copy beside the store it was made of.

    Another store may have sent what it does not know of.
    """


class SendingRecord:
    """The file beside one store; for a store in memory there is none, and nothing to guard."""

    def __init__(self, store: Store) -> None:
        self.path: Path | None = store.path and store.path.with_name(store.path.name + SUFFIX)
        self._store = store
        self._descriptor = -1
        self._flushed_s = -math.inf
        self._placed = False

    def read(self) -> Sent | None:
        """What the file says; None where there is no file.

        Raises:
            Failure: it cannot be read, or says nothing that flowctl wrote.
        """
        if self.path is None:
            return None
        return _read(self.path)

    def elsewhere(self) -> Sent | None:
        """What is said beside the store that sent last where it is another file than this, and still there; else None.

        A store that moved left none behind. The same file by another name (a link, a mounted folder) is no other.
        """
        said = self.read()
        if said is None or not said.place or self._store.path is None or said.uuid != self._store.uuid:
            return None
        place, own = Path(said.place), self._store.path
        try:
            if said.place == os.path.realpath(own) or place.samefile(own):
                return None
            other = _read(place.with_name(place.name + SUFFIX))
        except (OSError, ValueError, Failure):
            return None  # not there, or nobody can tell
        return replace(other, place=said.place) if other is not None and other.uuid == said.uuid else None

    def check(self) -> None:
        """Refuse a store that may have sent what it does not know of.

        A store that never sent takes over whatever file lies there, unless the file is its own.

        Raises:
            NotTheNewest: it is older than the record, the record is missing or another store's, or it is a copy beside the store it was made of.
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
        other = self.elsewhere()
        if other is not None:
            since = f" and has sent {other.batch - batch} batches of messages since" if other.batch > batch else ""
            message = f"this is a copy of the store {other.place}, which is still there{since}: both would send the same messages"
            raise NotTheNewest(message, help=f"keep one of them, and delete or rename the other; {_ADOPT}")

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
            line = f"flowctl-sending 1 {self._store.uuid} {batch:016} {now:016}\n".encode()
            os.pwrite(self._descriptor, line, 0)
            if not self._placed:
                self._place(self._descriptor, len(line))
            if monotonic() - self._flushed_s >= FLUSH_S:
                os.fdatasync(self._descriptor)
                self._flushed_s = monotonic()
        except OSError as error:
            raise self._unwritten(error) from error

    def _place(self, descriptor: int, offset: int) -> None:
        """Say where the store lies, behind the line; once a run. Only a warning hangs on it, so that no fault of it stops a message."""
        self._placed = True
        if self._store.path is None:
            return
        place = os.fsencode(os.path.realpath(self._store.path))
        text = b"" if b"\n" in place else b"at " + place + b"\n"
        with suppress(OSError):
            os.pwrite(descriptor, text, offset)
            os.ftruncate(descriptor, offset + len(text))

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


def _read(path: Path) -> Sent | None:
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        message = f"cannot read the sending record {path}: {error.strerror}"
        raise Failure(message, help="it must be readable for whoever runs flowctl") from error
    found = _LINE.fullmatch(text)
    if not found:
        message = f"{path} is no sending record"
        raise NotTheNewest(message, help=f"it was damaged or is another program's file: {_ADOPT}")
    place = os.fsdecode(found[4]) if found[4] else ""
    return Sent(uuid=found[1].decode(), batch=int(found[2]), at=int(found[3]), place=place)


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
