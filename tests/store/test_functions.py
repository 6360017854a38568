"""SQL functions of ours: whatever another program wrote into the store, they answer or are NULL, and fail no statement."""

from __future__ import annotations

import sqlite3
from itertools import product

from flowctl.store.database import open_store
from flowctl.store.suppressions import address_hash

GARBAGE = (
    "NULL", "0", "-1", "9223372036854775807", "48.85", "9e999", "-9e999", "''", "'ana@example.com'", "'+33612345678'", "'+'", "'{}'", "'[1]'",
    "'null'", "'{\"center\": 1}'", "'{\"polygon\": []}'", "'{\"polygon\": [[1, \"a\"]]}'", "char(0)", "x''", "x'ff00'", "CAST(CAST('né' AS BLOB) AS TEXT)",
)  # fmt: skip
OURS = "SELECT DISTINCT name, narg FROM pragma_function_list WHERE builtin = 0 AND name IN ('message_key', 'address_hash', 'geofenced', 'phone_country')"


def test_they_never_fail():
    store = open_store(":memory:", create=True)
    functions = store.connection.execute(OURS).fetchall()
    assert len(functions) == 4
    for name, count in functions:
        for arguments in product(GARBAGE, repeat=min(count, 2)):
            # The rest are as the last one: all combinations of five would be two million.
            said = ", ".join((*arguments, *[arguments[-1]] * (count - len(arguments))))
            store.connection.execute(f"SELECT {name}({said})").fetchone()
    store.close()


def test_every_function_of_ours_is_held_to_it():
    """A function that is added stands in the list above."""
    listed = "SELECT name FROM pragma_function_list WHERE builtin = 0"
    store = open_store(":memory:", create=True)
    bare = sqlite3.connect(":memory:")
    found = set(store.connection.execute(listed)) - set(bare.execute(listed))
    assert found == {(name,) for name, _ in store.connection.execute(OURS)}
    bare.close()
    store.close()


def test_bytes_are_the_text_that_python_reads():
    store = open_store(":memory:", create=True)
    whole, broken = store.connection.execute(
        "SELECT address_hash('email', CAST('Ana@Example.com' AS BLOB)), address_hash('email', CAST(x'41ff42' AS BLOB))"
    ).fetchone()
    assert whole == address_hash(store.secret, "email", "ana@example.com")
    assert broken == address_hash(store.secret, "email", "A�B")
    store.close()
