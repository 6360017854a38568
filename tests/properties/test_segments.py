"""Segments: members kept up to date slice by slice = members judged in full = what a plain Python evaluator says.

The evaluator in reference.py is written from language.md and knows nothing of SQL. Histories hold late and future facts, values of the wrong type,
unknown values, clock changes; conditions are nested, negated, counted, summed, windowed, and ask about other segments.
"""

from __future__ import annotations

import json
import random
import sqlite3
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from flowctl.engine.conditions import Scope, full_sql, probes, sql, unsupported
from flowctl.engine.conditions.message import STATUSES
from flowctl.engine.localtime import refresh_zones
from flowctl.engine.observe import advance_cursors, judge_in_full, new_facts, observe, start_cursors
from flowctl.engine.segments import SegmentPlan
from flowctl.engine.slices import Slice
from flowctl.language.conditions import (
    Condition,
    Not,
)
from flowctl.store import fields as store_fields
from flowctl.store.database import open_store
from tests.properties.reference import DAY, FIELDS, HOUR, PROPERTIES, START, TYPES, ZONES, World

EVENTS = {"a": 1, "b": 2}
SEGMENTS = {"first": 1, "second": 2, "third": 3}
SCOPE = Scope(
    field_types=TYPES,
    event_types=EVENTS,
    event_properties=dict.fromkeys(EVENTS, PROPERTIES),
    segments=SEGMENTS,
    messages={"hello": 1, "bye": 2},
    channels={"email": 3},
    zone=1,
    zone_name=ZONES[1],
)
CONDITION = TypeAdapter(Condition)
SPANS = ["1h", "12h", "1d", "36h", "3d"]
DATES = ["2026-03-26", "2026-03-28", "2026-03-29", "2026-03-30", "2024-02-29", "2025-03-28", "1990-03-29"]


def _template():
    store = open_store(":memory:", create=True)
    connection = store.connection
    store_fields.declare(connection, {name: {"type": type_} for name, type_ in FIELDS.items()}, now=START)
    connection.executemany("INSERT INTO zones VALUES (?, ?)", ZONES.items())
    connection.executemany("INSERT INTO event_types VALUES (?, ?)", ((number, name) for name, number in EVENTS.items()))
    connection.executemany(
        "INSERT INTO segments VALUES (?, ?, 'x', NULL)", ((number, name) for name, number in SEGMENTS.items())
    )
    connection.execute(
        "INSERT INTO names VALUES (1, 'message', 'hello'), (2, 'message', 'bye'), (3, 'channel', 'email')"
    )
    connection.execute(
        "INSERT INTO releases (id, applied_at, \"commit\", digest, files, runtime, compiler) VALUES (1, 0, 'x', 'x', '{}', '{}', 1)"
    )
    connection.execute("INSERT INTO workflow_versions VALUES (1, 'w', 1, 1, 'x', 'x', '{}')")
    return store


TEMPLATE = _template()


class Maker:
    """Random conditions and histories; `rows` writes what `world` knows."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng

    def condition(self, depth: int, others: list[str]) -> dict:
        rng = self.rng
        if depth and rng.random() < 0.7:
            kind = rng.choice(["all", "any", "not"])
            if kind == "not":
                return {"not": self.condition(depth - 1, others)}
            return {kind: [self.condition(depth - 1, others) for _ in range(rng.randint(1, 3))]}
        return self.leaf(others)

    def leaf(self, others: list[str]) -> dict:
        rng = self.rng
        kinds = (
            ["event"] * 5
            + ["field"] * 5
            + ["message", "reachable", "time", "workflow"]
            + ["segment"] * (3 if others else 0)
        )
        match rng.choice(kinds):
            case "event":
                return self.event()
            case "field":
                return self.field()
            case "segment":
                return {"segment": rng.choice(others)}
            case "message":
                leaf = {
                    "message": rng.choice(["hello", "bye", "any"]),
                    "status": rng.choice(["sent", "opened"]),
                    "since": rng.choice([*SPANS, "ever"]),
                }
                return leaf | ({"count": self.bounds(3)} if rng.random() < 0.4 else {})
            case "reachable":
                return {
                    "reachable": {
                        "channel": rng.choice(["email", "sms"]),
                        "purpose": rng.choice(["marketing", "transactional"]),
                    }
                }
            case "time":
                slot = {"days": rng.choice(["mon-fri", "sat,sun", "mon-sun", "fri-sat"])}
                return {
                    "time": slot
                    | ({"between": rng.choice([["08:00", "18:00"], ["22:00", "06:00"]])} if rng.random() < 0.7 else {})
                }
        return {"workflow": "w", "state": rng.choice(["active", "completed", "exited", "never"])}

    def event(self) -> dict:
        rng = self.rng
        leaf: dict = {"event": rng.choice(["a", "b"])}
        if rng.random() < 0.25:
            leaf["between"] = rng.choice([["3d", "1d"], ["12h", "1h"], ["36h", "12h"]])
        else:
            leaf["since"] = rng.choice([*SPANS, "ever"])
        if rng.random() < 0.4:
            leaf["where"] = {name: asked for name, asked in self.where().items() if rng.random() < 0.7} or self.where()
        match rng.choice(["", "", "count", "sum", "last"]):
            case "count":
                leaf["count"] = self.bounds(4)
            case "sum":
                leaf["sum"] = {"x": self.bounds(12)}
            case "last":
                leaf["last"] = self.where()
        return leaf

    def where(self) -> dict:
        rng = self.rng
        number = rng.choice([{rng.choice(["is", "is_not", "gt", "lte"]): rng.randint(0, 9)}, {"in": [1, 2, 3]}, {"not_in": [4, 5]}, {"known": True},
                             {"gte": {"from": "contact.n"}}, {"is_not": {"from": "contact.n"}}])  # fmt: skip
        text = rng.choice(
            [
                {"is": "p"},
                {"is_not": "p"},
                {"starts_with": "p"},
                {"is": {"from": "contact.s"}},
                {"is_not": {"from": "contact.s"}},
            ]
        )
        return {"x": number} if rng.random() < 0.6 else {"x": number, "k": text}

    def bounds(self, most: int) -> dict:
        return {self.rng.choice(["is", "gt", "gte", "gte", "lt", "lte"]): self.rng.randint(0, most)}

    def field(self) -> dict:
        rng = self.rng
        span = rng.choice([*SPANS, "1 month"])
        when = {
            "from": rng.choice(["now", "now", "contact.d"]),
            rng.choice(["plus", "minus"]): rng.choice(["1d", "3d", "1 month"]),
        }
        moment = {"from": rng.choice(["now", "now", "contact.t"]), rng.choice(["plus", "minus"]): rng.choice(SPANS)}
        leaves = {
            "n": [{"is": 3}, {"is_not": 3}, {"in": [1, 2]}, {"not_in": [1, 2]}, {"gte": 5}, {"between": [2, 6]}, {"known": True}, {"known": False},
                  {"lt": {"from": "contact.m"}}, {"is": {"from": "contact.m"}}, {"is_not": {"from": "contact.m"}}, {"gt": 2, "is_not": 5}],
            "d": [{"is": "today"}, {"is_not": "today"}, {"before": "2026-03-29"}, {"after": when}, {"is": when}, {"is_not": when}, {"lte": when},
                  {"within_last": span}, {"within_next": span}, {"anniversary": "today"}, {"anniversary": "-1d"}, {"in": ["2026-03-28", "today"]},
                  {"between": [{"from": "now", "minus": "1d"}, {"from": "now", "plus": "1d"}]}],
            "t": [{"within_last": rng.choice(SPANS)}, {"within_next": rng.choice(SPANS)}, {"before": moment}, {"gte": moment}, {"known": True},
                  {"between": [{"from": "now", "minus": "1d"}, {"from": "now", "plus": "12h"}]}],
            "created_at": [{"within_last": rng.choice(SPANS)}, {"before": {"from": "now", "minus": rng.choice(SPANS)}}],
            "g": [{"has": "red"}, {"has_any": ["red", "blue"]}, {"has_all": ["red", "blue"]}, {"known": True}],
            "s": [{"is": "p"}, {"is_not": "p"}, {"contains": "q"}, {"starts_with": "p"}, {"in": ["p", "q"]}, {"not_in": ["p", "q"]}],
            "b": [{"is": True}, {"is_not": True}],
        }  # fmt: skip
        name = rng.choice(list(leaves))
        return {"field": name, **rng.choice(leaves[name])}


class Run:
    """A history on a real store, and the same in Python."""

    def __init__(self, rng: random.Random) -> None:
        self.rng, self.maker, self.world = rng, Maker(rng), World()
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        TEMPLATE.connection.backup(self.connection)
        self.now = START
        self.looked = START - HOUR
        self.plans: list[SegmentPlan] = []
        self.ids = {"event": 0}

    def declare(self) -> None:
        known: list[str] = []
        for name, number in SEGMENTS.items():
            condition = CONDITION.validate_python(self.maker.condition(2, known))
            assert not unsupported(condition, SCOPE)
            self.world.segments[name] = condition
            plan = SegmentPlan(
                id=number,
                name=name,
                check=sql(condition, SCOPE),
                full=full_sql(condition, SCOPE),
                probes=tuple(probes(condition, SCOPE)),
                order=number,
            )
            self.plans.append(SegmentPlan.from_json(json.loads(json.dumps(plan.to_json()))))
            known.append(name)

    def field_value(self, name: str):
        rng = self.rng
        if rng.random() < 0.3:
            return None
        match FIELDS[name]:
            case "number":
                return float(rng.randint(0, 8))
            case "date":
                return date.fromisoformat(rng.choice(DATES))
            case "datetime":
                return self.now + rng.randint(-80, 80) * HOUR
            case "tags":
                return sorted(rng.sample(["red", "blue", "green"], rng.randint(0, 3)))
            case "boolean":
                return rng.random() < 0.5
        return rng.choice(["p", "q", "pq", "P"])

    def contact(self) -> None:
        rng = self.rng
        values = {name: self.field_value(name) for name in FIELDS}
        zone, origin = rng.choice([None, 1, 2, 3]), rng.choice([0, 1])
        created_at = self.now if origin else self.now - rng.randint(0, 99) * HOUR
        email, phone = rng.choice(["a@example.com", None]), rng.choice(["+33600000000", None])
        columns = ["created_at", "_zone", "_seed", "_origin", "email", "phone", *values]
        row = [created_at, zone, 1, origin, email, phone, *(_stored(value) for value in values.values())]
        number = self.connection.execute(
            f"INSERT INTO contacts ({', '.join(columns)}) VALUES ({', '.join('?' * len(row))}) RETURNING id", row
        ).fetchone()[0]
        self.world.contacts[number] = {
            **values, "zone": zone, "created_at": created_at, "email": email, "phone": phone, "consents": {}, "suppressed": set()
        }  # fmt: skip

    def when(self) -> int:
        """Mostly since the last look, sometimes late, sometimes ahead."""
        return self.now + self.rng.choice([0, 0, -1, -2, -11, -12, -24, -36, -72, 1, 2, 13]) * HOUR

    def act(self) -> None:
        rng, world = self.rng, self.world
        who = rng.choice(list(world.contacts))
        change = None
        match rng.choice(
            ["event"] * 5
            + ["field"] * 4
            + ["status", "status", "consent", "suppress", "email", "contact", "enrollment"]
        ):
            case "event":
                name = rng.choice(["a", "b"])
                props = {"x": rng.choice([None, "12", True, *range(6)]), "k": rng.choice([None, "p", "pq", 5])}
                at = self.when()
                row = (who, EVENTS[name], at, json.dumps(props) if rng.random() < 0.9 else None)
                number = self.connection.execute(
                    "INSERT INTO events (contact_id, type, at, props) VALUES (?, ?, ?, ?) RETURNING id", row
                ).fetchone()[0]
                world.events.append((number, who, name, at, props if row[3] else {}))
            case "field":
                name = rng.choice(list(FIELDS))
                value = self.field_value(name)
                world.contacts[who][name] = value
                self.connection.execute(f"UPDATE contacts SET {name} = ? WHERE id = ?", (_stored(value), who))
                change = name
            case "status":
                message, status, at = rng.choice(["hello", "bye"]), rng.choice(["sent", "opened"]), self.when()
                world.statuses.append((who, message, status, at))
                row = (who, SCOPE.messages[message], STATUSES[status], at)
                self.connection.execute(
                    "INSERT INTO message_events (contact_id, message, status, at) VALUES (?, ?, ?, ?)", row
                )
            case "consent":
                granted = rng.random() < 0.7
                world.contacts[who]["consents"]["email"] = granted
                self.connection.execute(
                    "INSERT OR REPLACE INTO consents (contact_id, channel, purpose, granted, at, source) VALUES (?, 'email', 'marketing', ?, 0, 'x')",
                    (who, granted),
                )
                change = "consent.email"
            case "suppress":
                if rng.random() < 0.5:
                    world.contacts[who]["suppressed"].add("email")
                    self.connection.execute(
                        "INSERT OR IGNORE INTO suppressions (channel, hash, reason, at, source, contact_id) VALUES ('email', ?, 'x', 0, 'x', ?)",
                        (str(who), who),
                    )
                else:
                    world.contacts[who]["suppressed"].discard("email")
                    self.connection.execute("DELETE FROM suppressions WHERE contact_id = ?", (who,))
                change = "suppressed.email"
            case "email":
                value = rng.choice([None, "b@example.com"])
                world.contacts[who]["email"] = value
                self.connection.execute("UPDATE contacts SET email = ? WHERE id = ?", (value, who))
                change = "email"
            case "contact":
                self.contact()
            case "enrollment":
                self.enrollment(who)
        if change:
            row = (who, change, self.now)
            self.connection.execute("INSERT INTO contact_changes (contact_id, field, at) VALUES (?, ?, ?)", row)

    def enrollment(self, who: int) -> None:
        running = [e for e in self.world.enrollments if e["contact"] == who and e["ended_at"] is None]
        if running:
            state = self.rng.choice([1, 2, 3, 4])
            running[0].update(ended_at=self.now, state=state)
            self.connection.execute(
                "UPDATE enrollments SET state = ?, ended_at = ? WHERE id = ?", (state, self.now, running[0]["id"])
            )
            kind, number = {1: 17, 2: 16, 3: 11, 4: 18}[state], running[0]["id"]
        else:
            row = (who, f"manual:{len(self.world.enrollments)}", self.now, self.now)
            number = self.connection.execute(
                "INSERT INTO enrollments (contact_id, workflow, version_id, cause, entered_at, pc, at) VALUES (?, 'w', 1, ?, ?, 0, ?) RETURNING id",
                row,
            ).fetchone()[0]
            self.world.enrollments.append({"id": number, "contact": who, "ended_at": None, "state": 0})
            kind = 1
        self.connection.execute(
            "INSERT INTO journal (contact_id, enrollment_id, at, kind) VALUES (?, ?, ?, ?)",
            (who, number, self.now, kind),
        )

    def look(self) -> None:
        """One slice, in as many looks as it takes; then everything must agree."""
        t0 = self.looked
        rows_max = self.rng.choice([1, 3, 1000])
        while True:
            self.connection.execute("BEGIN")
            facts = new_facts(self.connection, t0, self.now, rows_max=rows_max)
            observe(Slice(self.connection, facts), self.plans)
            advance_cursors(self.connection)
            self.connection.execute("COMMIT")
            t0 = self.now
            if not facts.more:
                break
        self.looked = self.now
        self.agree()

    def agree(self) -> None:
        self.world.now = self.now
        refresh_zones(self.connection, self.now)
        for plan in self.plans:
            condition = self.world.segments[plan.name]
            expected = {who for who in self.world.contacts if self.world.holds(condition, who)}
            full = {row[0] for row in self.connection.execute(plan.full, {"now": self.now})}
            single = {
                row[0]
                for row in self.connection.execute(f"SELECT c.id FROM contacts c WHERE {plan.check}", {"now": self.now})
            }
            members = {
                row[0]
                for row in self.connection.execute(
                    "SELECT contact_id FROM segment_members WHERE segment_id = ?", (plan.id,)
                )
            }
            opposite = {
                row[0]
                for row in self.connection.execute(
                    f"SELECT c.id FROM contacts c WHERE {sql(Not(not_=condition), SCOPE)}", {"now": self.now}
                )
            }
            what = condition.model_dump_json(exclude_defaults=True, by_alias=True)
            assert full == expected, f"in full: {what}"
            assert single == expected, f"one by one: {what}"
            assert opposite == set(self.world.contacts) - expected, f"negated: {what}"
            assert members == expected, f"incrementally: {what}"
        self.books()

    def books(self) -> None:
        """Transitions alternate, add up to the members, and lie within what was looked at."""
        assert self.connection.execute("SELECT count(*) FROM transitions WHERE at > ?", (self.now,)).fetchone() == (0,)
        rows = self.connection.execute("SELECT segment_id, contact_id, entered FROM transitions ORDER BY id")
        inside: set[tuple[int, int]] = set()
        for segment, who, entered in rows:
            assert ((segment, who) in inside) != bool(entered)
            (inside.add if entered else inside.remove)((segment, who))
        assert inside == set(self.connection.execute("SELECT segment_id, contact_id FROM segment_members"))


def _stored(value):
    match value:
        case bool():
            return int(value)
        case date():
            return value.isoformat()
        case list():
            return json.dumps(value)
    return value


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**40))
def test_incremental_is_full_is_python(seed):
    run = Run(random.Random(seed))
    for _ in range(run.rng.randint(2, 6)):
        run.contact()
    run.declare()
    for _ in range(run.rng.randint(0, 10)):
        run.act()
    if run.rng.random() < 0.5:  # applied to a store with a history, else everything is new to the first look
        run.connection.execute("BEGIN")
        for plan in run.plans:
            judge_in_full(run.connection, plan, run.now)
        start_cursors(run.connection, run.now)
        run.connection.execute("COMMIT")
        run.looked = run.now
        run.agree()
    for _ in range(10):
        for _ in range(run.rng.choice([0, 1, 1, 3, 8])):
            run.act()
        run.look()
        run.now += run.rng.choice([5 * 60_000, HOUR, HOUR, 7 * HOUR, DAY, 3 * DAY])
    run.connection.close()
