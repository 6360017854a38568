"""The store's file: opening, creating and migrating it, and the only place that begins a write transaction."""

from __future__ import annotations

import os
import sqlite3
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

from flowctl import clock
from flowctl.failure import Busy, Failure, UsageFailure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from hashlib import blake2b

BUSY_S = 30.0  # how long a statement waits for another program's lock
CACHED_STATEMENTS = 1_000
APPLICATION_ID = 0x666C6F77  # 'flow', as `file` and PRAGMA application_id show it
MIGRATIONS = Path(__file__).parent / "migrations"
# File systems on which SQLite's locks and shared memory are not to be trusted: https://www.sqlite.org/useovernet.html
NETWORK_FILE_SYSTEMS = frozenset(
    [
        "nfs",
        "nfs3",
        "nfs4",
        "cifs",
        "smb",
        "smb2",
        "smb3",
        "smbfs",
        "afs",
        "ncpfs",
        "ceph",
        "glusterfs",
        "lustre",
        "gpfs",
        "9p",
        "fuse.sshfs",
        "fuse.s3fs",
        "fuse.rclone",
        "fuse.glusterfs",
        "fuse.ceph",
        "fuse.gcsfuse",
        "fuse.davfs",
        "davfs",
    ]
)
# What the fastest of the measured settings were worth is in the README's design decisions: a bigger cache, mmap, temporary
# tables in memory and a longer WAL each changed an import or a full scan by less than the noise; foreign keys cost a fifth
# of bulk event loads and stay on.
CACHE_KIB, SMALL_CACHE_KIB = 64_000, 4_000
PRAGMAS = (
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    f"PRAGMA cache_size = -{CACHE_KIB}",
)
# How a transaction begins and ends, and what undoes it.
_WHOLE = ("BEGIN IMMEDIATE", "COMMIT", ("ROLLBACK",))
_PART = ("SAVEPOINT part", "RELEASE part", ("ROLLBACK TO part", "RELEASE part"))


_TEXT = partial(str, encoding="utf-8", errors="replace")


@dataclass(frozen=True, kw_only=True, slots=True)
class Store:
    """An open store. `connection` is in autocommit mode: writing goes through `transaction`."""

    connection: sqlite3.Connection = field(repr=False)
    path: Path | None  # None: in memory
    uuid: str
    secret: str = field(repr=False)  # hex

    def snapshot(self) -> Store:
        """A copy in memory, of everything committed at one instant; writing to it leaves this store alone."""
        copy = _connect(":memory:")
        with translated(self.path):
            self.connection.backup(copy)
        return _opened(copy, None)

    def close(self) -> None:
        """Close the file."""
        self.connection.close()


def open_store(where: str | Path, *, create: bool, base: Path | None = None) -> Store:
    """Open a store by `sqlite:///PATH` (a fourth slash makes it absolute), by path or as `:memory:`, and bring it up to date.

    A relative path is taken from `base`, else from the working folder. `create` makes a file that is not there.

    Raises:
        Failure: there is no store, or no flowctl store, or a newer one; it cannot be written; it lies on a network.
        Busy: another program holds it for longer than 30 s.
    """
    path = _path(where, base)
    if path is None:
        connection = _connect(":memory:")
    else:
        _check_file(path, create=create)
        connection = _connect(str(path))
    try:
        with translated(path):
            migrate(connection)
            return _opened(connection, path)
    except BaseException:
        connection.close()
        raise


@contextmanager
def small_cache(connection: sqlite3.Connection) -> Iterator[None]:
    """Read with few pages in memory: what is taken row by row gains nothing from more, and memory stays flat however much there is."""
    connection.execute(f"PRAGMA cache_size = -{SMALL_CACHE_KIB}")
    try:
        yield
    finally:
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")


def fetched(connection: sqlite3.Connection, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """All rows of a SELECT of many texts: they are read at half the cost where all of it is UTF-8, as nearly always."""
    own, connection.text_factory = connection.text_factory, str
    try:
        return connection.execute(sql, parameters).fetchall()
    except sqlite3.OperationalError:  # what else is wrong is so the second time, too
        connection.text_factory = own
        return connection.execute(sql, parameters).fetchall()
    finally:
        connection.text_factory = own


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """A write transaction: BEGIN IMMEDIATE, then COMMIT, or ROLLBACK on any exception. Inside another one, a part of it, undone alone.

    Raises:
        Busy: another program holds the store for longer than 30 s.
        Failure: the disk is full, the file cannot be written, or it is damaged.
    """
    begin, commit, undo = _PART if connection.in_transaction else _WHOLE
    with translated(connection):
        connection.execute(begin)
        try:
            yield connection
            connection.execute(commit)
        except BaseException:
            _roll_back(connection, undo)
            raise


@contextmanager
def undone(connection: sqlite3.Connection) -> Iterator[None]:
    """Whatever is written inside, in however many transactions, is gone afterwards.

    The connection keeps the statements it compiled, which a copy of the store would compile anew. Temporary tables made inside
    stay, empty: to make them is to change the schema, and that, too, has every statement compiled anew.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        made = connection.execute("SELECT name, sql FROM temp.sqlite_schema WHERE sql IS NOT NULL").fetchall()
    finally:
        connection.execute("ROLLBACK")
    known = {name for (name,) in connection.execute("SELECT name FROM temp.sqlite_schema")}
    for name, sql in made:
        if name not in known:  # SQLite keeps `CREATE TABLE …` and `CREATE INDEX …`, whatever was written
            connection.execute(
                sql.replace("CREATE TABLE ", "CREATE TEMP TABLE ", 1).replace("CREATE INDEX ", "CREATE INDEX temp.", 1)
            )


def _roll_back(connection: sqlite3.Connection, undo: tuple[str, ...]) -> None:
    # SQLite has rolled back by itself after a full disk or an I/O error; a second ROLLBACK would hide why.
    for statement in undo if connection.in_transaction else ():
        connection.execute(statement)


@contextmanager
def translated(where: sqlite3.Connection | Path | None) -> Iterator[None]:
    """Turn what SQLite says of locks, disks and files into failures a user can act on; leave our own mistakes alone."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        name = _name(where)
        match getattr(error, "sqlite_errorcode", 0) & 0xFF:
            case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
                message = f"the store {name} is locked by another program"
                raise Busy(message, help="run it again when that is done; what was stored before stays") from error
            case sqlite3.SQLITE_NOTADB:
                message = f"{name} is not a SQLite database"
                raise Failure(message, help="`store:` in flowctl.yaml names a file that flowctl made") from error
            case sqlite3.SQLITE_CORRUPT:
                message = f"the store {name} is damaged: {error}"
                raise Failure(message, help="restore a backup, then run `flowctl store adopt`") from error
            case sqlite3.SQLITE_FULL:
                message = f"no space left on the disk of {name}"
                raise Failure(message, help="what was committed before is safe; make room and run it again") from error
            case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM | sqlite3.SQLITE_IOERR:
                message = f"cannot read and write the store {name}: {error}"
                raise Failure(
                    message, help="the file and its folder must be writable for whoever runs flowctl"
                ) from error
        raise


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the schema up to date, in one transaction.

    Raises:
        Failure: the file is another program's database, or a newer flowctl made it.
    """
    steps = _migrations()
    newest = len(steps)
    version = _version(connection, newest)
    # The mode outlives the connection, so it is set once, outside any transaction; a backup that became the store has lost it.
    if version != newest or connection.execute("PRAGMA journal_mode").fetchone()[0] == "delete":
        _write_ahead(connection)
    if version == newest:
        return
    with transaction(connection):
        version = _version(connection, newest)  # again: another flowctl may have been faster
        for step in steps[version:]:
            for statement in _statements(step.read_text(encoding="utf-8")):
                connection.execute(statement)
        if version == 0:
            _introduce(connection)
        connection.execute(f"PRAGMA user_version = {newest}")


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Keep a write-ahead log from now on. SQLite does not wait by itself where another program is just making the same file."""
    until_s = monotonic() + _busy_s()
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or monotonic() >= until_s:
                raise
            sleep(0.01)
        else:
            return


def _busy_s() -> float:
    return float(os.environ.get("FLOWCTL_BUSY_S", BUSY_S))


def _version(connection: sqlite3.Connection, newest: int) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    ours = connection.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID
    empty = version == 0 and not connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    if not ours and not empty:
        message = f"{_name(connection)} is a SQLite database, but no flowctl store"
        raise Failure(
            message, help="`store:` in flowctl.yaml names a file that flowctl made, or one that is not there yet"
        )
    if version > newest:
        message = f"the store has schema {version}; this flowctl knows schemas up to {newest}"
        raise Failure(message, help="a newer flowctl made it: upgrade flowctl")
    return version


def _path(where: str | Path, base: Path | None) -> Path | None:
    text = str(where)
    if text in (":memory:", "sqlite://", "sqlite:///:memory:"):
        return None
    if text.startswith("sqlite:///"):
        text = text.removeprefix("sqlite:///")
    elif "://" in text:
        message = f"store: {text.partition('://')[0]}:// is not supported"
        raise UsageFailure(message, help="write sqlite:///flowctl.db, or a path")
    if not text:
        message = "store: names no file"
        raise UsageFailure(message, help="write sqlite:///flowctl.db, or a path")
    return Path(base or Path.cwd()) / Path(text).expanduser()


def _check_file(path: Path, *, create: bool) -> None:
    if path.is_dir():
        message = f"the store {path} is a folder"
        raise Failure(message, help="name a file")
    if not path.exists():
        if not create:
            message = f"there is no store at {path}"
            raise Failure(message, help="`flowctl apply` makes it")
        _refuse_network(path)
        try:
            # Made here, so that nobody else can read it for a moment; SQLite gives -wal and -shm the same mode.
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        except OSError as error:
            message = f"cannot make the store {path}: {error.strerror}"
            raise Failure(message, help="the folder must exist and be writable for whoever runs flowctl") from error
        return
    _refuse_network(path)
    if not os.access(path, os.W_OK):
        message = f"the store {path} cannot be written"
        raise Failure(message, help="the file and its folder must be writable for whoever runs flowctl")


def file_system(path: Path, mounts: str) -> str:
    """The type of the file system that holds `path`, by the text of /proc/mounts; '' where it does not say."""
    best, kind = "", ""
    for line in mounts.splitlines():
        _, point, found, *_ = line.split(" ")
        point = point.replace("\\040", " ")
        inside = point == "/" or str(path) == point or str(path).startswith(point + "/")
        if inside and len(point) >= len(best):
            best, kind = point, found
    return kind


def _refuse_network(path: Path) -> None:
    try:
        mounts = Path("/proc/mounts").read_text(encoding="utf-8", errors="replace")
    except OSError:  # not Linux: nothing to ask
        return
    kind = file_system(path.parent.resolve(), mounts)
    if kind in NETWORK_FILE_SYSTEMS:
        message = f"the store {path} is on a network file system ({kind}), where locks cannot be trusted"
        raise Failure(message, help="keep it on a local disk; back it up to the network with `flowctl backup`")


def _connect(target: str) -> sqlite3.Connection:
    with translated(Path(target)):
        connection = sqlite3.connect(
            target, timeout=_busy_s(), isolation_level=None, cached_statements=CACHED_STATEMENTS
        )
        # Text that is no UTF-8 is never imported, but another program may write it: it must stop nobody else.
        connection.text_factory = _TEXT
        try:
            for pragma in PRAGMAS:
                connection.execute(pragma)
        except sqlite3.DatabaseError:
            connection.close()
            raise
    return connection


def _opened(connection: sqlite3.Connection, path: Path | None) -> Store:
    uuid, secret = connection.execute("SELECT uuid, secret FROM store").fetchone()
    _add_functions(connection, uuid, secret)
    return Store(connection=connection, path=path, uuid=uuid, secret=secret)


def _add_functions(connection: sqlite3.Connection, uuid: str, secret: str) -> None:
    """SQL functions of ours; made once a connection, as each makes SQLite compile every statement anew.

    They are NULL where their arguments make no sense: a function that fails fails its statement, and with it everybody's rows. Text that is
    no UTF-8 fails before it comes here: a column that may hold such is handed over as `CAST(column AS BLOB)`.
    """

    @cache
    def key_start() -> blake2b:
        from hashlib import blake2b  # noqa: PLC0415 - only a tick that sends needs it

        return blake2b(f"{uuid}/".encode(), digest_size=16)

    def message_key(enrollment: int, pc: int, visit: int, channel: int, recipient: str | bytes) -> str:
        # The idempotency key of a message: the same on every attempt, another in every store.
        digest = key_start().copy()
        digest.update(f"{enrollment}/{pc}/{visit}/{channel}/{_said(recipient)}".encode())
        return digest.hexdigest()

    def address_hash(channel: str, address: str | bytes | None) -> str | None:
        from flowctl.store.suppressions import address_hash as compute  # noqa: PLC0415 - hmac is not for every start

        return None if address is None else compute(secret, channel, _said(address))

    def geofenced(shape: str, lat: object, lon: object) -> int | None:
        from flowctl.store.geography import geofenced as judge  # noqa: PLC0415 - only where there are geofences

        return judge(shape, lat, lon)

    def phone_country(phone: str | bytes | None) -> str | None:
        from flowctl.store.zones import country_of_phone  # noqa: PLC0415 - only where a country is known by a phone alone

        return country_of_phone(_said(phone)) if phone else None

    connection.create_function("message_key", 5, _or_null(message_key), deterministic=True)
    connection.create_function("address_hash", 2, _or_null(address_hash), deterministic=True)
    connection.create_function("geofenced", 3, _or_null(geofenced), deterministic=True)
    connection.create_function("phone_country", 1, _or_null(phone_country), deterministic=True)


def _said(value: str | bytes) -> str:
    return _TEXT(value) if isinstance(value, bytes) else value


def _or_null(compute: Callable[..., str | int | None]) -> Callable[..., str | int | None]:
    def judged(*arguments: object) -> str | int | None:
        try:
            return compute(*arguments)
        except Exception:  # noqa: BLE001 - whatever a value of another kind raises
            return None

    return judged


def _migrations() -> list[Path]:
    return sorted(MIGRATIONS.glob("[0-9][0-9][0-9][0-9]_*.sql"))


def _statements(script: str) -> Iterator[str]:
    pending = ""
    for line in script.splitlines(keepends=True):
        pending += line
        if ";" in line and sqlite3.complete_statement(pending):
            yield pending
            pending = ""


def _introduce(connection: sqlite3.Connection) -> None:
    from secrets import token_hex  # noqa: PLC0415 - only a new store needs them
    from uuid import uuid4  # noqa: PLC0415

    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    values = (str(uuid4()), token_hex(32), clock.now())
    connection.execute("INSERT INTO store (id, uuid, secret, created_at) VALUES (1, ?, ?, ?)", values)


def _name(where: sqlite3.Connection | Path | None) -> str:
    if isinstance(where, sqlite3.Connection):
        try:
            where = where.execute("PRAGMA database_list").fetchone()[2]
        except sqlite3.Error:  # closed, or too damaged to answer
            where = None
    return str(where or "in memory")
