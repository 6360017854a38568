import os
import sqlite3
import stat
import subprocess
import sys
import threading

import pytest

from flowctl.failure import Busy, Failure, UsageFailure
from flowctl.store import database
from flowctl.store.database import fetched, open_store, transaction, undone
from flowctl.store.locking import exclusive


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_store_is_private_durable_and_introduces_itself(tmp_path):
    old = os.umask(0)
    try:
        store = open_store(tmp_path / "s.db", create=True)
    finally:
        os.umask(old)
    assert [mode(tmp_path / name) for name in ("s.db", "s.db-wal", "s.db-shm")] == [0o600] * 3
    pragma = {
        name: store.connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("journal_mode", "synchronous", "foreign_keys")
    }
    assert pragma == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
    assert len(store.secret) == 64
    assert store.secret not in repr(store)
    again = open_store(tmp_path / "s.db", create=False)
    assert (again.uuid, again.secret) == (store.uuid, store.secret)


def test_urls_and_paths(tmp_path):
    open_store("sqlite:///a.db", create=True, base=tmp_path).close()
    assert (tmp_path / "a.db").exists()
    open_store(f"sqlite:///{tmp_path}/b.db", create=True).close()
    assert (tmp_path / "b.db").exists()
    assert open_store(":memory:", create=True).path is None
    with pytest.raises(UsageFailure, match="postgresql"):
        open_store("postgresql://x/y", create=True)


@pytest.mark.parametrize("content", [b"no database at all" * 100, b"\x00" * 5000])
def test_a_file_that_is_no_store_is_refused_and_left_alone(tmp_path, content):
    path = tmp_path / "x.db"
    path.write_bytes(content)
    with pytest.raises(Failure, match="not a SQLite database"):
        open_store(path, create=True)
    assert path.read_bytes() == content


def test_another_programs_database_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "x.db"
    with sqlite3.connect(path) as theirs:
        theirs.execute("CREATE TABLE t (a)")
    theirs.close()
    before = path.read_bytes()
    with pytest.raises(Failure, match="no flowctl store"):
        open_store(path, create=True)
    assert path.read_bytes() == before


def test_a_newer_schema_is_refused(tmp_path):
    store = open_store(tmp_path / "s.db", create=True)
    store.connection.execute("PRAGMA user_version = 999")
    store.close()
    with pytest.raises(Failure, match="schema 999"):
        open_store(tmp_path / "s.db", create=False)


def test_missing_folder_directory_and_missing_store(tmp_path):
    with pytest.raises(Failure, match="no store at"):
        open_store(tmp_path / "s.db", create=False)
    assert not (tmp_path / "s.db").exists()
    with pytest.raises(Failure, match="cannot make the store"):
        open_store(tmp_path / "nowhere" / "s.db", create=True)
    with pytest.raises(Failure, match="is a folder"):
        open_store(tmp_path, create=True)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
def test_an_unwritable_store_is_refused(tmp_path):
    open_store(tmp_path / "s.db", create=True).close()
    (tmp_path / "s.db").chmod(0o400)
    with pytest.raises(Failure, match="cannot be written"):
        open_store(tmp_path / "s.db", create=False)


def test_file_systems_are_told_by_the_longest_mount_point():
    mounts = "/dev/a / ext4 rw 0 0\nsrv:/x /mnt/nfs nfs4 rw 0 0\n//srv/y /mnt/nfs/my\\040files cifs rw 0 0\n"
    kind = lambda path: database.file_system(path, mounts)  # noqa: E731
    from pathlib import Path

    assert [kind(Path(p)) for p in ("/home/x", "/mnt/nfs", "/mnt/nfs/a", "/mnt/nfsx", "/mnt/nfs/my files/b")] == [
        "ext4",
        "nfs4",
        "nfs4",
        "ext4",
        "cifs",
    ]


def test_a_network_file_system_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(database, "file_system", lambda path, mounts: "nfs4")
    with pytest.raises(Failure, match="network file system"):
        open_store(tmp_path / "s.db", create=True)
    assert not (tmp_path / "s.db").exists()


def test_a_transaction_commits_rolls_back_and_nests(tmp_path):
    connection = open_store(tmp_path / "s.db", create=True).connection
    with transaction(connection):
        connection.execute("INSERT INTO zones VALUES (1, 'a')")
        with transaction(connection):
            connection.execute("INSERT INTO zones VALUES (2, 'b')")
        assert connection.in_transaction
    with pytest.raises(sqlite3.IntegrityError), transaction(connection):
        connection.executemany("INSERT INTO zones VALUES (?, 'c')", [(3,), (4,)])
    assert not connection.in_transaction
    assert connection.execute("SELECT id FROM zones ORDER BY id").fetchall() == [(1,), (2,)]


def test_a_part_of_a_transaction_is_undone_alone(tmp_path):
    connection = open_store(tmp_path / "s.db", create=True).connection
    with transaction(connection):
        connection.execute("INSERT INTO zones VALUES (1, 'a')")
        with pytest.raises(sqlite3.IntegrityError), transaction(connection):
            connection.executemany("INSERT INTO zones VALUES (?, 'b')", [(2,), (3,)])
    assert connection.execute("SELECT id FROM zones").fetchall() == [(1,)]


def test_what_is_undone_leaves_nothing_but_empty_temporary_tables():
    connection = open_store(":memory:", create=True).connection
    with undone(connection):
        with transaction(connection):
            connection.execute("INSERT INTO zones VALUES (1, 'a')")
            connection.execute("CREATE TEMP TABLE IF NOT EXISTS seen (id INTEGER PRIMARY KEY, at INTEGER)")
            connection.execute("CREATE INDEX IF NOT EXISTS temp.seen_at ON seen (at)")
            connection.execute("INSERT INTO seen (at) VALUES (1)")
        assert connection.in_transaction
    assert not connection.in_transaction
    assert connection.execute("SELECT count(*) FROM zones").fetchone() == (0,)
    assert connection.execute("SELECT count(*) FROM seen INDEXED BY seen_at").fetchone() == (0,)


def test_a_locked_store_is_busy_and_nothing_is_done(tmp_path, monkeypatch):
    monkeypatch.setenv("FLOWCTL_BUSY_S", "0.05")
    store = open_store(tmp_path / "s.db", create=True)
    other = sqlite3.connect(tmp_path / "s.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Busy, match="locked by another program") as caught, transaction(store.connection):
        pytest.fail("it is locked")
    assert caught.value.exit_code == 75
    other.execute("ROLLBACK")
    with transaction(store.connection):
        store.connection.execute("INSERT INTO zones VALUES (1, 'a')")
    other.close()


def test_a_full_disk_is_a_failure_and_rolls_back(tmp_path):
    store = open_store(tmp_path / "s.db", create=True)
    pages = store.connection.execute("PRAGMA page_count").fetchone()[0]
    store.connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(Failure, match="no space left"), transaction(store.connection):
        store.connection.executemany("INSERT INTO zones (name) VALUES (?)", ((f"{n:0500}",) for n in range(1000)))
    assert store.connection.execute("SELECT count(*) FROM zones").fetchone() == (0,)


def test_a_snapshot_is_a_copy_of_its_own(tmp_path):
    store = open_store(tmp_path / "s.db", create=True)
    with transaction(store.connection):
        store.connection.execute("INSERT INTO zones VALUES (1, 'a')")
    copy = store.snapshot()
    with transaction(copy.connection):
        copy.connection.execute("DELETE FROM zones")
    assert store.connection.execute("SELECT count(*) FROM zones").fetchone() == (1,)
    assert (copy.uuid, copy.path) == (store.uuid, None)
    hashes = [
        each.connection.execute("SELECT address_hash('email', 'Ana@Example.com')").fetchone() for each in (store, copy)
    ]
    assert hashes[0] == hashes[1]


def test_two_programs_may_create_a_store_at_once(tmp_path):
    program = (
        "import sys; from flowctl.store.database import open_store; print(open_store(sys.argv[1], create=True).uuid)"
    )
    runs = [
        subprocess.Popen([sys.executable, "-c", program, tmp_path / "s.db"], stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    said = {run.communicate()[0] for run in runs}
    assert [run.returncode for run in runs] == [0] * 4
    assert len(said) == 1


def schema(connection):
    return connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name").fetchall()


def test_a_fresh_schema_equals_all_migrations_one_by_one(tmp_path, monkeypatch):
    """A store made by each earlier release ends up like a fresh one; with what it held."""
    every = database._migrations()
    extra = tmp_path / "9999_extra.sql"
    extra.write_text(
        "CREATE TABLE extra (a INTEGER) STRICT;\n-- a comment; with a semicolon\nCREATE TRIGGER t AFTER INSERT ON extra BEGIN\n  SELECT 1;\n  SELECT 2;\nEND;\n"
    )
    chain = [*every, extra]
    for count in range(1, len(chain) + 1):
        monkeypatch.setattr(database, "_migrations", lambda count=count: chain[:count])
        store = open_store(tmp_path / "grown.db", create=True)
        store.connection.execute("INSERT OR IGNORE INTO zones VALUES (1, 'kept')")
        store.close()
    grown, fresh = open_store(tmp_path / "grown.db", create=False), open_store(tmp_path / "fresh.db", create=True)
    assert schema(grown.connection) == schema(fresh.connection)
    assert grown.connection.execute("SELECT name FROM zones").fetchall() == [("kept",)]
    assert grown.connection.execute("PRAGMA user_version").fetchone() == (len(chain),)


def test_a_migration_that_fails_leaves_the_store_as_it_was(tmp_path, monkeypatch):
    open_store(tmp_path / "s.db", create=True).close()
    every = database._migrations()
    bad = tmp_path / "9999_bad.sql"
    bad.write_text("CREATE TABLE extra (a INTEGER);\nCREATE TABLE extra (a INTEGER);\n")
    monkeypatch.setattr(database, "_migrations", lambda: [*every, bad])
    with pytest.raises(sqlite3.OperationalError):
        open_store(tmp_path / "s.db", create=False)
    monkeypatch.setattr(database, "_migrations", lambda: every)
    store = open_store(tmp_path / "s.db", create=False)
    assert store.connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'extra'").fetchone() == (0,)


def test_the_lock_is_held_by_one_and_dropped_by_the_dead(tmp_path):
    store = open_store(tmp_path / "s.db", create=True)
    program = "import sys; from flowctl.store.database import open_store; from flowctl.store.locking import exclusive\nwith exclusive(open_store(sys.argv[1], create=False)):\n  print('held', flush=True); sys.stdin.read()"
    holder = subprocess.Popen(
        [sys.executable, "-c", program, tmp_path / "s.db"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(Busy, match=rf"another flowctl is running \(pid {holder.pid}\)"), exclusive(store):
        pytest.fail("it is held")
    holder.kill()
    holder.wait()
    holder.stdin.close()
    holder.stdout.close()
    with exclusive(store), pytest.raises(Busy), exclusive(store):
        pytest.fail("it is held here")
    assert mode(tmp_path / "s.db.lock") == 0o600


def test_a_store_in_memory_needs_no_lock():
    with exclusive(open_store(":memory:", create=True)):
        assert threading.active_count() >= 1


def test_texts_read_at_once_are_what_reading_one_by_one_gives_also_where_one_is_no_utf8():
    connection = open_store(":memory:", create=True).connection
    whole = "SELECT value, 7, NULL, 1.5 FROM json_each(?)"
    assert fetched(connection, whole, ('["Zoé","a"]',)) == [("Zoé", 7, None, 1.5), ("a", 7, None, 1.5)]
    broken = "SELECT 'Zoé' UNION ALL SELECT CAST(x'41ff42' AS TEXT)"
    assert fetched(connection, broken) == connection.execute(broken).fetchall() == [("Zoé",), ("A\ufffdB",)]
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        fetched(connection, "SELECT 1 FROM no_such")
    assert connection.execute("SELECT CAST(x'ff' AS TEXT)").fetchone() == ("\ufffd",)
