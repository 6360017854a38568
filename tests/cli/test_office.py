"""records, tasks and audiences on the command line."""

import json

import pytest

from flowctl.store.database import transaction
from tests.engine.world import SETTINGS, T0, workflow

RECORDS = {
    "deal": {
        "title": {"type": "text"},
        "value": {"type": "number"},
        "hot": {"type": "boolean"},
        "tags": {"type": "tags"},
        "due": {"type": "datetime"},
    }
}


@pytest.fixture
def office(applied):
    """A store with two contacts and a kind of record."""
    connection = applied.connection
    with transaction(connection):
        (runtime,) = connection.execute("SELECT runtime FROM releases").fetchone()
        connection.execute(
            "UPDATE releases SET runtime = ?", (json.dumps({**json.loads(runtime), "records": RECORDS}),)
        )
        for number, key in enumerate(("ana", "ben"), start=1):
            connection.execute(
                "INSERT INTO contacts (id, key, email, created_at, _seed, _origin) VALUES (?, ?, ?, ?, 1, 1)",
                (number, key, f"{key}@example.com", T0),
            )
    return connection


def test_records_come_in_go_out_and_come_in_again_unchanged(office, flowctl, project):
    (project / "deals.csv").write_text(
        'customer,key,at,title,value,hot,tags,due\nana,d1,2026-03-02T10:00:00Z,First,12.5,true,"a,b",2026-04-01T09:00:00Z\nben@example.com,d1,2026-03-02T10:00:00Z,=1+1,7,no,,\n'
    )
    status, out, _ = flowctl("records", "import", "deal", "deals.csv", "--map", "customer=contact", "--json")
    assert (status, json.loads(out)["stored"]) == (0, 2)
    assert flowctl("records", "import", "deal", "deals.csv", "--map", "customer=contact", "--json")[1].count(
        '"known": 2'
    )
    _, out, _ = flowctl("records", "list", "--contact", "ana", "--json")
    [found] = json.loads(out)["records"]
    assert found["values"] == {"title": "First", "value": 12.5, "hot": True, "tags": ["a", "b"], "due": 1775034000000}
    _, out, _ = flowctl("records", "export", "deal")
    assert out.splitlines() == [
        "contact,key,at,title,value,hot,tags,due",
        'ana,d1,2026-03-02T10:00:00Z,First,12.5,true,"a,b",2026-04-01T09:00:00Z',
        "ben,d1,2026-03-02T10:00:00Z,'=1+1,7,false,,",
    ]
    _, out, _ = flowctl("records", "export", "deal", "--format", "ndjson")
    (project / "deals.ndjson").write_text(out)
    office.execute("DELETE FROM records")
    assert flowctl("records", "import", "deal", "deals.ndjson")[0] == 0
    assert flowctl("records", "export", "deal", "--format", "ndjson")[1] == out


def test_bad_rows_are_listed_and_the_others_stored(office, flowctl, project):
    (project / "deals.csv").write_text("contact,key,value\nana,d1,much\nzoe,d2,1\nben,,1\nben,d3,2\n")
    status, _, err = flowctl("records", "import", "deal", "deals.csv")
    assert status == 1
    assert "3 rows failed" in err
    faults = (project / "deals.csv.errors.csv").read_text()
    assert all(word in faults for word in ("much", "no such contact", "needs a key"))
    assert [key for (key,) in office.execute("SELECT key FROM records")] == ["d3"]


def test_a_dry_run_stores_nothing(office, flowctl, project):
    (project / "deals.csv").write_text("contact,key,value\nana,d1,1\n")
    assert flowctl("records", "import", "deal", "deals.csv", "--dry-run")[0] == 0
    assert office.execute("SELECT count(*) FROM records").fetchone() == (0,)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("records", "export", "deel"), "did you mean `deal`"),
        (("records", "import", "deal", "odd.csv"), "has no field colour"),
        (("records", "import", "deal", "nobody.csv"), "no column `contact`"),
        (("tasks", "done", "7"), "no task 7"),
        (("tasks", "list", "--state", "opn"), "no state"),
        (("audiences", "export", "meta"), "nobody is in an audience"),
    ],
)
def test_mistakes_are_told(office, flowctl, project, arguments, said):
    (project / "odd.csv").write_text("contact,key,colour\nana,d1,red\n")
    (project / "nobody.csv").write_text("key,value\nd1,1\n")
    status, _, err = flowctl(*arguments)
    assert status == 2
    assert said in err


def test_tasks_are_listed_and_done(office, flowctl):
    office.execute(
        'INSERT INTO releases (id, applied_at, "commit", digest, files, runtime, compiler) SELECT 2, applied_at, "commit", digest, files, runtime, compiler FROM releases'
    )
    office.execute("INSERT INTO workflow_versions VALUES (1, 'w', 1, 1, 'd', 'w.yaml', '{}')")
    office.execute(
        "INSERT INTO enrollments (id, contact_id, workflow, version_id, cause, entered_at, pc, at, due_at, until_at) "
        "VALUES (1, 1, 'w', 1, 'x', 5, 3, 5, 9000000000000, 9000000000000)"
    )
    office.execute(
        "INSERT INTO tasks VALUES (1, 1, 1, 1, 3, 5, 9000000000000, 'sales', 'call', 'Call Ana', '[\"called\", \"no_answer\"]', NULL, NULL, 0)"
    )
    _, out, _ = flowctl("tasks", "list", "--team", "sales")
    assert "Call Ana" in out
    assert flowctl("tasks", "list", "--team", "other")[1].count("\n") == 1
    assert flowctl("tasks", "done", "1")[0] == 2
    assert flowctl("tasks", "done", "1", "--outcome", "called")[0] == 0
    assert json.loads(flowctl("tasks", "list", "--state", "all", "--json")[1])["tasks"][0]["outcome"] == "called"
    due, data = office.execute("SELECT due_at, data FROM enrollments").fetchone()
    assert due < 9_000_000_000_000
    assert json.loads(data) == {"call": {"outcome": "called"}}


def test_audiences_are_listed_and_exported_hashed(office, flowctl):
    office.execute("INSERT INTO audience_members VALUES ('meta', 1, 5), ('meta', 2, 6)")
    assert "meta\t2\t" in flowctl("audiences", "list")[1]
    _, out, _ = flowctl("audiences", "export", "meta")
    assert out.startswith("email,phone,country\n")
    assert "example.com" not in out
    assert len(json.loads(flowctl("audiences", "export", "meta", "--json")[1])["members"]) == 2


def test_a_notice_leaves_by_the_channel_of_the_settings(project, flowctl, monkeypatch):
    monkeypatch.setenv("FLOWCTL_NOW", "2026-03-02T10:05:00Z")
    settings = SETTINGS.replace("path: mail", f"path: {project / 'mail'}")
    (project / "flowctl.yaml").write_text(settings + "teams: {sales: {email: sales@example.com}}\n")
    (project / "w.yaml").write_text(workflow("w", steps="- notify: {team: sales}\n  text: 'Call {{ contact.key }}'"))
    assert flowctl("apply", "--allow-dirty", "--yes")[0] == 0
    (project / "ana.csv").write_text("key,email\nana,ana@example.com\n")
    flowctl("contacts", "import", "ana.csv")
    flowctl("events", "add", "signup", "--contact", "ana")
    assert json.loads(flowctl("tick", "--json")[1])["notified"] == 1
    [letter] = [path for path in (project / "mail").rglob("*") if path.is_file()]
    assert "To: sales@example.com" in letter.read_text()
    assert "told the own people" in flowctl("explain", "ana")[1]


def test_what_the_store_holds_about_a_person_includes_all_of_it(office, flowctl, project):
    (project / "deals.csv").write_text("contact,key,value\nana,d1,1\n")
    flowctl("records", "import", "deal", "deals.csv")
    office.execute("INSERT INTO audience_members VALUES ('meta', 1, 5)")
    told = json.loads(flowctl("contacts", "export", "ana")[1])
    assert told["records"][0]["values"] == {"value": 1}
    assert told["audiences"][0]["audience"] == "meta"
    assert told["tasks"] == told["notices"] == told["fetches"] == []
