"""A disk that is full at any write, a reader that never ends, twenty ticks at once with an import, a clock that jumps."""

from __future__ import annotations

import resource
import sqlite3
from collections import Counter

import pytest

from flowctl.failure import Failure
from flowctl.store.database import open_store
from tests.crash.town import Town, storm_rounds
from tests.engine.world import DAY, HOUR, MINUTE, World, at, workflow

JOURNEYS = (
    workflow("w", steps="- send: hello\n  via: email"),
    workflow("r", steps="- send: receipt\n  via: email"),
)
PEOPLE = 12
PAGE_BYTES = 4096


class Narrow(Town):
    """Its commands may write no file beyond so many bytes: SQLite then finds the disk full."""

    def narrow(self, bytes_max: int, *arguments: str, now: int) -> tuple[int, str, str]:
        process = self.command(
            *arguments,
            now=now,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_max, resource.RLIM_INFINITY)),
        )
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err


@pytest.mark.parametrize("nth", range(storm_rounds(6)))
def test_a_disk_that_is_full_at_the_nth_write(nth, tmp_path, smtp_server, monkeypatch):
    """Each tick ends with one line and loses nothing; with room again the next one goes on."""
    server = smtp_server()
    town = Narrow(tmp_path, monkeypatch, server.port, *JOURNEYS, people=PEOPLE)
    # The log begins anew, and then grows by a page and its header a write.
    assert town.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
    rounds = storm_rounds(6)
    pages = 1 + nth if rounds > 6 else (1, 9, 25, 60, 90, 130)[nth]
    status, out, err = town.narrow(pages * (PAGE_BYTES + 24) + 32, "tick", now=at("5m"))
    assert (status, out) in ((2, ""), (0, ""))
    assert "Traceback" not in err
    assert status == 0 or "no space left on the disk" in err or "cannot read and write the store" in err
    town.ticks("10m", "20m", "1h")
    town.reckon(server, now=at("1h"))
    states = Counter(town.states())
    assert sum(states.values()) == 2 * PEOPLE
    assert states["hello", "in_doubt"] <= 4


def test_the_narrow_disk_is_narrow(tmp_path, smtp_server, monkeypatch):
    town = Narrow(tmp_path, monkeypatch, smtp_server().port, *JOURNEYS, people=PEOPLE)
    town.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    status, _, err = town.narrow(20 * PAGE_BYTES, "tick", now=at("5m"))
    assert status == 2, err
    assert "error: " in err


def test_a_store_that_may_not_grow_fails_clean_and_goes_on_when_it_may(tmp_path):
    """SQLite's own limit: the first page too many is SQLITE_FULL, wherever in the tick that is."""
    world = World(*JOURNEYS, path=tmp_path / "s.db")
    for number in range(400):
        world.contact(f"c{number}")
        world.event(f"c{number}", "signup", at("1m"))
    (pages,) = world.connection.execute("PRAGMA page_count").fetchone()
    full = 0
    for more in range(0, 60, 6):
        world.connection.execute(f"PRAGMA max_page_count = {pages + more}")
        try:
            world.tick(at("5m"))
        except Failure as failure:
            full += "no space left on the disk" in failure.message
    world.connection.execute("PRAGMA max_page_count = 1000000")
    assert full > 1, "it never was full"
    world.ticks("10m")
    assert len(world.sent()) == 800
    assert len({letter.key for letter in world.channel.transmitted}) == 800


def test_a_long_reader_pins_the_log_and_stops_nobody(tmp_path, smtp_server, monkeypatch):
    server = smtp_server()
    town = Town(tmp_path, monkeypatch, server.port, *JOURNEYS, people=PEOPLE)
    reader = sqlite3.connect(tmp_path / "flowctl.db", isolation_level=None)
    reader.execute("BEGIN")
    before = reader.execute("SELECT count(*) FROM outbox").fetchone()
    for minute in range(5, 60, 5):
        assert town.run("tick", now=at(f"{minute}m"))[0] == 0
        town.world.contact(f"more{minute}", when=at(f"{minute}m"))
        town.world.event(f"more{minute}", "signup", at(f"{minute}m"))
    assert reader.execute("SELECT count(*) FROM outbox").fetchone() == before  # it sees its own moment
    assert len(server.envelopes()) == 2 * (PEOPLE + 10)
    wal = tmp_path / "flowctl.db-wal"
    pinned = wal.stat().st_size
    reader.execute("COMMIT")
    reader.close()
    town.ticks("1h")
    town.store.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert wal.stat().st_size < pinned
    assert town.reckon(server, now=at("1h")) == {}


def test_twenty_ticks_at_once_while_an_import_runs(tmp_path, smtp_server, monkeypatch):
    server = smtp_server("--delay", "0.01")
    town = Town(tmp_path, monkeypatch, server.port, *JOURNEYS, people=PEOPLE)
    rows = [f"n{number},signup,{at('2m') + number}\n" for number in range(300)]
    (tmp_path / "people.csv").write_text(
        "key,email,consent.email\n" + "".join(f"n{n},n{n}@example.com,true\n" for n in range(300))
    )
    (tmp_path / "facts.csv").write_text("contact,event,at\n" + "".join(rows))
    assert town.run("contacts", "import", "people.csv", "--source", "shop", now=at("4m"))[0] == 0
    importing = town.command("events", "import", "facts.csv", now=at("5m"))
    ticks = [town.command("tick", now=at("5m")) for _ in range(20)]
    statuses = Counter()
    for process in ticks:
        _, err = process.communicate(timeout=120)
        assert "Traceback" not in err
        statuses[process.returncode] += 1
    out, err = importing.communicate(timeout=60)
    assert importing.returncode == 0, (out, err)
    assert set(statuses) <= {0, 75}
    assert statuses[0] >= 1
    town.ticks("10m", "15m")
    assert town.reckon(server, now=at("15m")) == {}
    assert town.states() == {("hello", "sent"): PEOPLE + 300, ("receipt", "sent"): PEOPLE + 300}


@pytest.mark.parametrize("jump", [HOUR, 20 * HOUR, 3 * DAY, 400 * DAY])
def test_a_clock_that_jumps_ahead_and_back_sends_nothing_twice_and_loses_nothing(jump):
    """Behind by up to a day, time stands still until it has caught up; by more, a tick refuses, as what arrives would expire."""
    world = World(
        workflow("w", steps="- send: hello\n- wait: 2h\n- send: bye"),
        workflow("r", steps="- wait: 1h\n- send: receipt"),
    )
    for number in range(5):
        world.contact(f"c{number}")
        world.event(f"c{number}", "signup", at("1m"))
    world.tick(at("5m"))
    world.tick(at("10m") + jump)
    before = world.books()
    world.contact("late", when=at("20m"))
    world.event("late", "signup", at("21m"))
    for now in range(at("25m"), at("25m") + 6 * HOUR, 30 * MINUTE):
        if at("10m") + jump - now > DAY:
            with pytest.raises(Failure, match="days behind the last tick"):
                world.tick(now)
            assert world.books() == before
        else:
            world.tick(now)
    world.tick(at("1d") + jump)
    world.tick(at("2d") + jump)
    sent = Counter((key, message) for key, message, _, _ in world.sent())
    assert set(sent.values()) == {1}
    assert sent["late", "hello"] == (1 if jump < DAY else 0)
    assert sent["late", "receipt"] == sent["late", "hello"]  # too late for both by then
    assert {reason for _, _, state, reason in world.outbox() if state != "sent"} <= {"expired"}
    assert {state for state, _ in world.states()} == {"completed"}


def test_a_copy_of_an_open_store_is_whole(tmp_path):
    """What the tests above look at is in the file, not only in the connection that wrote it."""
    world = World(*JOURNEYS, path=tmp_path / "s.db")
    world.contact("ana")
    other = open_store(tmp_path / "s.db", create=False)
    assert other.connection.execute("SELECT count(*) FROM contacts").fetchone() == (1,)
    other.close()
