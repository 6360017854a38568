"""`contacts forget` and `contacts export X` on the command line, and life after it."""

import json

import pytest

from tests.engine.world import World, at, workflow
from tests.store.people import put


@pytest.fixture
def ana(project, applied, flowctl):
    (project / "people.csv").write_text(
        "key,email,phone,first_name\nc1,ana.martin@example.com,+33612345678,Anastasia\nc2,bob@example.com,,Bob\n"
    )
    assert flowctl("-q", "contacts", "import", "people.csv")[0] == 0


def test_forget_asks_or_wants_yes(ana, flowctl, applied):
    status, _, err = flowctl("contacts", "forget", "c1")
    assert status == 2
    assert "cannot be taken back" in err
    assert "--yes" in err
    assert flowctl("contacts", "forget", "nobody", "--yes")[0] == 2
    assert applied.connection.execute("SELECT count(*) FROM contacts").fetchone() == (2,)


def test_forget_deletes_and_says_what(ana, flowctl, project, applied):
    flowctl("-q", "contacts", "suppress", "ana.martin@example.com", "--source", "Anastasia rang")
    status, out, err = flowctl("contacts", "forget", "c1", "ANA.martin@example.com", "--yes", "--json")
    assert status == 0
    said = json.loads(out)
    assert (said["kind"], said["contacts"], said["rows"]["contacts"], said["suppressed"]) == (
        "contacts-forget",
        [1],
        1,
        1,
    )
    assert err.startswith("forgotten: 1 contact (#1), ")
    assert "1 address kept suppressed, as a hash" in err
    applied.close()
    assert flowctl("backup", str(project / "later.db"))[0] == 0
    files = b"".join((project / name).read_bytes() for name in ("flowctl.db", "later.db"))
    for word in (b"ana.martin", b"Anastasia", b"612345678"):
        assert word not in files
    assert b"bob@example.com" in files
    status, _, err = flowctl("contacts", "import", "people.csv")
    assert (status, "1 address suppressed" in err) == (0, True)
    assert flowctl("contacts", "show", "c1")[1].count("suppressed.email\tmanual") == 1


def test_forget_without_a_name_finishes_what_was_interrupted(ana, flowctl, applied):
    applied.connection.execute("INSERT INTO cursors VALUES ('forgetting', 1)")
    assert "erasure-unfinished" in flowctl("audit")[1]
    status, _, err = flowctl("contacts", "forget")
    assert (status, "holds nothing of people who were forgotten" in err) == (0, True)
    assert "erasure-unfinished" not in flowctl("audit")[1]


def test_export_of_one_person_has_everything_and_no_terminal_codes(project, applied, flowctl):
    texts = put(applied, 7, "Zx\x1b[31m")
    status, out, _ = flowctl("contacts", "export", "#7")
    assert status == 0
    said = json.loads(out)
    everything = json.dumps(said, ensure_ascii=False).replace("\\u001b", "\x1b")
    assert sorted(text for text in texts if text not in everything) == []
    assert said["tasks"][0]["outcomes"] == ["Zx\x1b[31moutcome"]
    assert said["events"][0]["at"].endswith("Z")
    assert "\x1b" not in out


FLOW = workflow("w", steps="- send: hello", reentry="{after: 1h}")


def test_a_new_fact_that_gets_the_number_of_a_forgotten_one_is_seen_and_no_message_id_comes_twice(tmp_path):
    from flowctl.store.forgetting import forget

    world = World(FLOW, path=tmp_path / "store.db")
    world.contact("ana")
    bob = world.contact("bob")
    world.event("ana", "signup", at("1m"))
    world.ticks("1h")
    last = world.event("bob", "signup", at("2h"))
    world.ticks("3h")
    assert world.messages("bob") == ["hello"]
    forget(world.store, [bob], now=at("3h"))
    assert world.event("ana", "signup", at("5h")) == last
    world.ticks("6h")
    assert len(world.states(key="ana")) == 2
    world.contact("bob")
    world.event("bob", "signup", at("7h"))
    world.ticks("8h")
    keys = [letter.key for letter in world.channel.transmitted]
    assert len(keys) == len(set(keys)) == 4
