"""What is new and what it changes: times and origins of transitions, late and future facts, cursors, replay, and the plans that keep it cheap."""

from __future__ import annotations

import json
import random
import re
from datetime import UTC, datetime

import pytest
from pydantic import TypeAdapter

from flowctl.engine.conditions import Scope, full_sql, probes, sql
from flowctl.engine.observe import advance_cursors, judge_in_full, new_facts, observe, start_cursors
from flowctl.engine.segments import Probe, SegmentPlan, merged
from flowctl.engine.slices import Slice
from flowctl.language.conditions import Condition
from flowctl.store import fields
from flowctl.store.database import open_store

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
T0 = int(datetime(2026, 3, 27, 9, tzinfo=UTC).timestamp() * 1000)
SCOPE = Scope(
    field_types={"n": "number", "d": "date", "t": "datetime", "email": "email", "created_at": "datetime"},
    event_types={"a": 1, "b": 2},
    event_properties={"a": {"x": "number"}, "b": {}},
    segments={f"s{number}": number for number in range(1, 9)},
    messages={"hello": 1},
    channels={},
    zone=1,
    zone_name="Europe/Paris",
)


@pytest.fixture(scope="module")
def template():
    store = open_store(":memory:", create=True)
    c = store.connection
    fields.declare(c, {name: {"type": SCOPE.field_types[name]} for name in ("n", "d", "t")}, now=0)
    c.execute("INSERT INTO zones VALUES (1, 'Europe/Paris'), (2, 'America/New_York')")
    c.execute("INSERT INTO event_types VALUES (1, 'a'), (2, 'b')")
    c.execute("INSERT INTO names VALUES (1, 'message', 'hello')")
    c.executemany(
        "INSERT INTO segments VALUES (?, ?, 'x', NULL)", ((number, name) for name, number in SCOPE.segments.items())
    )
    return store


class Watch:
    """A store, its segments, and how far it was looked at."""

    def __init__(self, template, **segments):
        self.db = template.snapshot().connection
        self.at = T0
        self.plans = [plan(name, said) for name, said in segments.items()]
        for _ in range(3):
            self.contact(created_at=T0 - DAY)
        self.start()

    def start(self):
        for one in self.plans:
            judge_in_full(self.db, one, self.at)
        start_cursors(self.db, self.at)

    def contact(self, *, created_at, origin=1, **values):
        columns = ["created_at", "_seed", "_origin", *values]
        row = [created_at, 1, origin, *values.values()]
        query = f"INSERT INTO contacts ({', '.join(columns)}) VALUES ({', '.join('?' * len(row))}) RETURNING id"
        return self.db.execute(query, row).fetchone()[0]

    def event(self, at, who=1, type_=1, props=None):
        self.db.execute(
            "INSERT INTO events (contact_id, type, at, props) VALUES (?, ?, ?, ?)",
            (who, type_, at, json.dumps(props or {})),
        )

    def set(self, at, who=1, **values):
        for name, value in values.items():
            self.db.execute(f"UPDATE contacts SET {name} = ? WHERE id = ?", (value, who))
            self.db.execute("INSERT INTO contact_changes (contact_id, field, at) VALUES (?, ?, ?)", (who, name, at))

    def look(self, until=None, rows_max=20_000):
        """Look until then, in as many goes as it takes; returns the new transitions: contact, segment, +1 or -1, existing, at."""
        until = self.at if until is None else until
        (last,) = self.db.execute("SELECT coalesce(max(id), 0) FROM transitions").fetchone()
        while True:
            facts = new_facts(self.db, self.at, until, rows_max=rows_max)
            observe(Slice(self.db, facts), self.plans)
            advance_cursors(self.db)
            self.at = until
            if not facts.more:
                break
        rows = self.db.execute(
            "SELECT contact_id, segment_id, entered, existing, at FROM transitions WHERE id > ? ORDER BY id", (last,)
        )
        return [(who, segment, 1 if entered else -1, existing, at) for who, segment, entered, existing, at in rows]


def plan(name, said):
    asked = TypeAdapter(Condition).validate_python(said)
    number = SCOPE.segments[name]
    return SegmentPlan(
        id=number,
        name=name,
        check=sql(asked, SCOPE),
        full=full_sql(asked, SCOPE),
        probes=tuple(probes(asked, SCOPE)),
        order=number,
    )


RECENT = {"event": "a", "since": "2h"}


class TestTimes:
    def test_of_the_fact_and_of_the_moved_window(self, template):
        watch = Watch(template, s1=RECENT)
        watch.event(T0 + 10 * MINUTE)
        assert watch.look(T0 + 30 * MINUTE) == [(1, 1, 1, 0, T0 + 10 * MINUTE)]
        assert watch.look(T0 + 2 * HOUR) == []
        assert watch.look(T0 + 3 * HOUR) == [(1, 1, -1, 0, T0 + 10 * MINUTE + 2 * HOUR)]

    def test_of_the_newest_cause(self, template):
        watch = Watch(template, s1={"all": [RECENT, {"field": "n", "gt": 3}]})
        watch.event(T0 + 10 * MINUTE)
        watch.set(T0 + 20 * MINUTE, n=5)
        assert watch.look(T0 + 30 * MINUTE) == [(1, 1, 1, 0, T0 + 20 * MINUTE)]

    def test_a_change_and_back_within_a_slice_is_none(self, template):
        watch = Watch(template, s1={"field": "n", "gt": 3})
        watch.set(T0 + MINUTE, n=5)
        watch.set(T0 + 2 * MINUTE, n=1)
        assert watch.look(T0 + 5 * MINUTE) == []

    def test_members_stay_members(self, template):
        watch = Watch(template, s1=RECENT)
        for minute in (1, 2, 3):
            watch.event(T0 + minute * MINUTE)
            transitions = watch.look(T0 + minute * MINUTE)
        assert transitions == []
        assert watch.db.execute("SELECT contact_id, since FROM segment_members").fetchall() == [(1, T0 + MINUTE)]

    def test_a_late_fact_keeps_its_time_and_a_future_one_waits(self, template):
        watch = Watch(template, s1=RECENT)
        watch.event(T0 - HOUR, who=1)
        watch.event(T0 + HOUR, who=2)
        assert watch.look(T0 + MINUTE) == [(1, 1, 1, 0, T0 - HOUR)]
        assert watch.look(T0 + 59 * MINUTE) == []
        assert watch.look(T0 + HOUR) == [(1, 1, -1, 0, T0 + HOUR), (2, 1, 1, 0, T0 + HOUR)]

    def test_a_new_day_begins_at_the_contacts_midnight(self, template):
        watch = Watch(template, s1={"field": "d", "is": "today"})
        watch.set(T0, d="2026-03-28")
        watch.set(T0, who=2, d="2026-03-28")
        watch.db.execute("UPDATE contacts SET _zone = 2 WHERE id = 2")
        assert watch.look(T0 + HOUR) == []
        midnight = int(datetime(2026, 3, 27, 23, tzinfo=UTC).timestamp() * 1000)
        assert watch.look(midnight + HOUR) == [(1, 1, 1, 0, midnight)]
        assert watch.look(midnight + 6 * HOUR) == [(2, 1, 1, 0, midnight + 5 * HOUR)]
        assert watch.look(midnight + DAY) == [(1, 1, -1, 0, midnight + DAY)]

    def test_an_instant_in_a_field_comes_due(self, template):
        watch = Watch(template, s1={"field": "t", "within_next": "1h"})
        watch.set(T0, t=T0 + 3 * HOUR)
        watch.look(T0)
        assert watch.look(T0 + 2 * HOUR) == [(1, 1, 1, 0, T0 + 2 * HOUR)]
        assert watch.look(T0 + 4 * HOUR) == [(1, 1, -1, 0, T0 + 3 * HOUR)]


class TestFieldsComparedWith:
    def test_the_other_side_of_a_comparison_may_change(self, template):
        watch = Watch(
            template,
            s1={"field": "t", "before": {"from": "contact.created_at"}},
            s2={"event": "a", "since": "ever", "where": {"x": {"lt": {"from": "contact.n"}}}},
        )
        watch.set(T0, t=T0 - HOUR)
        watch.event(T0, props={"x": 3})
        assert watch.look(T0) == []
        watch.set(T0 + MINUTE, created_at=T0, n=4)
        assert [row[:3] for row in watch.look(T0 + HOUR)] == [(1, 1, 1), (1, 2, 1)]


class TestOrigins:
    def test_what_an_import_or_an_apply_finds_exists_already(self, template):
        watch = Watch(template, s1={"field": "n", "gt": 3}, s2={"any": [{"segment": "s1"}, RECENT]})
        old = watch.contact(created_at=T0 - 90 * DAY, origin=0, n=5)
        new = watch.contact(created_at=T0 + MINUTE, origin=1, n=5)
        watch.event(T0 + 2 * MINUTE, who=old)
        assert watch.look(T0 + 3 * MINUTE) == [
            (old, 1, 1, 1, T0 - 90 * DAY), (new, 1, 1, 0, T0 + MINUTE),
            (new, 2, 1, 0, T0 + MINUTE), (old, 2, 1, 1, T0 + 2 * MINUTE),
        ]  # fmt: skip
        watch.set(T0 + 4 * MINUTE, who=old, n=1)
        assert [row[3] for row in watch.look(T0 + 5 * MINUTE)] == [0]

    def test_an_import_that_takes_several_looks_is_one_import(self, template):
        watch = Watch(template, s1={"event": "a", "since": "ever", "count": {"gte": 5}})
        people = [watch.contact(created_at=T0 - DAY, origin=0) for _ in range(10)]
        for number in range(50):
            watch.event(T0 - DAY + number, who=people[number % 10])
        assert {row[3] for row in watch.look(T0 + MINUTE, rows_max=3)} == {1}
        assert watch.db.execute("SELECT count(*) FROM segment_members").fetchone() == (10,)
        watch.event(T0 + MINUTE, who=1)
        watch.event(T0 + MINUTE, who=people[0])
        watch.db.execute("DELETE FROM events WHERE contact_id = ?", (people[0],))
        watch.event(T0 + 2 * MINUTE, who=people[0])
        assert [row[2:4] for row in watch.look(T0 + 2 * MINUTE)] == [(-1, 0)]

    def test_an_import_dated_ahead_is_an_import_and_nobody_elses_matter(self, template):
        watch = Watch(template, s1={"field": "n", "gt": 3})
        ahead = watch.contact(created_at=T0 + DAY, origin=0, n=5)
        other = watch.contact(created_at=T0 - DAY, origin=0)
        watch.look(T0)
        watch.set(T0 + MINUTE, who=other, n=5)
        assert watch.look(T0 + HOUR) == [(other, 1, 1, 0, T0 + MINUTE)]
        assert watch.look(T0 + DAY) == [(ahead, 1, 1, 1, T0 + DAY)]

    def test_a_segment_on_one_that_was_judged_anew_exists_too(self, template):
        watch = Watch(template, s2={"segment": "s1"})
        watch.set(T0, n=5)
        watch.look(T0)
        assert judge_in_full(watch.db, plan("s1", {"field": "n", "gt": 3}), T0) == 1
        assert watch.look(T0 + MINUTE) == [(1, 2, 1, 1, T0)]

    def test_a_changed_definition_moves_members_once(self, template):
        watch = Watch(template)
        watch.set(T0, n=5)
        watch.set(T0, who=2, n=1)
        assert judge_in_full(watch.db, plan("s1", {"field": "n", "gt": 3}), T0) == 1
        assert judge_in_full(watch.db, plan("s1", {"field": "n", "lt": 3}), T0) == 2
        assert judge_in_full(watch.db, plan("s1", {"field": "n", "lt": 3}), T0) == 0
        assert watch.db.execute("SELECT contact_id FROM segment_members").fetchall() == [(2,)]


class TestOrder:
    def test_segments_follow_each_other_in_one_slice(self, template):
        watch = Watch(template, s1={"field": "n", "gt": 3}, s2={"segment": "s1"}, s3={"not": {"segment": "s2"}})
        watch.plans.reverse()
        watch.set(T0 + MINUTE, n=5)
        assert watch.look(T0 + 2 * MINUTE) == [
            (1, 1, 1, 0, T0 + MINUTE),
            (1, 2, 1, 0, T0 + MINUTE),
            (1, 3, -1, 0, T0 + MINUTE),
        ]


class TestFacts:
    def test_each_is_seen_once(self, template):
        watch = Watch(template)
        watch.event(T0 + MINUTE)
        watch.event(T0 - MINUTE)
        watch.event(T0 + 10 * MINUTE)
        watch.set(T0 + MINUTE, n=1)
        watch.set(T0 + 10 * MINUTE, n=2)
        assert self.seen(watch, T0 + 5 * MINUTE) == (2, 1)
        assert self.seen(watch, T0 + 5 * MINUTE) == (0, 0)
        watch.event(T0 + 2 * MINUTE)  # arrives after the look at its time
        watch.set(T0 + 3 * MINUTE, n=3)
        assert self.seen(watch, T0 + 5 * MINUTE) == (1, 1)
        assert self.seen(watch, T0 + 10 * MINUTE) == (1, 1)
        assert self.seen(watch, T0 + 20 * MINUTE) == (0, 0)

    def seen(self, watch, until):
        facts = new_facts(watch.db, watch.at, until)
        advance_cursors(watch.db)
        watch.at = until
        assert facts.any == bool(facts.events or facts.changes)
        return facts.events, facts.changes

    def test_contacts_of_the_far_future_are_here_already(self, template):
        watch = Watch(template, s1={"field": "n", "gt": 3})
        soon = watch.contact(created_at=T0 + HOUR, n=5)
        far = watch.contact(created_at=T0 + 9999 * DAY, n=5)
        assert watch.look(T0 + MINUTE) == [(far, 1, 1, 0, T0 + MINUTE)]
        assert watch.look(T0 + HOUR) == [(soon, 1, 1, 0, T0 + HOUR)]
        cursors = dict(watch.db.execute("SELECT name, value FROM cursors"))
        assert cursors["contacts"] == cursors["contacts.seen"] == far

    def test_a_transaction_undone_is_looked_at_again(self, template):
        watch = Watch(template, s1=RECENT)
        watch.event(T0 + MINUTE)
        watch.db.execute("BEGIN")
        facts = new_facts(watch.db, T0, T0 + HOUR)
        assert observe(Slice(watch.db, facts), watch.plans) == 1
        advance_cursors(watch.db)
        watch.db.execute("ROLLBACK")
        assert watch.look(T0 + HOUR) == [(1, 1, 1, 0, T0 + MINUTE)]

    def test_a_few_at_a_time(self, template):
        watch = Watch(template, s1={"event": "a", "since": "ever", "count": {"gte": 10}})
        for number in range(30):
            watch.event(T0 + number, who=1 + number % 3)
        assert new_facts(watch.db, T0, T0 + MINUTE, rows_max=4).more
        assert len(watch.look(T0 + MINUTE, rows_max=4)) == 3

    def test_who_is_concerned(self, template):
        watch = Watch(template)
        watch.event(T0 + MINUTE, who=2)
        watch.set(T0 + MINUTE, who=3, n=1)
        slice_ = Slice(watch.db, new_facts(watch.db, T0, T0 + HOUR))
        asked = [Probe(kind="created"), Probe(kind="event", ids=(1,)), Probe(kind="changed", names=("n",))]
        assert slice_.gather(asked) == 2
        assert watch.db.execute("SELECT contact_id, at, live FROM candidates").fetchall() == [
            (2, T0 + MINUTE, 1),
            (3, T0 + MINUTE, 1),
        ]
        assert slice_.gather([Probe(kind="event", ids=(2,))]) == 0


def test_a_late_tick_replayed_in_slices_tells_the_same_story(template):
    """On time, or in one go a day later: the same transitions at the same times."""
    segments = {
        "s1": RECENT,
        "s2": {"all": [{"event": "a", "since": "6h", "count": {"gte": 2}}, {"not": {"event": "b", "since": "3h"}}]},
        "s3": {"all": [{"event": "a", "between": ["5h", "1h"]}, {"not": {"segment": "s1"}}]},
        "s4": {"event": "a", "since": "4h", "sum": {"x": {"gte": 7}}},
    }
    for seed in range(6):
        rng = random.Random(seed)
        steps = sorted(rng.randrange(1, 24 * 60) * MINUTE for _ in range(60))
        facts = [(T0 + step, rng.randint(1, 3), rng.randint(1, 2), {"x": rng.randint(0, 5)}) for step in steps]
        on_time, late = Watch(template, **segments), Watch(template, **segments)
        for fact in facts:
            late.event(*fact)
        arriving = iter([*facts, (float("inf"), 0, 0, {})])
        fact = next(arriving)
        stories: list[list[tuple]] = [[], []]
        for end in range(T0 + 15 * MINUTE, T0 + 36 * HOUR, 15 * MINUTE):
            while fact[0] <= end:
                on_time.event(*fact)
                fact = next(arriving)
            stories[0] += on_time.look(end)
            stories[1] += late.look(end)
        assert stories[0] == stories[1]
        assert len(stories[0]) > 20


class Recorder:
    """A connection that remembers what was executed."""

    def __init__(self, connection):
        self.connection = connection
        self.statements: list[tuple[str, object]] = []

    def execute(self, statement, parameters=()):
        self.statements.append((statement, parameters))
        return self.connection.execute(statement, parameters)

    def executemany(self, statement, rows):
        return self.connection.executemany(statement, rows)


BIG = re.compile(
    r"SCAN (contacts|c|events|e|contact_changes|message_events|transitions|t|journal|j|segment_members|m|s|enrollments|n)\b"
)


@pytest.mark.parametrize("analyzed", [False, True])
def test_no_statement_of_a_slice_reads_a_whole_table(template, analyzed):
    watch = Watch(
        template,
        s1={"all": [{"event": "a", "since": "30d"}, {"not": {"event": "b", "since": "7d"}}]},
        s2={
            "any": [
                {"event": "a", "between": ["9d", "2d"]},
                {"field": "n", "gt": 3},
                {"message": "any", "status": "opened", "since": "3d"},
            ]
        },
        s3={"all": [{"segment": "s1"}, {"not": {"segment": "s2"}}, {"field": "t", "within_last": "3d"}]},
        s4={"workflow": "w", "state": "never"},
        s5={"segment": "s2"},
        s6={"event": "a", "since": "ever", "count": {"lt": 3}},
        s7={"message": "hello", "status": "sent", "since": "3d"},
    )
    numbers = "WITH RECURSIVE n(i) AS (SELECT 10 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)"
    watch.db.execute(
        f"{numbers} INSERT INTO contacts (id, created_at, _seed, _origin, n, t) SELECT i, {T0} - i, i, 0, i % 7, {T0} - i * 60000 FROM n"
    )
    watch.db.execute(
        f"{numbers} INSERT INTO events (contact_id, type, at) SELECT i, 1 + i % 2, {T0} - i * 60000 FROM n"
    )
    watch.db.execute(
        f"{numbers} INSERT INTO message_events (contact_id, message, status, at) SELECT i, 1, i % 4, {T0} - i * 60000 FROM n"
    )
    watch.start()
    if analyzed:
        watch.db.execute("ANALYZE")
    watch.event(T0 + 1)
    watch.set(T0 + 1, who=2, n=9)
    watch.contact(created_at=T0 + 2, n=4)
    watch.db.execute("INSERT INTO message_events (contact_id, message, status, at) VALUES (3, 1, 2, ?)", (T0 + 3,))
    recorder = Recorder(watch.db)
    facts = new_facts(recorder, T0, T0 + HOUR)
    assert (facts.events, facts.changes, facts.statuses, facts.contacts) == (1, 1, 1, 1)
    assert observe(Slice(recorder, facts), watch.plans) > 5
    advance_cursors(recorder)
    explained = 0
    for statement, parameters in recorder.statements:
        if statement.startswith(("INSERT", "DELETE FROM segment_members", "SELECT")):
            explained += 1
            lines = [row[3] for row in watch.db.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)]
            aliases_of_small = ("FROM judged j", "fact_cursors", "JOIN zones n")
            for line in lines:
                small = any(part in statement for part in aliases_of_small) and line.split()[1] in ("j", "n", "f")
                assert small or not BIG.match(line), (line, statement)
    assert explained > 30


def test_probes_and_plans_survive_json():
    one = plan(
        "s1",
        {
            "all": [
                {"event": "a", "between": ["9d", "2d"]},
                {"field": "d", "anniversary": "today"},
                {"time": {"days": "mon"}},
            ]
        },
    )
    assert SegmentPlan.from_json(json.loads(json.dumps(one.to_json()))) == one
    assert merged([*one.probes, *one.probes]) == list(one.probes)


def test_observing_loads_no_models():
    """A tick starts without pydantic where only segments are concerned."""
    import subprocess
    import sys

    code = "import sys, flowctl.engine.observe; assert 'pydantic' not in sys.modules and 'flowctl.language' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
