import os
import signal
import subprocess
import sys
import time

import pytest

from flowctl.failure import UsageFailure
from flowctl.store import contacts, reading, suppressions
from flowctl.store.contact_columns import Plan
from flowctl.store.contact_import import ContactImport
from flowctl.store.database import open_store, transaction
from flowctl.store.reading import open_source

NOW = 1_790_000_000_000


@pytest.fixture
def load(store, tmp_path, paris):
    """A function that imports a text as a file; returns the outcome and the faults."""

    def load(content, *, name="people.csv", now=NOW, decimal_comma=False, **options):
        path = tmp_path / name
        path.write_text(content, encoding="utf-8")
        faults = []
        source = open_source(str(path))
        try:
            importer = ContactImport(
                store.connection, Plan(reading=paris, now=now, source="test", **options), faults.append
            )
            importer.check(source.columns)
            for chunk in source.chunks:
                importer.take(chunk)
        finally:
            source.close()
        return importer.outcome, [(fault.line, fault.column) for fault in faults]

    return load


def counts(outcome):
    return outcome.created, outcome.updated, outcome.unchanged, outcome.failed


def test_creation_types_defaults_and_no_changes(load, rows):
    outcome, faults = load(
        "key,email,phone,country,first_name,amount,vip,birthday,interests,created_at\n"
        "c1,Ana@Example.com,0612345678,FR,Ana,12.5,oui,1990-01-02,toys;cookbooks,2020-01-01T00:00Z\n"
        "c2,bob@example.com,0470 12 34 56,BE,,,,,,\n"
    )
    assert (counts(outcome), faults) == ((2, 0, 0, 0), [])
    assert rows(
        "SELECT key, email, phone, amount, visits, vip, birthday, interests, created_at, _origin FROM contacts"
    ) == [
        ("c1", "Ana@example.com", "+33612345678", 12.5, 0, 1, "1990-01-02", '["cookbooks", "toys"]', 1577836800000, 0),
        ("c2", "bob@example.com", "+32470123456", None, 0, 0, None, None, NOW, 0),
    ]
    assert rows("SELECT c.key, z.name FROM contacts c JOIN zones z ON z.id = c._zone") == [
        ("c1", "Europe/Paris"),
        ("c2", "Europe/Brussels"),
    ]
    assert rows("SELECT * FROM contact_changes") == []
    seeds = [seed for (seed,) in rows("SELECT _seed FROM contacts")]
    assert len(set(seeds)) == 2
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_importing_again_changes_nothing(load, rows):
    content = "key,email,first_name,amount,consent.email,consent.email.at,optout.offers\n" + "".join(
        f"c{n},p{n}@example.com,P{n},{n}.5,{'true' if n % 2 else 'false'},2026-01-01,{'true' if n % 3 else ''}\n"
        for n in range(50)
    )
    tables = ("contacts", "consents", "consent_log", "contact_changes", "suppressions")
    assert counts(load(content, consents={"sms": "list"})[0]) == (50, 0, 0, 0)
    before = [rows(f"SELECT * FROM {table}") for table in tables]
    assert counts(load(content, consents={"sms": "list"}, now=NOW + 5)[0]) == (0, 0, 50, 0)
    assert [rows(f"SELECT * FROM {table}") for table in tables] == before


def test_changes_of_contacts_that_were_there(load, rows):
    load("key,email,first_name,amount,country\nc1,a@example.com,Ana,1,FR\nc2,b@example.com,Bo,2,\n")
    outcome, _ = load("key,first_name,amount,country\nc1,Anna,1,BE\nc2,,3,\nc3,Cy,4,\n", now=NOW + 1)
    assert counts(outcome) == (1, 2, 0, 0)
    assert rows("SELECT contact_id, field, old, new, at FROM contact_changes ORDER BY id") == [
        (1, "first_name", "Ana", "Anna", NOW + 1), (1, "country", "FR", "BE", NOW + 1), (2, "amount", 2.0, 3.0, NOW + 1),
    ]  # fmt: skip
    assert rows("SELECT first_name FROM contacts") == [("Anna",), ("Bo",), ("Cy",)]  # an empty cell says nothing
    assert rows("SELECT z.name FROM contacts c JOIN zones z ON z.id = c._zone WHERE key = 'c1'") == [
        ("Europe/Brussels",)
    ]


def test_empty_cells_clear_only_when_told(load, rows):
    load("key,first_name,amount\nc1,Ana,1\n")
    load("key,first_name,amount\nc1,,1\n", clear_empty=True)
    assert rows("SELECT first_name, amount FROM contacts") == [(None, 1.0)]
    assert rows("SELECT field, old, new FROM contact_changes") == [("first_name", "Ana", None)]


def test_who_a_row_is_about(load, rows):
    load("key,email,phone\nk1,one@example.com,\n,two@example.com,\n,,+33612345678\n")
    outcome, faults = load(
        "key,email,phone,first_name\n"
        ",ONE@example.com,,by address\n"
        "k2,two@example.com,,given a key\n"
        ",,+33612345678,by phone\n"
        "k3,one@example.com,,another with the same address\n"
        ",,,nobody\n"
    )
    assert counts(outcome) == (1, 3, 0, 1)
    assert faults == [(6, "")]
    assert rows("SELECT id, key, first_name FROM contacts") == [
        (1, "k1", "by address"), (2, "k2", "given a key"), (3, None, "by phone"), (4, "k3", "another with the same address"),
    ]  # fmt: skip


def test_an_address_of_several_contacts_is_nobodys_name(load, rows):
    load("key,email\nk1,a@example.com\nk2,a@example.com\n")
    outcome, faults = load("email,first_name\na@example.com,Who\nb@example.com,Bo\n")
    assert (counts(outcome), faults) == ((1, 0, 0, 1), [(2, "")])
    assert rows("SELECT first_name FROM contacts WHERE email = 'a@example.com'") == [(None,), (None,)]


@pytest.mark.parametrize("chunk_rows", [500, 2])
def test_the_same_contact_twice_in_a_file(load, rows, monkeypatch, chunk_rows):
    monkeypatch.setattr(reading, "CHUNK_ROWS_MAX", chunk_rows)
    load("key,first_name\nold,was\n")
    outcome, _ = load(
        "key,email,first_name,amount\n"
        "c1,a@example.com,Ana,1\n"
        "c2,b@example.com,Bo,2\n"
        "c1,,Anna,\n"
        ",B@example.com,Bob,\n"
        "old,,now,\n"
        ",x@example.com,first,\n"
        "k9,x@example.com,second,\n"
    )
    assert outcome.created == 3
    assert outcome.repeats == [(4, 2), (5, 3), (8, 7)]
    assert rows("SELECT key, first_name, amount FROM contacts ORDER BY id") == [
        ("old", "now", None), ("c1", "Anna", 1.0), ("c2", "Bob", 2.0), ("k9", "second", None),
    ]  # fmt: skip
    # What this very file created has not changed: only `old` has.
    assert rows("SELECT field, old, new FROM contact_changes") == [("first_name", "was", "now")]


def test_bad_cells_cost_their_row_only(load, rows):
    outcome, faults = load(
        'key,email,amount,vip,interests\nc1,a@example.com,1,yes,toys\nc2,nobody,1,yes,\nc3,c@example.com,"1,5",,\nc4,d@example.com,2,perhaps,\nc5,e@example.com,2,,toy\nc6,f@example.com,x,maybe,\n'
    )
    assert counts(outcome) == (1, 0, 0, 5)
    assert faults == [(3, "email"), (4, "amount"), (5, "vip"), (6, "interests"), (7, "amount")]
    assert rows("SELECT key FROM contacts") == [("c1",)]


def test_columns_nobody_knows_are_refused_before_anything_is_stored(load, rows):
    content = "key,emial,note,first_name\nc1,a@example.com,x,Ana\n"
    with pytest.raises(
        UsageFailure, match="no contact field for the columns emial, note; did you mean email"
    ) as caught:
        load(content)
    assert "--ignore-unknown" in caught.value.help
    assert counts(load(content, ignore_unknown=True)[0]) == (1, 0, 0, 0)
    load(content, columns={"emial": "email", "note": "-"})
    assert rows("SELECT key, email, first_name FROM contacts") == [("c1", "a@example.com", "Ana")]


@pytest.mark.parametrize(
    ("content", "options", "why"),
    [
        ("first_name\nAna\n", {}, "no column says who"),
        ("key,Email,email\na,b,c\n", {}, "two columns are the field email"),
        ("key\na\n", {"columns": {"Nom": "first_name"}}, "the file has no column 'Nom'"),
        ("key,consent.fax\na,true\n", {}, "consent.fax"),
        ("key,_seed,id\na,1,1\n", {}, "_seed, id"),
    ],
)
def test_files_that_make_no_sense(load, content, options, why):
    with pytest.raises(UsageFailure, match=why):
        load(content, **options)


def test_consent_columns_and_the_flag_for_all_rows(load, rows):
    load(
        "key,consent.email,consent.email.at,consent.email.source,optout.offers\nc1,true,2026-01-01T00:00Z,form,\nc2,false,,,true\nc3,,,,false\nc4,true,2100-01-01,,\n",
        consents={"email": "list", "sms": "list"},
    )
    assert rows("SELECT contact_id, channel, purpose, granted, source FROM consents ORDER BY contact_id, channel DESC") == [
        (1, "sms", "marketing", 1, "list"), (1, "email", "marketing", 1, "form"),
        (2, "sms", "marketing", 1, "list"), (2, "email", "marketing", 0, "list"), (2, "all", "topic:offers", 0, "test"),
        (3, "sms", "marketing", 1, "list"), (3, "email", "marketing", 1, "list"),
    ]  # fmt: skip
    assert rows("SELECT at FROM consents WHERE contact_id = 1 AND channel = 'email'") == [(1767225600000,)]


def test_importing_an_old_list_undoes_no_withdrawal(load, store, rows):
    content = "key,email\nc1,a@example.com\n"
    load(content, consents={"email": "list"})
    with transaction(store.connection):
        contacts.apply_edit(
            store.connection,
            1,
            contacts.Edit(values={}, consents={("email", "marketing"): False}, source="s"),
            now=NOW + 1,
        )
    outcome, _ = load(content, consents={"email": "list"}, now=NOW + 2)
    assert outcome.withdrawals_kept == 1
    assert rows("SELECT granted FROM consents") == [(0,)]


def test_suppressed_addresses_are_bound_as_they_come(load, store, rows):
    with transaction(store.connection):
        suppressions.suppress(store.connection, "email", ["A@example.com"], reason="manual", source="s", at=1, now=1)
    outcome, _ = load("key,email\nc1,a@example.com\nc2,b@example.com\n")
    assert outcome.suppressed == 1
    load("key,email\nc2,a@example.com\nc1,c@example.com\n")
    assert rows("SELECT contact_id FROM suppressions") == [(0,), (2,)]
    assert rows("SELECT contact_id, field, new FROM contact_changes WHERE field LIKE 'suppressed%' ORDER BY contact_id") == [
        (1, "suppressed.email", 0), (2, "suppressed.email", 1),
    ]  # fmt: skip


def test_json_types_and_unknown_names_in_later_rows(load, rows, monkeypatch):
    monkeypatch.setattr(reading, "CHUNK_ROWS_MAX", 2)
    outcome, faults = load(
        '{"key": "c1", "amount": 12, "vip": true, "interests": ["toys"], "consent": {"email": true}}\n'
        '{"key": 2, "amount": "1.5", "first_name": null}\n'
        '{"key": "c3", "surprise": 1}\n'
        '{"key": "c4", "surprise": null, "amount": false}\n'
        '{"key": "c5", "interests": {"a": 1}}\n',
        name="people.ndjson",
    )
    assert counts(outcome) == (2, 0, 0, 3)
    assert faults == [(3, "surprise"), (4, "amount"), (5, "interests.a")]
    assert rows("SELECT key, amount, vip, interests FROM contacts") == [
        ("c1", 12.0, 1, '["toys"]'),
        ("2", 1.5, 0, None),
    ]


def test_a_dry_run_counts_and_stores_nothing(load, rows):
    load("key,first_name\nc1,Ana\n")
    before = rows("SELECT * FROM contacts"), rows("SELECT * FROM zones")
    outcome, _ = load("key,first_name,country\nc1,Anna,FR\nc2,Bo,FR\nc3,,XX\n", dry_run=True, consents={"email": "x"})
    assert counts(outcome) == (1, 1, 0, 1)
    assert (rows("SELECT * FROM contacts"), rows("SELECT * FROM zones")) == before
    assert rows("SELECT * FROM consents") == rows("SELECT * FROM contact_changes") == []


def test_a_killed_import_keeps_whole_chunks_and_goes_on_when_run_again(store, tmp_path):
    """kill -9 in the middle: what is there is a whole number of chunks, and running it again completes it."""
    total = 20_000
    path = tmp_path / "people.csv"
    path.write_text("key,first_name,amount\n" + "".join(f"c{n},P{n},{n}.5\n" for n in range(total)))
    program = (
        "import sys\nfrom zoneinfo import ZoneInfo\nfrom flowctl.store.database import open_store\nfrom flowctl.store.casting import Reading\n"
        "from flowctl.store.contact_import import ContactImport\nfrom flowctl.store.contact_columns import Plan\nfrom flowctl.store import reading\nreading.CHUNK_ROWS_MAX = 1000\n"
        "store = open_store(sys.argv[1], create=False)\n"
        "importer = ContactImport(store.connection, Plan(reading=Reading(zone=ZoneInfo('UTC')), now=1, source='t', consents={'email': 'x'}), print)\n"
        "for chunk in reading.open_source(sys.argv[2]).chunks: importer.take(chunk); print('took', flush=True)\n"
    )
    command = [sys.executable, "-c", program, str(store.path), str(path)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    for _ in range(3):
        child.stdout.readline()
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()
    kept = store.connection.execute("SELECT count(*) FROM contacts").fetchone()[0]
    assert 3000 <= kept < total
    assert kept % 1000 == 0
    assert store.connection.execute("SELECT count(*) FROM consents").fetchone()[0] == kept
    subprocess.run(command, check=True, capture_output=True)
    for query in (
        "SELECT count(*) FROM contacts",
        "SELECT count(DISTINCT key) FROM contacts",
        "SELECT count(*) FROM consent_log",
    ):
        assert store.connection.execute(query).fetchone() == (total,)
    assert store.connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_transactions_are_short_and_others_get_in(store, tmp_path, paris):
    """While an import runs, another connection's write waits for a chunk at most, not for the import."""
    path = tmp_path / "people.csv"
    path.write_text("key,first_name\n" + "".join(f"c{n},P{n}\n" for n in range(40_000)))
    other = open_store(store.path, create=False)
    importer = ContactImport(store.connection, Plan(reading=paris, now=1, source="t"), lambda fault: None)
    for chunk in open_source(str(path)).chunks:
        begin = time.perf_counter()
        importer.take(chunk)
        assert time.perf_counter() - begin < 5  # half a second, on a machine that does nothing else
        with transaction(other.connection):
            other.connection.execute("UPDATE store SET created_at = created_at + 1")
    other.close()
