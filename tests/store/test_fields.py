import sqlite3

import pytest

from flowctl.failure import Failure
from flowctl.store import contacts, fields
from flowctl.store.database import transaction

NOW = 5


def add(store, **values):
    with transaction(store.connection):
        return contacts.create(store.connection, values, origin=0, now=NOW)


@pytest.mark.parametrize(
    ("column", "bad"),
    [
        ("vip", 2),
        ("birthday", "2026-02-30"),
        ("birthday", "soon"),
        ("interests", "toys"),
        ("interests", "{}"),
        ("amount", "much"),
        ("visits", 1.5),
        ("first_name", b"x"),
    ],
)
def test_the_schema_refuses_what_is_not_of_the_type(store, column, bad):
    add(store, key="a")
    with pytest.raises(sqlite3.IntegrityError):
        store.connection.execute(f"UPDATE contacts SET {column} = ?", (bad,))


def test_a_default_fills_contacts_there_are_and_new_ones(store, rows):
    add(store, key="a")
    declared = {"level": {"type": "text", "default": "it's"}, "score": {"type": "number", "default": 0.5}}
    fields.declare(store.connection, declared, now=NOW)
    add(store, key="b")
    add(store, key="c", level="high")
    assert rows("SELECT key, level, score FROM contacts ORDER BY key") == [
        ("a", "it's", 0.5),
        ("b", "it's", 0.5),
        ("c", "high", 0.5),
    ]
    fields.declare(store.connection, declared | {"level": {"type": "text", "default": "new"}}, now=NOW)
    add(store, key="d")
    assert rows("SELECT key, level FROM contacts ORDER BY key")[-2:] == [("c", "high"), ("d", "new")]


def test_a_default_given_later_fills_what_is_unknown(store, rows):
    add(store, key="a")
    add(store, key="b", first_name="Bo")
    fields.declare(store.connection, {"first_name": {"type": "text", "default": "?"}}, now=NOW)
    assert rows("SELECT first_name FROM contacts ORDER BY key") == [("?",), ("Bo",)]


def test_a_retired_field_keeps_its_values_and_comes_back_with_them(store, rows):
    add(store, key="a", first_name="Ana")
    fields.declare(store.connection, {"city": {"type": "text"}}, now=NOW)
    assert "first_name" not in fields.load(store.connection)
    assert rows("SELECT retired_at FROM contact_fields WHERE name = 'first_name'") == [(NOW,)]
    fields.declare(store.connection, {"first_name": {"type": "text"}}, now=NOW)
    assert fields.load(store.connection)["first_name"].type == "text"
    assert rows("SELECT first_name FROM contacts") == [("Ana",)]


def test_declaring_the_same_again_changes_nothing(store, rows):
    before = rows("SELECT sql FROM sqlite_schema"), rows("SELECT * FROM contact_fields")
    from tests.store.conftest import FIELDS

    fields.declare(store.connection, FIELDS, now=NOW)
    assert (rows("SELECT sql FROM sqlite_schema"), rows("SELECT * FROM contact_fields")) == before


def test_a_changed_type_is_refused_and_nothing_is_half_done(store, rows):
    declared = {"brand_new": {"type": "text"}, "amount": {"type": "integer"}}
    assert fields.conflicts(store.connection, declared) == [
        "the contact field `amount` is integer in flowctl.yaml, but number in the store"
    ]
    with pytest.raises(Failure, match=r"`amount` is integer in flowctl\.yaml, but number") as caught:
        fields.declare(store.connection, declared, now=NOW)
    assert "amount_2" in caught.value.help
    assert rows("SELECT name FROM pragma_table_info('contacts') WHERE name = 'brand_new'") == []
    assert not store.connection.in_transaction


def test_texts_may_loosen_and_tighten_where_values_fit(store):
    add(store, key="a", first_name="Ana", lifecycle="lead")
    fields.declare(
        store.connection, {"lifecycle": {"type": "text"}, "first_name": {"type": "choice", "values": ["Ana"]}}, now=NOW
    )
    assert fields.load(store.connection)["first_name"].values == ("Ana",)
    with pytest.raises(Failure, match="where a contact has the value 'lead'"):
        fields.declare(store.connection, {"lifecycle": {"type": "choice", "values": ["x"]}}, now=NOW)


@pytest.mark.parametrize("name", ["email", "id", "_zone", "ro wid", "rowid", 'a"b'])
def test_names_that_are_taken_or_none(store, name):
    with pytest.raises(Failure, match="cannot be declared"):
        fields.declare(store.connection, {name: {"type": "text"}}, now=NOW)


def test_words_of_sql_are_good_names(store, rows):
    fields.declare(store.connection, {"select": {"type": "text"}, "group": {"type": "integer", "default": 1}}, now=NOW)
    add(store, key="a", select="x")
    assert rows('SELECT "select", "group" FROM contacts') == [("x", 1)]


def test_a_default_that_is_not_of_its_type_is_refused(store):
    with pytest.raises(Failure, match="the default 'many' of the contact field `n`: expected a whole number"):
        fields.declare(store.connection, {"n": {"type": "integer", "default": "many"}}, now=NOW)
