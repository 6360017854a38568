import pytest

from flowctl.store import consents, contacts, suppressions
from flowctl.store.consents import Statement
from flowctl.store.database import transaction

NOW = 1000


@pytest.fixture
def ana(store):
    with transaction(store.connection):
        return contacts.create(
            store.connection, {"key": "ana", "email": "Ana@example.com", "phone": "+33612345678"}, origin=0, now=1
        )


def say(store, *words, now=NOW):
    with transaction(store.connection):
        said = [Statement(contact_id=1, channel="email", granted=granted, at=at, source="t") for granted, at in words]
        return consents.record(store.connection, said, now=now)


def granted(rows):
    return [bool(value) for (value,) in rows("SELECT granted FROM consents WHERE purpose = 'marketing'")]


@pytest.mark.parametrize(
    ("words", "holds"),
    [
        ([(True, 10), (False, 20)], False),
        ([(False, 20), (True, 10)], False),  # an old import row never outdoes a newer withdrawal
        ([(False, 20), (True, 30)], True),
        ([(True, 20), (False, 20)], False),
        ([(False, 20), (True, 20)], False),  # at one instant the withdrawal wins, whichever comes first
        ([(False, 20), (True, None)], False),  # a grant without a date outdoes no withdrawal
        ([(True, 20), (False, None)], False),
        ([(True, None), (True, None)], True),
    ],
)
@pytest.mark.parametrize("together", [True, False])
def test_the_newest_word_holds(store, ana, rows, words, holds, together):
    for part in [words] if together else [[word] for word in words]:
        say(store, *part)
    assert granted(rows) == [holds]


def test_saying_the_same_again_is_nothing_new(store, ana, rows):
    for _ in range(2):
        say(store, (True, 10), (False, 20))
        say(store, (False, None), (False, 20))
    assert rows("SELECT granted, at FROM consent_log ORDER BY id") == [(1, 10), (0, 20)]


def test_changes_are_told_of_contacts_that_were_there(store, ana, rows):
    say(store, (True, 10))
    say(store, (True, 15))  # confirmed: another proof, but no change
    say(store, (False, 20), now=NOW + 1)
    assert rows("SELECT field, old, new, at FROM contact_changes") == [
        ("consent.email", None, 1, NOW),
        ("consent.email", 1, 0, NOW + 1),
    ]
    with transaction(store.connection):
        consents.record(
            store.connection,
            [Statement(contact_id=1, channel="sms", granted=True, at=1, source="t")],
            now=NOW,
            first_new_id=1,
        )
    assert len(rows("SELECT * FROM contact_changes")) == 2


def test_kept_withdrawals_are_counted(store, ana):
    assert say(store, (False, 20)) == 0
    assert say(store, (True, None), (True, 10)) == 1


def test_a_suppression_finds_everybody_with_the_address_and_outlives_them(store, ana, rows):
    with transaction(store.connection):
        contacts.create(store.connection, {"key": "twin", "email": "ana@example.com"}, origin=0, now=1)
        assert (
            suppressions.suppress(
                store.connection, "email", ["ANA@example.com"], reason="manual", source="s", at=5, now=NOW
            )
            == 1
        )
        assert (
            suppressions.suppress(
                store.connection, "email", ["ana@example.com"], reason="bounced", source="s", at=6, now=NOW
            )
            == 0
        )
    assert rows("SELECT contact_id, reason FROM suppressions ORDER BY contact_id") == [
        (0, "manual"),
        (1, "manual"),
        (2, "manual"),
    ]
    assert rows("SELECT contact_id, field, old, new FROM contact_changes") == [
        (1, "suppressed.email", 0, 1),
        (2, "suppressed.email", 0, 1),
    ]
    assert not any("ana" in str(value).lower() for row in rows("SELECT * FROM suppressions") for value in row)
    assert suppressions.is_suppressed(store.connection, "email", " aNa@example.com ")
    assert not suppressions.is_suppressed(store.connection, "sms", "+33612345678")


def test_a_contact_that_comes_or_moves_is_bound_to_what_it_has_now(store, ana, rows):
    bound = lambda: rows("SELECT contact_id, channel FROM suppressions WHERE contact_id > 0 ORDER BY channel")  # noqa: E731
    with transaction(store.connection):
        suppressions.suppress(
            store.connection, "email", ["late@example.com"], reason="manual", source="s", at=5, now=NOW
        )
        suppressions.suppress(store.connection, "sms", ["+33612345678"], reason="manual", source="s", at=5, now=NOW)
        late = contacts.create(store.connection, {"email": "LATE@example.com"}, origin=0, now=1)
        assert bound() == [(late, "email"), (ana, "sms")]
        assert rows("SELECT contact_id FROM contact_changes") == [(ana,)]
        contacts.change(store.connection, late, {"email": "other@example.com"}, now=NOW)
        contacts.change(store.connection, ana, {"email": "late@example.com"}, now=NOW)
        assert bound() == [(ana, "email"), (ana, "sms")]
        contacts.change(store.connection, ana, {"phone": None, "email": None}, now=NOW)
    assert bound() == []
    assert rows("SELECT count(*) FROM suppressions") == [(2,)]


def test_lifting_takes_back_only_the_contacts_own_unsubscribing(store, ana, rows):
    with transaction(store.connection):
        suppressions.suppress(
            store.connection, "email", ["ana@example.com"], reason="unsubscribed", source="s", at=5, now=NOW
        )
        suppressions.suppress(store.connection, "sms", ["+33612345678"], reason="bounced", source="s", at=5, now=NOW)
        assert suppressions.lift(store.connection, ana, "email", now=NOW)
        assert not suppressions.lift(store.connection, ana, "sms", now=NOW)
    assert rows("SELECT DISTINCT channel FROM suppressions") == [("sms",)]
    assert rows("SELECT old, new FROM contact_changes WHERE field = 'suppressed.email'") == [(0, 1), (1, 0)]


@pytest.mark.parametrize("analysed", [False, True])
def test_addresses_and_suppressions_are_found_by_index(store, ana, analysed):
    if analysed:
        store.connection.execute("ANALYZE")
    for query in (
        "SELECT id FROM contacts WHERE email = 'x'",
        "SELECT email, id FROM contacts WHERE email IN (SELECT value FROM json_each('[]'))",
        "SELECT key, id FROM contacts WHERE key IN (SELECT value FROM json_each('[]'))",
        "SELECT phone, id FROM contacts WHERE phone IN (SELECT value FROM json_each('[]'))",
        "SELECT 1 FROM suppressions WHERE channel = 'email' AND hash = 'x'",
        "SELECT 1 FROM suppressions WHERE contact_id = 1 AND channel = 'email'",
    ):
        plan = " ".join(row[3] for row in store.connection.execute("EXPLAIN QUERY PLAN " + query))
        assert "SEARCH" in plan, query
        assert "SCAN contacts" not in plan, query
        assert "SCAN suppressions" not in plan, query
