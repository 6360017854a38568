import pytest


@pytest.fixture
def ana(applied, flowctl):
    flowctl("contacts", "set", "ana@example.com", "first_name=Ana", "--create")


def stored(store):
    return store.connection.execute("SELECT email, event, at, props FROM events_readable ORDER BY id").fetchall()


def test_add(ana, applied, flowctl):
    assert flowctl(
        "events",
        "add",
        "purchase",
        "--contact",
        "ana@example.com",
        "amount=12.50",
        "product=p1",
        "--at",
        "2026-07-01T09:00",
    ) == (0, "", "stored\n")
    assert stored(applied) == [
        ("ana@example.com", "purchase", "2026-07-01T07:00:00Z", '{"amount": 12.5, "product": "p1"}')
    ]


def test_add_is_idempotent_by_id_or_time_and_otherwise_not(ana, applied, flowctl, monkeypatch):
    monkeypatch.setenv("FLOWCTL_NOW", "2026-07-01T09:00")
    for extra in (["--id", "7"], ["--at", "2026-07-01T10:00"]):
        command = ("events", "add", "cart_updated", "--contact", "ana@example.com", "items=1", *extra)
        assert flowctl(*command)[2] == "stored\n"
        assert flowctl(*command)[2] == "known already: nothing was stored\n"
    for _ in range(2):  # no clock tick between them, yet two carts
        assert flowctl("events", "add", "cart_updated", "--contact", "ana@example.com", "items=1")[2] == "stored\n"
    assert len(stored(applied)) == 4


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["purchas", "--contact", "ana@example.com"], "did you mean purchase"),
        (["purchase", "--contact", "nobody"], "no contact is called so"),
        (["purchase"], "says not whose it is"),
        (["purchase", "--contact", "ana@example.com", "amount=much"], "amount=much: expected a number"),
        (["purchase", "--contact", "ana@example.com", "colour=red"], "no event has the property"),
        (["purchase", "--contact", "ana@example.com", "items=1"], "purchase has no property items"),
        (["purchase", "--contact", "ana@example.com", "amount"], "is not PROPERTY=VALUE"),
        (["purchase", "--contact", "ana@example.com", "--at", "yesterday"], "expected a time"),
        (["message_opened", "--contact", "ana@example.com", "message=welcome"], "no such message was sent"),
    ],
)
def test_add_refuses(ana, applied, flowctl, arguments, said):
    status, out, err = flowctl("events", "add", *arguments)
    assert (status, out) == (2, "")
    assert said in err
    assert stored(applied) == []


def test_add_creates_contacts_when_asked(applied, flowctl):
    assert flowctl("events", "add", "purchase", "--contact", "new@example.com", "--create")[0] == 0
    assert applied.connection.execute("SELECT email, _origin FROM contacts").fetchall() == [("new@example.com", 1)]


def test_import_of_a_shops_purchases(project, applied, flowctl):
    (project / "p.csv").write_text(
        "customer_id;date;amount\n00004;01/02/1997;29,33\n00005;02/02/1997;1,5\n00005;02/02/1997;?\n"
    )
    command = (
        "events",
        "import",
        "p.csv",
        "--event",
        "purchase",
        "--map",
        "customer_id=contact",
        "--map",
        "date=at",
        "--date-format",
        "DD/MM/YYYY",
        "--decimal-comma",
        "--create",
    )
    status, _, err = flowctl(*command)
    assert (status, err) == (
        1,
        f"p.csv: 2 events stored, 2 contacts created; 1 row failed: {project}/p.csv.errors.csv\n",
    )
    assert flowctl(*command)[2].startswith("p.csv: 0 events stored, 2 events known already; 1 row failed")
    assert stored(applied)[0] == (None, "purchase", "1997-01-31T23:00:00Z", '{"amount": 29.33}')
    assert applied.connection.execute("SELECT key FROM contacts").fetchall() == [("00004",), ("00005",)]


def test_import_before_apply(project, flowctl):
    (project / "p.csv").write_text("contact,event,at\n")
    status, _, err = flowctl("events", "import", "p.csv")
    assert status == 2
    assert "flowctl apply" in err


@pytest.mark.parametrize("command", ["import", "add"])
def test_help_has_an_example(flowctl, command):
    status, out, _ = flowctl("events", command, "--help")
    assert status == 0
    assert f"Example:\n    flowctl events {command}" in out
