"""Every statement that ticks of a rich project really ran is explained: none may read a big table from end to end."""

import re
import sqlite3
from pathlib import Path

import pytest

from flowctl.engine.compiled import CHANNELS
from flowctl.engine.tick import tick
from flowctl.project.load import load
from flowctl.simulate import scenario
from flowctl.store import database
from tests.engine.world import World, at, workflow

LUNE = Path(__file__).parents[2] / "workflows" / "maison-lune"
BIG = (
    "contacts", "consents", "suppressions", "events", "contact_changes", "enrollments", "entries", "journal", "outbox", "message_events",
    "segment_members", "transitions", "score_ledger", "records", "survey_answers", "tasks", "marks", "turns", "positions",
)  # fmt: skip
# What may read all of a table, and why.
ALLOWED = {
    "FROM contacts c WHERE (EXISTS (SELECT 1 FROM segment_members": "a schedule asks everybody, at its times only",
    "SELECT EXISTS (SELECT 1 FROM entries)": "the first row answers",
    "SELECT count(*) FROM entries": "all of them are taken in hand in this slice anyway",
}
SHARED = ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH")


class Recording(sqlite3.Connection):
    """Remembers each statement with the first parameters it was run with, while `on`."""

    on = False
    count = 0

    def execute(self, sql, *parameters):
        if Recording.on:
            Recording.count += 1
            self.statements.setdefault(sql, parameters)
        return super().execute(sql, *parameters)

    def create_function(self, name, *said, **options):
        assert not Recording.on, f"{name}: a function made in a tick makes SQLite compile every statement anew"
        super().create_function(name, *said, **options)

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.statements = {}


@pytest.fixture
def recording(monkeypatch):
    """Stores opened now record what ticks run."""
    connect = sqlite3.connect
    monkeypatch.setattr(
        database.sqlite3, "connect", lambda *said, **options: connect(*said, factory=Recording, **options)
    )

    def recorded(*said, **options):
        Recording.on = True
        try:
            return tick(*said, **options)
        finally:
            Recording.on = False

    return recorded


def whole_reads(connection):
    """The plan lines that read a big table from end to end, each with its statement."""
    partial = {
        name
        for (name,) in connection.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'index' AND sql LIKE '% WHERE %'"
        )
    }
    for sql, parameters in connection.statements.items():
        if not sql.lstrip().startswith(SHARED):
            continue
        for line in (row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", *parameters)):
            scanned = re.match(r"SCAN (\w+)(?: USING (?:COVERING )?INDEX (\w+))?", line)
            # An index of some rows is as short as what it is for: what is claimed, due, waiting.
            if scanned is None or scanned[2] in partial:
                continue
            alias = scanned[1]
            if any(table == alias or re.search(rf"\b{table}\s+(AS\s+)?{alias}\b", sql) for table in BIG):
                yield line, sql


def all_suppressed(connection):
    """The plan lines that read, for each row of something else, all that are suppressed on a channel; each with its statement."""
    for sql, parameters in connection.statements.items():
        if not sql.lstrip().startswith(SHARED) or "suppressions" not in sql:
            continue
        plan = connection.execute(f"EXPLAIN QUERY PLAN {sql}", *parameters).fetchall()
        said = {number: line for number, _, _, line in plan}
        for _, parent, _, line in plan:
            if re.match(r"SEARCH \w+ USING PRIMARY KEY \(channel=\?\)$", line) and said[parent].startswith(
                "CORRELATED"
            ):
                yield line, sql


def test_no_tick_of_a_rich_project_reads_a_big_table_from_end_to_end(recording, monkeypatch):
    monkeypatch.setattr(scenario, "tick", recording)
    project = load(LUNE)
    bench = scenario.Bench(project)
    chosen = scenario.selected(project, "")
    assert all(bench.run(name, said).passed for name, said in chosen)
    connection = bench._base.connection
    assert len(connection.statements) > 350, "the journeys no longer exercise the engine"
    wrong = [(line, sql) for line, sql in whole_reads(connection) if not any(part in sql for part in ALLOWED)]
    assert not wrong, wrong[0]
    assert not next(all_suppressed(connection), None)


def test_a_scan_would_be_noticed(recording):
    connection = database.open_store(":memory:", create=True).connection
    connection.statements["SELECT 1 FROM events e WHERE e.props IS NULL"] = ()
    connection.statements["SELECT 1 FROM enrollments WHERE due_at <= 5"] = ()
    assert [line for line, _ in whole_reads(connection)] == ["SCAN e"]


def idle_statements(recording, flows):
    """How many statements a tick with nothing to do runs while somebody waits in each of so many workflows."""
    names = [f"flow-{number}" for number in range(flows)]
    world = World(
        *(
            workflow(name, goal="{event: purchase}", exit_when="[{field: stage, is: customer}]", steps="- wait: 10d")
            for name in names
        )
    )
    world.contact("ana")
    world.event("ana", "signup", at("1m"))
    world.ticks("2m", "3m")
    assert len(world.states()) == flows
    Recording.count = 0
    recording(world.store, now=at("4m"), channels=dict.fromkeys(CHANNELS, world.channel))
    return Recording.count


def test_a_tick_with_nothing_to_do_asks_the_same_of_every_project(recording):
    few, many = idle_statements(recording, 1), idle_statements(recording, 20)
    assert many - few == 19, "each version is loaded, and nothing else asked of it"
    assert few < 80
