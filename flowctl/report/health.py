"""What an operator should know of a store before its customers do: files, clock, disk, ticks, providers, backlog, unapplied files."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from flowctl.engine.backlog import backlog
from flowctl.engine.restored import guarded
from flowctl.engine.runtime import load
from flowctl.failure import Failure
from flowctl.report.status import status
from flowctl.store.breakers import breakers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from flowctl.channels.channel import Channel
    from flowctl.engine.runtime import Runtime
    from flowctl.store.database import Store

Level = Literal["ok", "warning", "problem"]
OTHERS = 0o077  # bits of a mode that let others in
ROOM_FACTOR = 2  # a backup, or a VACUUM, needs once the store; the WAL of a big tick some more
WAL_SHARE_MAX = 4  # a WAL of more than a quarter of the store, and of more than 64 MB: somebody reads for very long
WAL_BYTES_MIN = 64_000_000
TICK_AGE_MS = 3_600_000  # cron runs ticks every five minutes; after an hour without one somebody should look
CLOCK_SLACK_MS = 60_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing that was looked at."""

    check: str
    level: Level
    text: str
    help: str = ""


def health(store: Store, *, now: int, digest: str | None, channels: Callable[[str], Channel] | None) -> list[Finding]:
    """Look at everything; `digest` is that of the project's files, `channels` makes channels to connect to, None asks none."""
    runtime = load(store.connection)
    found = [*_file(store), *_room(store), *_guard(store), *_clock(store, now), *_release(store, digest)]
    if runtime is not None:
        found += [*_ticks(store, now), *_providers(store, now), *_backlog(store, now), *_left_over(store, now)]
        found += _reached(runtime, channels) if channels else []
    return found


def _file(store: Store) -> Iterator[Finding]:
    try:
        said = [row[0] for row in store.connection.execute("PRAGMA quick_check(3)")]
    except sqlite3.DatabaseError as error:
        said = [str(error)]
    if said == ["ok"]:
        yield Finding(check="store", level="ok", text="SQLite finds no damage")
    else:
        yield Finding(
            check="store", level="problem", text=said[0], help="restore a backup, then run `flowctl store adopt`"
        )
    for path in _files(store):
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & OTHERS:
            yield Finding(
                check="permissions", level="problem", text=f"others can read {path}", help=f"chmod 600 {path}"
            )
    if store.path and store.path.stat().st_uid != os.geteuid():
        text = f"{store.path} belongs to another user"
        yield Finding(check="permissions", level="warning", text=text, help="run ticks and commands as one user")


def _files(store: Store) -> list[Path]:
    if store.path is None:
        return []
    names = [store.path.name + suffix for suffix in ("", "-wal", "-shm", ".sent")]
    return [path for name in names if (path := store.path.with_name(name)).exists()]


def _room(store: Store) -> Iterator[Finding]:
    if store.path is None:
        return
    size, free = store.path.stat().st_size, shutil.disk_usage(store.path.parent).free
    text = f"{free / 1e9:.1f} GB free beside a store of {size / 1e9:.2f} GB"
    short = free < ROOM_FACTOR * size
    yield Finding(
        check="disk",
        level="warning" if short else "ok",
        text=text,
        help="a backup beside it would not fit" if short else "",
    )
    wal = store.path.with_name(store.path.name + "-wal")
    bytes_ = wal.stat().st_size if wal.exists() else 0
    if bytes_ > max(WAL_BYTES_MIN, size // WAL_SHARE_MAX):
        text = f"the write-ahead log has grown to {bytes_ / 1e6:.0f} MB"
        yield Finding(
            check="disk",
            level="warning",
            text=text,
            help="another program keeps reading the store; end its transaction",
        )


def _guard(store: Store) -> Iterator[Finding]:
    refusal = guarded(store)
    if refusal is not None:
        yield Finding(check="sending record", level="problem", text=refusal.message, help=refusal.help)


def _clock(store: Store, now: int) -> Iterator[Finding]:
    (last,) = store.connection.execute(
        "SELECT max(coalesce((SELECT value FROM cursors WHERE name = 'tick'), 0), coalesce((SELECT max(at) FROM adoptions), 0))"
    ).fetchone()
    if last > now + CLOCK_SLACK_MS:
        text = f"the last tick was {(last - now) / 3_600_000:.1f} h ahead of this clock: nothing moves until it has caught up"
        yield Finding(check="clock", level="problem", text=text, help="set the clock; `timedatectl` shows it")
    else:
        yield Finding(check="clock", level="ok", text="not behind the last tick")


def _release(store: Store, digest: str | None) -> Iterator[Finding]:
    row = store.connection.execute('SELECT "commit", digest FROM releases ORDER BY id DESC LIMIT 1').fetchone()
    if row is None:
        yield Finding(check="release", level="problem", text="nothing was applied yet", help="run `flowctl apply`")
    elif digest is None:
        yield Finding(
            check="release", level="warning", text="the files have faults", help="`flowctl validate` lists them"
        )
    elif digest != row[1]:
        text = f"the files differ from what was applied ({row[0]})"
        yield Finding(check="release", level="warning", text=text, help="`flowctl plan` shows how; `flowctl apply`")
    else:
        yield Finding(check="release", level="ok", text=f"the files are what runs ({row[0]})")


def _ticks(store: Store, now: int) -> Iterator[Finding]:
    last = status(store, now=now).last_tick_at
    if last is None or now - last > TICK_AGE_MS:
        text = "no tick ran yet" if not last else f"the last tick was {(now - last) / 3_600_000:.1f} h ago"
        yield Finding(
            check="ticks", level="problem", text=text, help="`flowctl schedule` writes the lines for cron and systemd"
        )
    else:
        yield Finding(check="ticks", level="ok", text=f"the last one was {max(0, now - last) // 60_000} min ago")


def _providers(store: Store, now: int) -> Iterator[Finding]:
    for breaker in breakers(store.connection):
        wait_min = max(0, breaker.until_at - now) // 60_000
        text = f"{breaker.channel}: refuses everything, {breaker.refusals} times in a row: {breaker.reply}"
        yield Finding(
            check="providers",
            level="problem",
            text=text,
            help=f"one message is tried in {wait_min} min; at once by `flowctl outbox retry --channel {breaker.channel}`",
        )


def _backlog(store: Store, now: int) -> Iterator[Finding]:
    found = backlog(store.connection, now)
    if found:
        yield Finding(
            check="backlog",
            level="problem",
            text=f"{found.due} marketing messages are due, and up to {found.usual_max} at once are usual",
            help="`flowctl tick --confirm-backlog` sends them",
        )


def _left_over(store: Store, now: int) -> Iterator[Finding]:
    said = status(store, now=now)
    if said.in_doubt:
        text = f"{said.in_doubt} may have left or not"
        yield Finding(
            check="messages",
            level="warning",
            text=text,
            help="`flowctl outbox list --state in_doubt`, `flowctl outbox resolve`",
        )
    if said.guarded:
        text = "; ".join(f"{workflow}: {note}" for workflow, note in said.guarded.items())
        yield Finding(
            check="guards", level="warning", text=text, help="`flowctl workflows resume`, when it has been looked into"
        )


def _reached(runtime: Runtime, channels: Callable[[str], Channel]) -> Iterator[Finding]:
    for name in runtime.said["channels"]:
        try:
            line = channels(name).open()
        except Failure as failure:
            yield Finding(check=f"channel {name}", level="problem", text=failure.message, help=failure.help)
            continue
        reach = getattr(line, "reach", None)
        if reach is None:
            yield Finding(
                check=f"channel {name}",
                level="ok",
                text="its settings are complete; it cannot be asked without sending",
            )
            continue
        try:
            fault = reach()
        finally:
            line.close()
        yield Finding(
            check=f"channel {name}",
            level="problem" if fault else "ok",
            text=fault or "reached; nothing was sent",
            help="check its settings in flowctl.yaml, its secrets and the network" if fault else "",
        )
