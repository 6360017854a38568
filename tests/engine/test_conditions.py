"""Conditions as SQL: what each leaf means in a workflow, what is refused, what cannot get in, and which index serves it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import TypeAdapter

import flowctl.engine.conditions as engine_conditions
import flowctl.language.conditions as language_conditions
from flowctl.engine.conditions import KINDS, Scope, full_sql, probes, sql, unsupported
from flowctl.engine.conditions.event import first_at
from flowctl.engine.conditions.literal import identifier, json_path, literal
from flowctl.engine.conditions.values import value_sql
from flowctl.engine.localtime import refresh_zones
from flowctl.language.conditions import SUBJECTS, Condition
from flowctl.language.values import From
from flowctl.store import fields
from flowctl.store.database import open_store

HOUR, DAY = 3_600_000, 86_400_000
NOW = int(datetime(2026, 3, 30, 10, tzinfo=UTC).timestamp() * 1000)
FIELDS = {"n": "number", "d": "date", "t": "datetime", "g": "tags", "s": "text", "b": "boolean", "push": "text"}
SEGMENT = Scope(
    field_types={**FIELDS, "email": "email", "phone": "phone", "created_at": "datetime"},
    event_types={"a": 1, "b": 2},
    event_properties={"a": {"x": "number", "k": "text", "day": "date", "at": "datetime", "ok": "boolean"}, "b": {}},
    segments={"vip": 1},
    messages={"hello": 1},
    channels={"email": 2},
    zone=1,
    zone_name="Europe/Paris",
)
INSIDE = Scope(**{**SEGMENT.__dict__, "enrollment": True})
GOAL = Scope(**{**INSIDE.__dict__, "since": "w.entered_at"})
ADAPTER = TypeAdapter(Condition)


def condition(said):
    return ADAPTER.validate_python(said)


@pytest.fixture(scope="module")
def template():
    store = open_store(":memory:", create=True)
    c = store.connection
    fields.declare(c, {name: {"type": type_} for name, type_ in FIELDS.items()}, now=0)
    c.execute("INSERT INTO zones VALUES (1, 'Europe/Paris'), (2, 'America/New_York')")
    c.execute("INSERT INTO event_types VALUES (1, 'a'), (2, 'b')")
    c.execute("INSERT INTO names VALUES (1, 'message', 'hello'), (2, 'channel', 'email')")
    c.execute("INSERT INTO segments VALUES (1, 'vip', 'x', NULL)")
    c.execute("INSERT INTO contacts (id, created_at, _seed, _origin) VALUES (1, 0, 0, 1), (2, 0, 0, 1)")
    c.execute(
        "INSERT INTO releases (id, applied_at, \"commit\", digest, files, runtime, compiler) VALUES (1, 0, 'x', 'x', '{}', '{}', 1)"
    )
    c.execute("INSERT INTO workflow_versions VALUES (1, 'w', 1, 1, 'x', 'x', '{}')")
    return store


@pytest.fixture
def db(template):
    """A store with two contacts and the enrollment 7 of contact 1, caused by the event 100 two hours ago."""
    connection = template.snapshot().connection
    connection.execute(
        "INSERT INTO events (id, contact_id, type, at, props) VALUES (100, 1, 1, ?, ?)", (NOW - 2 * HOUR, '{"x": 5}')
    )
    trigger = json.dumps({"x": 5, "k": "cart-1", "ok": True, "at": NOW - 2 * HOUR, "items": [{"id": "p1"}], "new": 1})
    connection.execute(
        "INSERT INTO enrollments (id, contact_id, workflow, version_id, cause, trigger, data, entered_at, pc, at, due_at) "
        "VALUES (7, 1, 'w', 1, 'event:100', ?, ?, ?, 0, ?, 0)",
        (trigger, '{"reco": {"count": 3}, "input": {"tone": "warm"}}', NOW - 2 * HOUR, NOW - HOUR),
    )
    yield connection
    connection.close()


def add_event(db, at, props=None, type_=1, contact=1, id_=None):
    db.execute(
        "INSERT INTO events (id, contact_id, type, at, props) VALUES (?, ?, ?, ?, ?)",
        (id_, contact, type_, at, json.dumps(props or {})),
    )


def holds(db, said, scope=INSIDE, now=NOW):
    """Of contact 1 in its enrollment; the opposite must be the opposite, and the set-based form must agree."""
    refresh_zones(db, now)
    asked = condition(said)
    assert not unsupported(asked, scope)
    work = "(SELECT id AS eid, contact_id, version_id AS version, entered_at, at, trigger, data FROM enrollments WHERE id = 7) w"
    query = f"SELECT ({{}}) IS TRUE FROM contacts c CROSS JOIN {work} WHERE c.id = 1"
    found = bool(db.execute(query.format(sql(asked, scope)), {"now": now}).fetchone()[0])
    opposite = bool(db.execute(query.format(sql(condition({"not": said}), scope)), {"now": now}).fetchone()[0])
    assert opposite != found
    if not unsupported(asked, SEGMENT):
        everybody = {row[0] for row in db.execute(full_sql(asked, SEGMENT), {"now": now})}
        alone = {row[0] for row in db.execute(f"SELECT c.id FROM contacts c WHERE {sql(asked, SEGMENT)}", {"now": now})}
        assert everybody == alone
    return found


class TestEntry:
    def test_the_triggering_event_never_counts(self, db):
        assert holds(db, {"event": "a", "since": "ever"})
        assert not holds(db, {"event": "a", "since": "entry"})
        assert not holds(db, {"event": "a"}, GOAL)
        assert not holds(db, {"event": "a", "since": "30d"}, GOAL)

    def test_of_one_instant_the_order_of_arrival_decides(self, db):
        add_event(db, NOW - 2 * HOUR, id_=99)
        assert not holds(db, {"event": "a"}, GOAL)
        add_event(db, NOW - 2 * HOUR, id_=101)
        assert holds(db, {"event": "a"}, GOAL)
        assert holds(db, {"event": "a", "since": "entry"})

    def test_another_cause_has_no_order(self, db):
        db.execute("UPDATE enrollments SET cause = 'manual:1'")
        add_event(db, NOW - 2 * HOUR, id_=101)
        assert not holds(db, {"event": "a"}, GOAL)

    def test_a_wait_counts_from_its_step(self, db):
        waiting = Scope(**{**INSIDE.__dict__, "since": "w.at"})
        add_event(db, NOW - HOUR)
        assert not holds(db, {"event": "a"}, waiting)
        add_event(db, NOW - HOUR + 1)
        assert holds(db, {"event": "a"}, waiting)

    def test_the_future_does_not_exist_yet(self, db):
        add_event(db, NOW + 1, type_=2)
        assert not holds(db, {"event": "b", "since": "ever"})
        assert holds(db, {"event": "b", "since": "ever"}, now=NOW + 1)


class TestSteps:
    def test_since_a_step_counts_from_when_it_was_left(self, db):
        add_event(db, NOW - 30 * 60_000)
        assert not holds(db, {"event": "a", "since": "reminder"})
        assert not holds(db, {"event": "a", "since": "reminder", "count": {"lt": 5}})  # never there: false
        assert not holds(db, {"event": "a", "since": "reminder", "count": 0})
        db.execute("INSERT INTO marks VALUES (7, 'reminder', ?)", (NOW - HOUR,))
        assert holds(db, {"event": "a", "since": "reminder"})
        assert holds(db, {"event": "a", "since": "reminder", "count": {"lt": 5}})
        assert not holds(db, {"event": "a", "since": "reminder", "count": 0})

    @pytest.mark.parametrize(
        ("said", "expected"),
        [
            ({"event": "a", "count": {"gte": 2}}, NOW - 600_000),
            ({"event": "a"}, NOW - 1_800_000),
            ({"event": "a", "count": {"gt": 2}}, None),
            ({"event": "a", "where": {"x": 2}}, NOW - 600_000),
        ],
    )
    def test_the_fact_that_ends_a_wait_has_a_time(self, db, said, expected):
        add_event(db, NOW - 3 * HOUR)
        add_event(db, NOW - 1_800_000, {"x": 1})
        add_event(db, NOW - 600_000, {"x": 2})
        add_event(db, NOW + 600_000)
        scope = Scope(**{**INSIDE.__dict__, "since": "w.at"})
        text = first_at(condition(said), scope, until="min(:now, :until)").replace("w.eid", "w.id")
        row = db.execute(
            f"SELECT {text} FROM contacts c, enrollments w WHERE c.id = 1 AND w.id = 7", {"now": NOW, "until": NOW}
        ).fetchone()
        assert row[0] == expected

    def test_a_message_of_before_ends_a_wait_at_once(self, db):
        add_status(db, NOW - 90 * 60_000)
        scope = Scope(**{**INSIDE.__dict__, "since": "w.at"})
        text = first_at(condition({"message": "hello", "status": "opened"}), scope, until=":now").replace(
            "w.eid", "w.id"
        )
        assert db.execute(
            f"SELECT {text} FROM contacts c, enrollments w WHERE c.id = 1 AND w.id = 7", {"now": NOW}
        ).fetchone() == (NOW - HOUR,)

    @pytest.mark.parametrize("said", [{"event": "a", "count": {"lt": 2}}, {"event": "a", "since": "30d"}, {"event": "a", "last": {"x": 1}},
                                      {"event": "a", "sum": {"x": {"gte": 1}}}, {"message": "hello", "status": "opened", "count": 2}])  # fmt: skip
    def test_states_have_none(self, said):
        assert first_at(condition(said), INSIDE, until=":now") is None


def add_status(db, at, status=2, enrollment=7, link=None):
    db.execute(
        "INSERT INTO message_events (contact_id, message, status, at, enrollment_id, link) VALUES (1, 1, ?, ?, ?, ?)",
        (status, at, enrollment, link),
    )


class TestMessages:
    def test_of_this_enrollment_unless_a_time_is_said(self, db):
        add_status(db, NOW - HOUR, enrollment=8)
        assert not holds(db, {"message": "hello", "status": "opened"})
        assert not holds(db, {"message": "any", "status": "opened", "since": "entry"})
        assert holds(db, {"message": "hello", "status": "opened", "since": "2h"})
        assert holds(db, {"message": "any", "status": "opened", "since": "ever"})
        add_status(db, NOW - HOUR)
        assert holds(db, {"message": "hello", "status": "opened"})
        assert holds(db, {"message": "any", "status": "opened", "since": "entry"})
        assert not holds(db, {"message": "hello", "status": "opened", "since": "30m"})

    def test_links_and_counts(self, db):
        add_status(db, NOW, status=3, link="https://x/1")
        assert holds(db, {"message": "hello", "status": "clicked", "link": "https://x/1"})
        assert not holds(db, {"message": "hello", "status": "clicked", "link": "https://x/2"})
        assert not holds(db, {"message": "hello", "status": "clicked", "count": {"gte": 2}})
        add_status(db, NOW, status=3)
        assert holds(db, {"message": "hello", "status": "clicked", "count": {"gte": 2}})
        assert not holds(db, {"message": "hello", "status": "clicked", "since": "later", "count": {"lt": 9}})


class TestValues:
    def test_what_started_it(self, db):
        assert holds(db, {"trigger": {"x": {"gte": 5}, "k": "cart-1", "ok": True}})
        assert not holds(db, {"trigger": {"x": "5"}})
        assert not holds(db, {"trigger": {"x": {"gt": 5}}})
        assert holds(db, {"trigger": {"items.0.id": "p1"}})
        assert holds(db, {"trigger": {"at": {"before": {"from": "now"}}}})
        assert holds(db, {"trigger": {"at": {"after": "2026-03-30T09:00"}}})
        assert holds(db, {"trigger": {"nothing": {"is_not": 5}}})
        assert holds(db, {"trigger": {"nothing": {"known": False}, "k": {"known": True}}})

    def test_what_was_fetched_and_handed_over(self, db):
        assert holds(db, {"data": {"reco.count": {"gt": 0}}})
        assert holds(db, {"input": {"tone": "warm"}})
        assert not holds(db, {"input": {"tone": "cold"}})

    def test_an_event_of_the_same_cart(self, db):
        add_event(db, NOW - HOUR, {"k": "cart-2"})
        same = {"event": "a", "where": {"k": {"is": {"from": "trigger.k"}}}}
        other = {"event": "a", "where": {"k": {"is_not": {"from": "trigger.k"}}}}
        assert not holds(db, same, GOAL)
        assert holds(db, other, GOAL)
        add_event(db, NOW - HOUR, {"k": "cart-1"})
        assert holds(db, same, GOAL)

    def test_two_unknowns_are_not_equal(self, db):
        assert not holds(db, {"field": "s", "is": {"from": "trigger.nothing"}})
        assert holds(db, {"field": "s", "is_not": {"from": "trigger.nothing"}})

    @pytest.mark.parametrize("value", ["12", True, None, [12], {"v": 12}])
    def test_what_is_no_number_compares_with_none(self, db, value):
        add_event(db, NOW - HOUR, {"x": value}, type_=1)
        db.execute("DELETE FROM events WHERE id = 100")
        for asked in ({"gte": 1}, {"lte": 100}, {"is": 12}, {"between": [0, 100]}, {"in": [1, 12]}):
            assert not holds(db, {"event": "a", "since": "ever", "where": {"x": asked}})
        assert not holds(db, {"event": "a", "since": "ever", "sum": {"x": {"gt": 0}}})
        assert holds(db, {"event": "a", "since": "ever", "where": {"x": {"is_not": 12}}})

    def test_dates_and_instants(self, db):
        db.execute("UPDATE contacts SET d = '2026-04-02', t = ? WHERE id = 1", (NOW + 5 * HOUR,))
        assert holds(db, {"field": "d", "within_next": "3d"})
        assert not holds(db, {"field": "d", "within_next": "2d"})
        assert holds(db, {"field": "d", "is": {"from": "now", "plus": "3d"}})
        assert holds(db, {"field": "d", "after": "2026-04-01"})
        assert not holds(db, {"field": "d", "after": "2026-04-02"})
        assert holds(db, {"field": "t", "is": "2026-03-30"})  # a whole day, here 17:00 in Paris
        assert holds(db, {"field": "t", "is": "today"})
        assert not holds(db, {"field": "t", "after": "2026-03-30"})
        assert holds(db, {"field": "t", "after": "2026-03-29"})
        assert holds(db, {"field": "t", "lte": "2026-03-30"})
        assert holds(db, {"field": "t", "before": "2026-03-31"})
        assert holds(db, {"field": "t", "is": "2026-03-30T17:00"})
        assert holds(db, {"field": "t", "before": {"from": "contact.d"}})
        assert holds(db, {"field": "d", "after": {"from": "trigger.at"}})
        assert holds(db, {"field": "d", "is": {"from": "trigger.at", "plus": "3d"}})

    def test_a_day_is_the_contacts_own(self, db):
        db.execute("UPDATE contacts SET d = '2026-03-30', _zone = 2 WHERE id = 1")
        late = NOW + 13 * HOUR  # 31 March in Paris, still the 30th in New York
        assert holds(db, {"field": "d", "is": "today"}, now=late)
        assert not holds(db, {"time": {"days": "tue"}}, now=late)
        db.execute("UPDATE contacts SET _zone = NULL WHERE id = 1")
        assert not holds(db, {"field": "d", "is": "today"}, now=late)
        assert holds(db, {"time": {"days": "tue", "between": ["00:00", "02:00"]}}, now=late)

    @pytest.mark.parametrize(
        ("born", "day", "expected"),
        [
            ("1990-03-30", "2026-03-30", True),
            ("1990-03-31", "2026-03-30", False),
            ("2026-03-30", "2026-03-30", False),  # the day itself is no anniversary
            ("2024-02-29", "2026-02-28", True),
            ("2024-02-29", "2026-03-01", False),
            ("2024-02-29", "2028-02-28", False),
            ("2024-02-29", "2028-02-29", True),
        ],
    )
    def test_anniversaries(self, db, born, day, expected):
        db.execute("UPDATE contacts SET d = ? WHERE id = 1", (born,))
        noon = int(datetime.fromisoformat(f"{day}T10:00+00:00").timestamp() * 1000)
        assert holds(db, {"field": "d", "anniversary": "today"}, SEGMENT, now=noon) == expected
        assert holds(db, {"field": "d", "anniversary": "-7d"}, SEGMENT, now=noon - 7 * DAY) == expected

    def test_set_casts_to_the_field(self, db):
        refresh_zones(db, NOW)

        def value(said, type_):
            text = value_sql(said, type_, INSIDE)
            return db.execute(
                f"SELECT {text} FROM contacts c, enrollments w WHERE c.id = 1 AND w.id = 7", {"now": NOW}
            ).fetchone()[0]

        def source(path, **more):
            return From.model_validate({"from": path, **more})

        assert value(source("trigger.x"), "number") == 5
        assert value(source("trigger.k"), "number") is None
        assert value(source("now", plus="3d"), "date") == "2026-04-02"
        assert value(source("now"), "datetime") == NOW
        assert value(source("trigger.ok"), "boolean") == 1
        assert value("2026-03-30T12:00", "datetime") == NOW
        assert value(1, "boolean") == 1
        assert value("it's", "text") == "it's"
        assert value("2026-01-31", "date") == "2026-01-31"


class TestPeople:
    def test_reachable(self, db):
        mail = {"reachable": "email"}
        assert not holds(db, mail)
        db.execute("UPDATE contacts SET email = 'a@example.com' WHERE id = 1")
        assert not holds(db, mail)
        assert holds(db, {"reachable": {"channel": "email", "purpose": "transactional"}})
        db.execute(
            "INSERT INTO consents (contact_id, channel, purpose, granted, at, source) VALUES (1, 'email', 'marketing', 1, 0, 'x')"
        )
        assert holds(db, mail)
        db.execute(
            "INSERT INTO suppressions (channel, hash, reason, at, source, contact_id) VALUES ('email', 'h', 'manual', 0, 'x', 1)"
        )
        assert not holds(db, mail)
        assert not holds(db, {"reachable": {"channel": "email", "purpose": "transactional"}})

    def test_reachable_by_what_is_no_column(self, db):
        assert not holds(db, {"reachable": "web_push"})
        assert not holds(db, {"reachable": "push"})
        db.execute("UPDATE contacts SET push = 'token' WHERE id = 1")
        assert holds(db, {"reachable": "push"})  # the token is the consent

    def test_workflows(self, db):
        assert holds(db, {"workflow": "w", "state": "active"})
        assert not holds(db, {"workflow": "w", "state": "never"})
        assert holds(db, {"workflow": "v", "state": "never"})
        db.execute("UPDATE enrollments SET state = 4, ended_at = 5, due_at = NULL WHERE id = 7")
        assert holds(db, {"workflow": "w", "state": "exited"})
        assert not holds(db, {"workflow": "w", "state": "completed"})


class TestText:
    NASTY = ("'; DROP TABLE contacts; --", "it's", 'say "hi"', "%", "a\nb", "é\U0001f600", "\\", ":now", "?1")

    @pytest.mark.parametrize("text", NASTY)
    def test_values_are_values(self, db, text):
        db.execute("UPDATE contacts SET s = ?, g = ? WHERE id = 1", (text, json.dumps([text])))
        add_event(db, NOW, {"k": text})
        assert holds(db, {"field": "s", "is": text})
        assert holds(db, {"field": "s", "in": ["other", text]})
        assert holds(db, {"field": "s", "starts_with": text[:3], "contains": text[1:]})
        assert holds(db, {"field": "g", "has": text})
        assert holds(db, {"event": "a", "since": "ever", "where": {"k": text}})
        assert holds(db, {"event": "a", "since": "ever", "where": {"k": {"in": [text]}}})
        assert db.execute("SELECT count(*) FROM contacts").fetchone() == (2,)

    def test_case_counts(self, db):
        db.execute("UPDATE contacts SET s = 'Ana' WHERE id = 1")
        assert not holds(db, {"field": "s", "is": "ana"})
        assert not holds(db, {"field": "s", "contains": "an"})
        assert not holds(db, {"field": "s", "starts_with": "an"})

    def test_tags_are_whole(self, db):
        db.execute("UPDATE contacts SET g = ? WHERE id = 1", (json.dumps(["a", "b,c"]),))
        assert not holds(db, {"field": "g", "has": ","})
        assert not holds(db, {"field": "g", "has_all": ["a", "b"]})
        assert holds(db, {"field": "g", "has_any": ["x", "a"]})

    def test_quoting(self):
        assert [literal(value) for value in (None, True, 3, 0.1, "a'b")] == ["NULL", "1", "3", "0.1", "'a''b'"]
        with pytest.raises(ValueError, match="NUL"):
            literal("a\0b")
        with pytest.raises(ValueError, match="no number"):
            literal(float("nan"))
        with pytest.raises(ValueError, match="no column"):
            identifier('x" OR 1')
        with pytest.raises(ValueError, match="no path"):
            json_path("a'b")


class TestRefused:
    @pytest.mark.parametrize(
        ("said", "word"),
        [
            ({"survey": "nps", "answer": 9}, "since"),
            ({"trigger": {"x": 1}}, "workflow"),
            ({"event": "a"}, "since"),
            ({"event": "a", "since": "entry"}, "workflow"),
            ({"message": "hello", "status": "opened"}, "since"),
            ({"field": "s", "is": {"from": "trigger.k"}}, "workflow"),
            ({"event": "a", "since": "ever", "where": {"at": {"before": {"from": "now"}}}}, "become due"),
        ],
    )
    def test_in_a_segment(self, said, word):
        asked = condition({"any": [{"field": "n", "gt": 1}, {"not": said}]})
        ((model, reason),) = unsupported(asked, SEGMENT)
        assert word in reason
        assert model is asked.any_[1].not_

    def test_a_workflow_runs_what_a_segment_cannot(self, db):
        add_event(db, NOW - HOUR, {"at": NOW - 1})
        assert holds(db, {"event": "a", "since": "ever", "where": {"at": {"before": {"from": "now"}}}})


def test_one_module_a_leaf():
    """The registry, the language and the folder know the same leaves."""
    folder = {path.stem for path in Path(engine_conditions.__file__).parent.glob("*.py")}
    leaves = {subject for subject in SUBJECTS if subject not in ("all", "any", "not")}
    assert set(KINDS) == leaves
    assert leaves <= folder
    assert leaves <= {path.stem for path in Path(language_conditions.__file__).parent.glob("*.py")}


PLANS = {
    "SEARCH e USING INDEX events_contact (contact_id=? AND type=? AND at>? AND at<?)": {"event": "a", "since": "30d", "where": {"x": 1}},
    "SEARCH e USING COVERING INDEX events_contact (contact_id=? AND type=? AND at<?)": {"event": "a", "since": "ever", "count": {"gte": 3}},
    "SEARCH s USING PRIMARY KEY (segment_id=? AND contact_id=?)": {"not": {"segment": "vip"}},
    "SEARCH m USING COVERING INDEX message_events_contact (contact_id=? AND message=? AND status=? AND at<?)": {
        "message": "hello", "status": "opened", "since": "ever",
    },
    "SEARCH n USING PRIMARY KEY (contact_id=? AND channel=? AND purpose=?)": {"reachable": "email"},
    "SEARCH n USING INDEX sqlite_autoindex_enrollments_1 (contact_id=? AND workflow=?)": {"workflow": "w", "state": "active"},
    "SEARCH z USING INTEGER PRIMARY KEY (rowid=?)": {"field": "d", "is": "today"},
}  # fmt: skip


@pytest.mark.parametrize("analyzed", [False, True])
@pytest.mark.parametrize(("line", "said"), PLANS.items(), ids=[str(index) for index in range(len(PLANS))])
def test_few_contacts_are_judged_by_index(db, line, said, analyzed):
    """Whatever the statistics say, and beside a sibling under `not`."""
    grow(db, analyzed=analyzed)
    refresh_zones(db, NOW)
    db.execute("CREATE TEMP TABLE candidates (contact_id INTEGER PRIMARY KEY)")
    asked = condition({"all": [{"not": {"field": "n", "is": 4}}, said]})
    query = f"SELECT c.id FROM contacts c WHERE c.id IN (SELECT contact_id FROM candidates) AND ({sql(asked, SEGMENT)})"
    plan = [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {query}", {"now": NOW})]
    assert line in plan, plan
    assert "SEARCH c USING INTEGER PRIMARY KEY (rowid=?)" in plan, plan
    assert not [step for step in plan if step.startswith("SCAN") and "subquery" not in step], plan


def grow(db, *, analyzed):
    """Enough rows that statistics have something to say."""
    numbers = "WITH RECURSIVE n(i) AS (SELECT 10 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)"
    db.execute(f"{numbers} INSERT INTO contacts (id, created_at, _seed, _origin, n) SELECT i, 0, i, 0, i % 7 FROM n")
    db.execute(
        f"{numbers} INSERT INTO events (contact_id, type, at, props) SELECT i, 1 + i % 2, {NOW} - i * 1000, NULL FROM n"
    )
    db.execute(f"{numbers} INSERT INTO segment_members SELECT 1, i, 0 FROM n WHERE i % 3")
    db.execute(
        f"{numbers} INSERT INTO message_events (contact_id, message, status, at) SELECT i, 1, i % 4, {NOW} - i FROM n"
    )
    db.execute(
        f"{numbers} INSERT INTO enrollments (contact_id, workflow, version_id, cause, entered_at, pc, at) "
        "SELECT i, 'w' || i % 9, 1, 'x', 0, 0, 0 FROM n"
    )
    if analyzed:
        db.execute("ANALYZE")


def test_probes_say_what_can_change_an_answer():
    asked = condition(
        {"all": [{"event": "a", "between": ["45d", "15d"]}, {"event": "b", "since": "7d"}, {"not": {"field": "n", "lt": {"from": "contact.t"}}},
                 {"reachable": "sms"}, {"segment": "vip"}, {"field": "d", "anniversary": "today"}, {"field": "t", "within_next": "2d"}]}
    )  # fmt: skip
    found = probes(asked, SEGMENT)
    assert [(p.kind, p.ids, p.names, p.edge_ms) for p in found] == [
        ("created", (), (), 0),
        ("event", (1, 2), (), 0),
        ("window", (1,), (), 45 * DAY),
        ("window", (1,), (), 15 * DAY),
        ("window", (2,), (), 7 * DAY),
        ("changed", (), ("consent.sms", "d", "n", "phone", "suppressed.sms", "t"), 0),
        ("transition", (1,), (), 0),
        ("day", (), (), 0),
        ("moment", (), ("t",), 0),
        ("moment", (), ("t",), -2 * DAY),
    ]
