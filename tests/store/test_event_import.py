import json

import pytest

from flowctl.failure import UsageFailure
from flowctl.store import contacts, events, reading, statuses, suppressions
from flowctl.store.database import transaction
from flowctl.store.event_import import EventImport, Plan
from flowctl.store.reading import open_source

NOW = 1_790_000_000_000
DECLARED = {
    "purchase": {"amount": "number", "product": "text", "gift": "boolean"},
    "visit": {"page": "text", "key": "text"},
    "bare": {},
}


@pytest.fixture
def people(store):
    with transaction(store.connection):
        for key in ("c1", "c2", "c3"):
            contacts.create(
                store.connection,
                {"key": key, "email": f"{key}@example.com", "phone": f"+3361234567{key[1]}"},
                origin=0,
                now=1,
            )


@pytest.fixture
def load(store, tmp_path, paris, people):
    """A function that imports a text as a file; returns the outcome and the faults."""

    def load(content, *, name="events.csv", **options):
        path = tmp_path / name
        path.write_text(content, encoding="utf-8")
        faults = []
        source = open_source(str(path))
        try:
            plan = Plan(events=events.declared({"events": DECLARED}), reading=paris, now=NOW, **options)
            importer = EventImport(store.connection, plan, faults.append)
            importer.check(source.columns)
            for chunk in source.chunks:
                importer.take(chunk)
        finally:
            source.close()
        return importer.outcome, [(fault.line, fault.column, fault.reason) for fault in faults]

    return load


def stored(rows):
    query = "SELECT c.key, t.name, e.at, e.props FROM events e JOIN contacts c ON c.id = e.contact_id JOIN event_types t ON t.id = e.type ORDER BY e.id"
    return [(key, name, at, json.loads(props) if props else None) for key, name, at, props in rows(query)]


def counts(outcome):
    return outcome.stored, outcome.known, outcome.failed, outcome.created


def test_rows_become_typed_facts_by_contact_in_order(load, rows):
    outcome, faults = load(
        "contact,event,at,amount,product,gift,page\n"
        "c2,purchase,2026-07-01T09:00,12.50,p1,oui,\n"
        "c1@example.com,visit,2026-07-01T07:00Z,,,,/home\n"
        "+33612345672,purchase,1782896400,3,,,\n"
        "#1,bare,1782896400500,,,,\n"
    )
    assert (counts(outcome), faults) == ((4, 0, 0, 0), [])
    assert stored(rows) == [
        ("c1", "visit", 1782889200000, {"page": "/home"}),
        ("c1", "bare", 1782896400500, None),
        ("c2", "purchase", 1782889200000, {"amount": 12.5, "product": "p1", "gift": True}),
        ("c2", "purchase", 1782896400000, {"amount": 3}),
    ]


def test_importing_again_stores_nothing_twice_with_and_without_ids(load, rows):
    content = "contact,event,at,amount,id\nc1,purchase,2026-07-01,1,e1\nc1,purchase,2026-07-01,1,e2\nc1,purchase,2026-07-01,1,\nc1,purchase,2026-07-01,1,\nc2,purchase,2026-07-01,1,e1\n"
    outcome = load(content)[0]
    assert (counts(outcome), outcome.repeated) == ((4, 1, 0, 0), 1)  # without an id, what agrees in everything is one
    assert counts(load(content)[0]) == (0, 5, 0, 0)
    assert len(stored(rows)) == 4
    assert all(0 <= dedupe < 2**63 for (dedupe,) in rows("SELECT dedupe FROM events"))


def test_rows_that_fail_say_why(load, rows):
    outcome, faults = load(
        "contact,event,at,amount,page\n"
        "c1,purchase,2026-07-01,much,\n"
        "c1,purchas,2026-07-01,1,\n"
        "c1,purchase,01/07/2026,1,\n"
        "c1,purchase,,1,\n"
        "c9,purchase,2026-07-01,1,\n"
        ",purchase,2026-07-01,1,\n"
        "c1,purchase,2026-07-01,1,/home\n"
        "c1,,2026-07-01,1,\n"
        "c1,purchase,2026-07-01,1,\n"
    )
    assert counts(outcome) == (1, 0, 8, 0)
    assert sorted((line, column) for line, column, _ in faults) == [
        (2, "amount"), (3, "event"), (4, "at"), (5, "at"), (6, "contact"), (7, "contact"), (8, "page"), (9, "event"),
    ]  # fmt: skip
    why = {line: reason for line, _, reason in faults}
    assert why[3] == "no event 'purchas' is declared; did you mean purchase?"
    assert why[5] == "when it happened is missing"
    assert "--create" in why[6]
    assert why[8].startswith("purchase has no property page")


def test_column_mapping_and_one_event_for_all_rows(load, rows):
    load(
        "customer_id,date,amount,note\nc1,1997-01-01,29.33,x\n",
        event="purchase",
        columns={"customer_id": "contact", "date": "at", "note": "-"},
    )
    assert stored(rows) == [("c1", "purchase", 852073200000, {"amount": 29.33})]


@pytest.mark.parametrize(
    ("content", "options", "why"),
    [
        ("contact,at\nc1,2026-01-01\n", {}, "no column `event`"),
        ("contact,event\nc1,visit\n", {}, "no column `at`"),
        ("event,at\nvisit,2026-01-01\n", {}, "whose event"),
        ("contact,event,at,amuont\n", {}, "no event has the property amuont; did you mean amount"),
        ("contact,at\nc1,2026-01-01\n", {"event": "visitt"}, "no event 'visitt' is declared; did you mean visit"),
        ("contact,event,at\nc1,visit,1\n", {"columns": {"x": "page"}}, "no column 'x'"),
    ],
)
def test_files_that_make_no_sense(load, content, options, why):
    with pytest.raises(UsageFailure, match=why):
        load(content, **options)


def test_who_in_columns_of_their_own(load, rows):
    """`key` is the contact's, unless the event itself has a property of that name."""
    load("key,event,at,page\nc1,purchase,2026-07-01,\n")
    load("email,key,event,at\nC2@example.com,k,visit,2026-07-01\n")
    load(
        '[{"contact": {"phone": "+33612345673"}, "event": "visit", "at": 1782896400, "properties": {"page": "/x"}}]',
        name="a.json",
    )
    assert [(key, props) for key, _, _, props in stored(rows)] == [
        ("c1", None),
        ("c2", {"key": "k"}),
        ("c3", {"page": "/x"}),
    ]


def test_creating_contacts_on_the_way(load, rows):
    content = "contact,event,at\nnew,visit,2026-07-01\nnew,visit,2026-07-02\nNew@Example.com,visit,2026-07-01\nbad@@x,visit,2026-07-01\nc1,visit,2026-07-01\n"
    assert counts(load(content, create=True, dry_run=True)[0])[3] == 2
    outcome, faults = load(content, create=True)
    assert counts(outcome) == (4, 0, 1, 2)
    assert [line for line, _, _ in faults] == [5]
    assert rows("SELECT key, email, _origin FROM contacts WHERE id > 3") == [
        ("new", None, 0),
        (None, "New@example.com", 0),
    ]
    assert counts(load(content, create=True)[0]) == (0, 4, 1, 0)


def test_a_dry_run_stores_nothing(load, rows):
    assert counts(load("contact,event,at\nc1,visit,2026-07-01\nc9,visit,2026-07-01\n", dry_run=True)[0]) == (1, 0, 1, 0)
    assert rows("SELECT count(*) FROM events") == rows("SELECT count(*) FROM event_types") == [(0,)]


def test_chunks_break_anywhere(load, rows, monkeypatch):
    monkeypatch.setattr(reading, "CHUNK_ROWS_MAX", 3)
    content = "contact,event,at,id\n" + "".join(
        f"c{1 + n % 3},{'visit' if n % 2 else 'purchase'},2026-07-01,e{n}\n" for n in range(20)
    )
    assert counts(load(content)[0]) == (20, 0, 0, 0)
    assert counts(load(content)[0]) == (0, 20, 0, 0)


def status_rows(rows):
    return rows("SELECT contact_id, status, at, outbox_id, link FROM message_events ORDER BY id")


def test_reports_find_their_message_by_key_or_by_name(load, rows, outbox):
    first = outbox(1, key="k1", at=NOW - 5000)
    newest = outbox(1, key="k2", at=NOW - 1000)
    outbox(1, key="k3", message="other", at=NOW)
    outbox(1, key="k4", state=6, at=NOW)
    outcome, faults = load(
        "event,at,key,contact,message,link\n"
        "message_opened,1700000000,k1,,,\n"
        "message_clicked,1700000001,,c1,welcome,https://x\n"
        "message_opened,1700000002,nope,,,\n"
        "message_opened,1700000003,,c2,welcome,\n"
        "message_opened,1700000004,,c1,,\n"
        "message_opened,1700000005,,c9,welcome,\n"
        "message_opened,1700000000,k1,,,\n"
    )
    assert counts(outcome) == (2, 1, 4, 0)
    assert status_rows(rows) == [
        (1, statuses.OPENED, 1700000000000, first, None),
        (1, statuses.CLICKED, 1700000001000, newest, "https://x"),
    ]
    assert sorted(reason.split(":")[0] for _, _, reason in faults) == [
        "names no message", "no contact is called so; import contacts first, or use --create", "no message has this key", "no such message was sent to this contact",
    ]  # fmt: skip
    assert [props for _, _, _, props in stored(rows)] == [
        {"key": "k1", "message": "welcome"},
        {"key": "k2", "message": "welcome", "link": "https://x"},
    ]
    assert rows("SELECT enrollment_id IS NOT NULL, channel IS NOT NULL FROM message_events") == [(1, 1)] * 2


@pytest.mark.parametrize(
    ("event", "reason", "consent"),
    [
        ("message_unsubscribed", "unsubscribed", 0),
        ("message_complained", "complained", 1),
        ("message_bounced", "bounced", 1),
        ("message_opened", None, 1),
    ],
)
def test_what_follows_from_a_report_follows_once(load, store, rows, outbox, event, reason, consent):
    outbox(1, recipient="c1@example.com")
    with transaction(store.connection):
        contacts.apply_edit(
            store.connection,
            1,
            contacts.Edit(values={}, consents={("email", "marketing"): True}, source="form", at=5),
            now=NOW - 9,
        )
    for _ in range(2):
        load(f"event,at,key\n{event},1700000000,k1\n")
    assert rows("SELECT reason, at FROM suppressions WHERE contact_id = 1") == (
        [(reason, 1700000000000)] if reason else []
    )
    assert suppressions.is_suppressed(store.connection, "email", "C1@example.com") == bool(reason)
    assert rows("SELECT granted FROM consents") == [(consent,)]
    assert len(status_rows(rows)) == 1


@pytest.mark.parametrize(
    ("event", "state"),
    [("message_delivered", 3), ("message_clicked", 3), ("message_complained", 3), ("message_bounced", 3)],
)
def test_a_report_settles_what_was_in_doubt(load, rows, outbox, event, state):
    outbox(1, state=5, key="k1")
    outbox(2, state=3, key="k2")
    load(f"event,at,key\n{event},1700000000,k1\n{event},1700000000,k2\n")
    assert rows("SELECT state, counted_at IS NULL FROM outbox ORDER BY id") == [(state, state == 4), (3, 0)]
    assert [json.loads(detail) for (detail,) in rows("SELECT detail FROM journal WHERE kind = 20")] == [
        {"state": "sent" if state == 3 else "failed", "by": event}
    ]
    sent = [row for row in status_rows(rows) if row[1] == statuses.SENT]
    assert sent == ([(1, 0, NOW - 1000, 1, None)] if state == 3 else [])


def test_names_of_statuses_match_the_schema(store):
    comment = store.connection.execute("SELECT sql FROM sqlite_schema WHERE name = 'message_events'").fetchone()[0]
    assert " ".join(f"{number} {name}" for number, name in enumerate(statuses.NAMES)) in comment


def test_dedupe_is_stable_across_releases():
    """What was imported by an earlier flowctl must be known to this one."""
    assert events.dedupe("order-1") == 1354598356660093214
