import sqlite3
import stat

import pytest

from flowctl.failure import Failure, UsageFailure
from flowctl.store import backup as module
from flowctl.store.backup import backup
from flowctl.store.database import open_store, transaction


def test_a_backup_is_a_store_of_its_own_while_others_write(store, tmp_path):
    with transaction(store.connection):
        store.connection.execute("INSERT INTO zones VALUES (1, 'a')")
    writer = open_store(store.path, create=False)
    with transaction(writer.connection):
        writer.connection.execute("INSERT INTO zones VALUES (2, 'not yet')")
        size = backup(store, tmp_path / "copy.db")
    assert size == (tmp_path / "copy.db").stat().st_size > 0
    assert stat.S_IMODE((tmp_path / "copy.db").stat().st_mode) == 0o600
    copy = open_store(tmp_path / "copy.db", create=False)
    assert copy.uuid == store.uuid
    assert copy.connection.execute("SELECT name FROM zones").fetchall() == [("a",)]
    assert not (tmp_path / "copy.db.part").exists()


def test_a_copy_that_does_not_check_out_replaces_nothing(store, tmp_path, monkeypatch):
    target = tmp_path / "copy.db"
    backup(store, target)
    before = target.read_bytes()
    store.connection.execute("PRAGMA foreign_keys = OFF")
    store.connection.execute("INSERT INTO events (contact_id, type, at) VALUES (99, 99, 1)")
    with pytest.raises(Failure, match="a row of events refers to nothing"):
        backup(store, target)
    assert target.read_bytes() == before
    monkeypatch.setattr(module, "_check", lambda draft: (_ for _ in ()).throw(sqlite3.DatabaseError("torn")))
    with pytest.raises(sqlite3.DatabaseError):
        backup(store, target)
    assert target.read_bytes() == before
    assert not (tmp_path / "copy.db.part").exists()


def test_targets_that_make_no_sense(store, tmp_path):
    with pytest.raises(UsageFailure, match="the store itself"):
        backup(store, store.path)
    with pytest.raises(UsageFailure, match="a folder"):
        backup(store, tmp_path)
    with pytest.raises(Failure, match="cannot write"):
        backup(store, tmp_path / "nowhere" / "copy.db")
