import csv
import io
import json
import sqlite3
import subprocess
import sys

import pytest

PEOPLE = """\
key,email,Prénom,phone,amount,interests,birthday
c1,Ana@Example.com,Ana,0612345678,12.5,"toys,cookbooks",1990-01-02
c2,bob@example.com,=1+1,+32470123456,,,
"""


@pytest.fixture
def people(project, applied, flowctl):
    (project / "people.csv").write_text(PEOPLE)
    status, _, _ = flowctl(
        "-q", "contacts", "import", "people.csv", "--map", "Prénom=first_name", "--consent", "email", "--source", "shop"
    )
    assert status == 0


def test_import_says_what_it_did(project, applied, flowctl):
    (project / "people.csv").write_text(PEOPLE)
    command = ("contacts", "import", "people.csv", "--map", "Prénom=first_name")
    assert flowctl(*command, "--dry-run") == (0, "", "people.csv: 2 contacts created; nothing was stored (--dry-run)\n")
    assert flowctl(*command) == (0, "", "people.csv: 2 contacts created\n")
    assert flowctl(*command) == (0, "", "people.csv: 2 contacts unchanged\n")
    assert flowctl("-q", *command) == (0, "", "")


def test_rows_that_fail_go_to_a_file_and_the_others_are_stored(project, applied, flowctl):
    (project / "people.csv").write_text(
        "key,email,amount\nc1,nobody,1\nc2,b@example.com,=cmd|' /C calc'!A0\nc3,c@example.com,3\nc3,d@example.com,4\n"
    )
    status, out, err = flowctl("contacts", "import", "people.csv", "--json")
    assert status == 1
    assert (
        err
        == "1 row about a contact of an earlier row: line 5 outdid line 4\npeople.csv: 1 contact created, 1 contact updated; 2 rows failed: "
        f"{project}/people.csv.errors.csv\n"
    )
    said = json.loads(out)
    assert (said["kind"], said["created"], said["failed"], said["repeats"]) == (
        "contacts-import",
        1,
        2,
        [{"line": 5, "earlier_line": 4}],
    )
    with (project / "people.csv.errors.csv").open(newline="") as file:
        listed = list(csv.DictReader(file))
    assert [(row["line"], row["column"], row["value"]) for row in listed] == [
        ("2", "email", "nobody"),
        ("3", "amount", "'=cmd|' /C calc'!A0"),
    ]
    assert "must have an @-sign" in listed[0]["reason"]
    (project / "people.csv").write_text("key\nc3\n")
    assert flowctl("contacts", "import", "people.csv")[0] == 0
    assert not (project / "people.csv.errors.csv").exists()  # those faults are gone


def test_standard_input_and_a_named_errors_file(project, applied):
    program = [
        sys.executable,
        "-c",
        "import sys; from flowctl.cli.main import main; sys.exit(main())",
        "-C",
        str(project),
        "contacts",
        "import",
        "-",
        "--errors",
        "bad.csv",
    ]
    done = subprocess.run(
        program, input='{"key": "c1"}\n{"key": "c2", "amount": "x"}\n', capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"-: 1 contact created; 1 row failed: {project}/bad.csv\n"
    assert (project / "bad.csv").read_text().startswith("line,column,value,reason\n2,amount,x,")
    assert applied.connection.execute("SELECT key FROM contacts").fetchall() == [("c1",)]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["people.csv"], "no contact field for the column Prénom"),
        (["none.csv"], "cannot read"),
        (["people.csv", "--map", "Prénom"], "is not COLUMN=FIELD"),
        (["people.csv", "--consent", "email"], "--consent needs --source"),
        (["people.csv", "--consent", "fax", "--source", "x"], "there is no such channel"),
        (["people.csv", "--date-format", "soon"], "does not fix day"),
        (["people.csv", "--region", "Frankrijk"], "there is no country"),
        (["people.csv", "--encoding", "utf-9"], "there is no encoding"),
        (["people.csv", "--delimiter", "::"], "is not one character"),
        (["people.csv", "--map", "Prénom=-", "--errors", "/nowhere/x.csv"], "cannot write /nowhere/x.csv"),
    ],
)
def test_refusals_store_nothing_and_exit_2(project, applied, flowctl, arguments, said):
    (project / "people.csv").write_text(PEOPLE + "c9,nobody,,,,,\n")
    status, out, err = flowctl("contacts", "import", *arguments)
    assert (status, out) == (2, "")
    assert said in err
    if "--errors" not in arguments:
        assert applied.connection.execute("SELECT count(*) FROM contacts").fetchone() == (0,)


def test_nothing_applied_yet(project, flowctl):
    (project / "people.csv").write_text(PEOPLE)
    status, _, err = flowctl("contacts", "import", "people.csv")
    assert status == 2
    assert "flowctl apply" in err
    assert not (project / "flowctl.db").exists()


def test_a_store_that_another_program_locks_is_busy(project, applied, flowctl, monkeypatch):
    monkeypatch.setenv("FLOWCTL_BUSY_S", "0.05")
    (project / "people.csv").write_text("key\nc1\n")
    other = sqlite3.connect(project / "flowctl.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    status, _, err = flowctl("contacts", "import", "people.csv")
    other.execute("ROLLBACK")
    other.close()
    assert status == 75
    assert "locked by another program" in err
    assert flowctl("contacts", "import", "people.csv")[0] == 0


def test_list(people, flowctl):
    status, out, _ = flowctl("contacts", "list", "--fields", "key,first_name,amount,interests,vip")
    assert status == 0
    assert (
        out == "key\tfirst_name\tamount\tinterests\tvip\nc1\tAna\t12.5\tcookbooks, toys\tfalse\nc2\t=1+1\t\t\tfalse\n"
    )
    said = json.loads(flowctl("contacts", "list", "--json", "--fields", "id,interests,vip,birthday", "--limit", "1")[1])
    assert said["contacts"] == [{"id": 1, "interests": ["cookbooks", "toys"], "vip": False, "birthday": "1990-01-02"}]
    assert flowctl("contacts", "list", "--fields", "nme")[0] == 2
    assert "no segment 'vip'" in flowctl("contacts", "list", "--segment", "vip")[2]


def test_list_a_segments_members(people, applied, flowctl):
    with applied.connection:
        applied.connection.execute("INSERT INTO segments VALUES (1, 'vip', 'd', NULL)")
        applied.connection.execute("INSERT INTO segment_members VALUES (1, 2, 5)")
    assert flowctl("contacts", "list", "--segment", "vip", "--fields", "key")[1] == "key\nc2\n"


@pytest.mark.parametrize("name", ["c1", "ana@example.COM", "+33612345678", "#1"])
def test_a_contact_goes_by_many_names(people, flowctl, name):
    status, out, _ = flowctl("contacts", "show", name)
    assert status == 0
    assert "\nkey\tc1\n" in out
    assert "\nzone\tEurope/Paris\n" in out
    assert "\nconsent.email\tgranted, " in out


def test_nobody_and_several(people, applied, flowctl):
    assert "there is no contact 'c9'" in flowctl("contacts", "show", "c9")[2]
    applied.connection.execute("UPDATE contacts SET email = 'same@example.com'")
    status, _, err = flowctl("contacts", "show", "same@example.com")
    assert status == 2
    assert "2 contacts are called 'same@example.com': #1, #2" in err


def test_set_changes_and_clears(people, applied, flowctl):
    status, _, err = flowctl(
        "contacts", "set", "c1", "first_name=Anna", "amount=", "consent.email=false", "optout.offers=true"
    )
    assert (status, err) == (0, "#1 changed: first_name, amount, consent.email, optout.offers\n")
    changes = applied.connection.execute("SELECT field, old, new FROM contact_changes").fetchall()
    assert changes == [
        ("first_name", "Ana", "Anna"),
        ("amount", 12.5, None),
        ("consent.email", 1, 0),
        ("optout.offers", None, 0),
    ]
    assert flowctl("contacts", "set", "c1", "first_name=Anna", "optout.offers=yes")[2] == "#1 unchanged\n"


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        ("amount=much", "amount=much: expected a number"),
        ("frist_name=x", "did you mean first_name"),
        ("amount", "is not FIELD=VALUE"),
        ("key=c2", "another contact with the key 'c2'"),
        ("id=4", "no contact field `id`"),
    ],
)
def test_set_refuses(people, applied, flowctl, pair, said):
    status, _, err = flowctl("contacts", "set", "c1", "first_name=Half", pair)
    assert status == 2
    assert said in err
    assert applied.connection.execute("SELECT first_name FROM contacts WHERE id = 1").fetchone() == ("Ana",)


def test_set_creates_live_contacts_when_asked(applied, flowctl):
    assert flowctl("contacts", "set", "new@example.com", "first_name=Neo")[0] == 2
    assert flowctl("contacts", "set", "new@example.com", "first_name=Neo", "--create") == (
        0,
        "",
        "#1 created: first_name\n",
    )
    assert applied.connection.execute("SELECT email, first_name, vip, _origin FROM contacts").fetchall() == [
        ("new@example.com", "Neo", 0, 1)
    ]


def test_consent_given_again_lifts_the_own_unsubscribing(people, applied, flowctl):
    flowctl("contacts", "suppress", "ana@example.com", "--reason", "unsubscribed")
    flowctl("contacts", "set", "c1", "consent.email=false")
    assert (
        flowctl("contacts", "set", "c1", "consent.email=true")[2]
        == "#1 changed: consent.email\nthe unsubscription from email was lifted\n"
    )
    assert applied.connection.execute("SELECT * FROM suppressions").fetchall() == []


def test_suppress(people, applied, flowctl):
    assert flowctl("contacts", "suppress", "ANA@example.com", "x@example.com")[2] == "2 addresses suppressed on email\n"
    assert flowctl("contacts", "suppress", "ana@example.com")[2] == "0 addresses suppressed on email, 1 already\n"
    assert flowctl("contacts", "suppress", "06 12 34 56 78", "--channel", "sms")[0] == 0
    assert "suppressed.sms\tmanual" in flowctl("contacts", "show", "c1")[1]
    assert flowctl("contacts", "suppress", "nobody")[0] == 2


def test_an_export_can_be_imported_again(people, applied, flowctl, project):
    flowctl("contacts", "set", "c1", "optout.offers=true")
    for style in ("csv", "json", "ndjson"):
        status, out, _ = flowctl("contacts", "export", "--format", style)
        assert status == 0
        (project / f"out.{style}").write_text(out)
        if style != "csv":
            assert flowctl("contacts", "import", f"out.{style}")[2] == f"out.{style}: 2 contacts unchanged\n"
    read = list(csv.DictReader(io.StringIO((project / "out.csv").read_text())))
    assert [row["first_name"] for row in read] == ["Ana", "'=1+1"]  # no spreadsheet runs it
    assert (read[0]["phone"], read[0]["interests"], read[0]["vip"]) == ("+33612345678", "cookbooks,toys", "false")
    assert (read[0]["consent.email"], read[0]["consent.email.source"], read[0]["optout.offers"]) == (
        "true",
        "shop",
        "true",
    )


def test_everything_about_one_person(people, applied, flowctl):
    flowctl("events", "add", "purchase", "--contact", "c1", "amount=12.5", "--at", "2026-01-01T09:00")
    said = json.loads(flowctl("contacts", "export", "c1")[1])
    assert said["fields"]["email"] == "Ana@example.com"
    assert said["events"] == [{"event": "purchase", "at": "2026-01-01T08:00:00Z", "properties": {"amount": 12.5}}]
    assert said["consents"][0]["granted"] is True
    assert said["fields"]["created_at"].endswith("Z")


@pytest.mark.parametrize("command", ["import", "list", "show", "set", "export", "suppress"])
def test_help_has_an_example(flowctl, command):
    status, out, _ = flowctl("contacts", command, "--help")
    assert status == 0
    assert f"Example:\n    flowctl contacts {command}" in out
