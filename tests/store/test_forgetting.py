"""Forgetting a person: every table, every byte of the files, what stays, and what comes after."""

import json
import sqlite3

import pytest

from flowctl.failure import Busy
from flowctl.store import consents, contacts, coupons, forgetting, suppressions
from flowctl.store.backup import backup
from flowctl.store.database import open_store, transaction
from flowctl.store.forgetting import forget, sweep, unswept
from flowctl.store.locking import exclusive
from flowctl.store.traces import OF_THE_STORE, traces
from tests.store.people import ROWS, put

NOW = 1_790_000_000_000


def on_disk(store, *others):
    paths = [store.path.with_name(store.path.name + end) for end in ("", "-wal", "-shm", "-journal")]
    return b"".join(path.read_bytes() for path in (*paths, *others) if path.exists())


def rows_of(connection, contact_id):
    said = {"contacts": json.dumps([contact_id])}
    return {
        trace.table: connection.execute(f"SELECT count(*) FROM {trace.table} WHERE {trace.condition}", said).fetchone()[
            0
        ]
        for trace in traces(connection)
    }


def test_every_table_is_of_the_store_or_bound_to_a_person(store):
    tables = {name for (name,) in store.connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    bound = {trace.table for trace in traces(store.connection)}
    assert tables == bound | (OF_THE_STORE & tables)
    assert not bound & OF_THE_STORE
    assert bound - {"suppressions"} == ROWS.keys()  # so that the tests below see all of them


def test_nothing_is_left_in_any_table_or_byte_of_store_log_and_later_backups(store, tmp_path):
    texts = put(store, 7, "ZxQ7")
    kept = put(store, 8, "Keep8")
    assert min(rows_of(store.connection, 7).values()) == 1
    assert all(text.encode() in on_disk(store) for text in texts)
    with transaction(store.connection):  # a value of last year, whose place was freed but not overwritten
        store.connection.execute("UPDATE contacts SET first_name = 'ZxQ7former' WHERE id = 7")
        store.connection.execute("UPDATE contacts SET first_name = 'x' WHERE id = 7")
    done = forget(store, [7], now=NOW)
    assert done.rows.keys() == {*ROWS, "suppressions"}
    assert done.suppressed == 2
    assert set(rows_of(store.connection, 7).values()) == {0}
    backup(store, tmp_path / "later.db")
    left = on_disk(store, tmp_path / "later.db")
    assert b"ZxQ7" not in left
    assert b"zxq7" not in left.lower()
    assert all(text.encode() in left for text in kept)
    assert (store.path.with_name(store.path.name + "-wal")).stat().st_size < 10_000  # the mark taken away, no more
    assert store.connection.execute("PRAGMA foreign_key_check").fetchall() == []
    assert store.connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert store.connection.execute("PRAGMA foreign_keys").fetchone() == (1,)
    assert not unswept(store.connection)


def test_the_suppression_survives_as_a_hash_that_says_nothing_of_the_person(store):
    put(store, 7, "ZxQ7")
    forget(store, [7], now=NOW)
    assert suppressions.is_suppressed(store.connection, "email", "zxq7MAIL@example.com")
    assert suppressions.is_suppressed(store.connection, "email", "ZxQ7old@example.com")
    assert set(store.connection.execute("SELECT contact_id, reason, source FROM suppressions")) == {
        (0, "bounced", "contacts forget")
    }
    again = contacts.create(store.connection, {"email": "ZxQ7mail@example.com"}, origin=0, now=NOW)
    assert suppressions.of_contact(store.connection, again) == [("email", "bounced", 1, "contacts forget")]


def test_who_withdrew_consent_is_not_written_to_when_imported_again(store):
    one = contacts.create(store.connection, {"email": "ana@example.com", "phone": "+33612345678"}, origin=0, now=NOW)
    said = [
        consents.Statement(contact_id=one, channel=channel, granted=granted, at=5, source="form")
        for channel, granted in (("email", False), ("sms", True))
    ]
    with transaction(store.connection):
        consents.record(store.connection, said, now=NOW)
    forget(store, [one], now=NOW)
    assert suppressions.is_suppressed(store.connection, "email", "ana@example.com")
    assert not suppressions.is_suppressed(store.connection, "sms", "+33612345678")
    two = contacts.create(store.connection, {"phone": "+33612345678"}, origin=0, now=NOW)
    forget(store, [two], suppress_all=True, now=NOW)
    assert suppressions.is_suppressed(store.connection, "sms", "+33612345678")


def test_another_contact_with_the_same_address_stays(store):
    one, two = (
        contacts.create(store.connection, {"key": key, "email": "both@example.com"}, origin=0, now=NOW) for key in "ab"
    )
    with transaction(store.connection):
        suppressions.suppress(
            store.connection, "email", ["both@example.com"], reason="complained", source="s", at=1, now=NOW
        )
    forget(store, [one], now=NOW)
    assert contacts.get(store.connection, two).values["email"] == "both@example.com"
    assert [row[1] for row in suppressions.of_contact(store.connection, two)] == ["complained"]


def test_a_coupon_of_somebody_forgotten_is_given_to_nobody_else(store):
    ana, bob = (contacts.create(store.connection, {"key": key}, origin=0, now=NOW) for key in ("ana", "bob"))
    coupons.add(store.connection, "spring", ["SPRING-1", "SPRING-2"])
    coupons.give(store.connection, "spring", [ana], now=NOW)
    forget(store, [ana], now=NOW)
    assert b"SPRING-1" not in on_disk(store)
    assert coupons.add(store.connection, "spring", ["SPRING-1", "SPRING-2", "SPRING-3"]) == 1
    (pool,) = coupons.pools(store.connection)
    assert (pool.codes, pool.given, pool.left) == (3, 1, 2)
    coupons.give(store.connection, "spring", [bob], now=NOW)
    assert coupons.of(store.connection, bob) == {"spring": "SPRING-2"}


def test_ids_that_are_given_again_are_not_passed_over_by_a_cursor(store):
    put(store, 7, "a")
    put(store, 8, "b")
    newest = {
        table: store.connection.execute(f"SELECT max(id) FROM {table}").fetchone()[0] for table in forgetting._CURSORS
    }
    with transaction(store.connection):
        for table, names in forgetting._CURSORS.items():
            store.connection.executemany("INSERT INTO cursors VALUES (?, ?)", [(name, newest[table]) for name in names])
        store.connection.execute("INSERT INTO cursors VALUES ('tick', ?)", (NOW,))
    forget(store, [8], now=NOW)
    cursors = dict(store.connection.execute("SELECT name, value FROM cursors"))
    for table, names in forgetting._CURSORS.items():
        left = store.connection.execute(f"SELECT max(id) FROM {table}").fetchone()[0]
        assert {cursors[name] for name in names} == {left} < {newest[table]} or left < newest[table]
        assert all(cursors[name] == left for name in names)
    assert cursors["tick"] == NOW


def test_the_cursors_are_those_of_the_observer_and_no_enrollment_is_numbered_twice(store):
    from flowctl.engine.observe import _SOURCES

    lowered = {name for names in forgetting._CURSORS.values() for name in names}
    sequences = "SELECT sql LIKE '%AUTOINCREMENT%' FROM sqlite_schema WHERE name = ?"
    for source in _SOURCES:
        (never_again,) = store.connection.execute(sequences, (source.table,)).fetchone()
        assert never_again or {source.name, f"{source.name}.seen"} <= lowered
    assert {"events", "journal", "transitions"} <= lowered
    assert store.connection.execute(sequences, ("enrollments",)).fetchone() == (1,)
    put(store, 7, "a")
    forget(store, [7], now=NOW)
    assert store.connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'enrollments'").fetchone() == (7,)


def test_a_tick_that_runs_is_not_disturbed(store):
    put(store, 7, "a")
    other = open_store(store.path, create=False)
    with exclusive(other), pytest.raises(Busy, match="another flowctl is running"):
        forget(store, [7], now=NOW)
    other.close()
    assert contacts.get(store.connection, 7)


def test_a_reader_that_keeps_old_pages_is_waited_for_and_said(store, monkeypatch):
    put(store, 7, "ZxQ7")
    reader = sqlite3.connect(store.path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM contacts").fetchone()
    store.connection.execute("PRAGMA busy_timeout = 50")
    with pytest.raises(Busy, match="another program still reads"):
        forget(store, [7], now=NOW)
    assert unswept(store.connection)
    assert set(rows_of(store.connection, 7).values()) == {0}
    reader.close()
    sweep(store)
    assert not unswept(store.connection)
    assert b"ZxQ7" not in on_disk(store)


def test_what_was_interrupted_is_finished_later(store, monkeypatch):
    put(store, 7, "ZxQ7")
    with monkeypatch.context() as patch:
        patch.setattr(forgetting, "_sweep", lambda store: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            forget(store, [7], now=NOW)
    assert unswept(store.connection)
    sweep(store)
    assert b"ZxQ7" not in on_disk(store)


def test_all_that_is_stored_about_a_person_is_exported(store):
    texts = put(store, 7, "ZxQ7")
    text = json.dumps(contacts.dossier(store.connection, 7))
    assert sorted(each for each in texts if each not in text) == []


def test_what_a_provider_said_of_the_address_goes_too(store):
    put(store, 7, "ZxQ7")
    with transaction(store.connection):
        store.connection.execute(
            "INSERT INTO breakers VALUES ('email', 1, 2, 1, '554 5.7.1 <zxq7MAIL@example.com>: relay access denied'), "
            "('sms', 1, 2, 1, '503 later')"
        )
    forget(store, [7], now=NOW)
    assert [reply for (reply,) in store.connection.execute("SELECT reply FROM breakers ORDER BY 1")] == [
        "503 later",
        "refused",
    ]


def test_a_store_with_enrollments_from_before_never_numbers_one_twice(tmp_path, monkeypatch):
    """The migration changes a declaration in place."""
    from flowctl.store import database

    steps = database._migrations()
    before = next(place for place, step in enumerate(steps) if step.name.startswith("0005"))
    monkeypatch.setattr(database, "_migrations", lambda: steps[:before])
    old = open_store(tmp_path / "old.db", create=True)
    for statement in (
        "INSERT INTO contacts (id, created_at, _seed, _origin) VALUES (1, 1, 1, 0)",
        "INSERT INTO releases VALUES (1, 1, 'c', 'd', '{}', '{}', 1)",
        "INSERT INTO workflow_versions VALUES (1, 'w', 1, 1, 'd', 'w.yaml', '{}')",
        "INSERT INTO enrollments (id, contact_id, workflow, version_id, cause, entered_at, pc, at) VALUES (41, 1, 'w', 1, 'm', 1, 0, 1)",
    ):
        old.connection.execute(statement)
    old.close()
    monkeypatch.undo()
    new = open_store(tmp_path / "old.db", create=False)
    assert new.connection.execute("SELECT id, contact_id FROM enrollments").fetchall() == [(41, 1)]
    assert new.connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    forget(new, [1], now=NOW)
    new.connection.execute("INSERT INTO contacts (id, created_at, _seed, _origin) VALUES (2, 1, 1, 0)")
    (number,) = new.connection.execute(
        "INSERT INTO enrollments (contact_id, workflow, version_id, cause, entered_at, pc, at) VALUES (2, 'w', 1, 'm', 1, 0, 1) RETURNING id"
    ).fetchone()
    assert number == 42
    new.close()
