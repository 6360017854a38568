"""Segments: members kept up to date slice by slice = members judged in full = what a plain Python evaluator says.

The evaluator below is written from language.md and knows nothing of SQL. Histories hold late and future facts, values of the wrong type,
unknown values, clock changes; conditions are nested, negated, counted, summed, windowed, and ask about other segments.
"""

from __future__ import annotations

import json
import random
import sqlite3
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from flowctl.engine.conditions import Scope, full_sql, probes, sql, unsupported
from flowctl.engine.conditions.message import STATUSES
from flowctl.engine.localtime import local_plus, refresh_zones
from flowctl.engine.observe import advance_cursors, judge_in_full, new_facts, observe, start_cursors
from flowctl.engine.segments import SegmentPlan
from flowctl.language.conditions import (
    AllOf,
    AnyOf,
    Condition,
    EventLeaf,
    FieldLeaf,
    MessageLeaf,
    Not,
    ReachableLeaf,
    SegmentLeaf,
    TimeLeaf,
    WorkflowLeaf,
)
from flowctl.language.durations import Duration, parse
from flowctl.language.values import From, comparison
from flowctl.store import fields as store_fields
from flowctl.store.database import open_store

HOUR, DAY = 3_600_000, 86_400_000
START = int(datetime(2026, 3, 27, 9, tzinfo=UTC).timestamp() * 1000)  # two days before Europe's clocks change
ZONES = {1: "Europe/Paris", 2: "America/New_York", 3: "Asia/Kolkata"}
FIELDS = {"n": "number", "m": "number", "d": "date", "t": "datetime", "g": "tags", "s": "text", "b": "boolean"}
EVENTS = {"a": 1, "b": 2}
PROPERTIES = {"x": "number", "k": "text"}
SEGMENTS = {"first": 1, "second": 2, "third": 3}
SCOPE = Scope(
    field_types={**FIELDS, "email": "email", "phone": "phone", "created_at": "datetime"},
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
    connection.execute("INSERT INTO releases VALUES (1, 0, 'x', 'x', '{}', '{}', 1)")
    connection.execute("INSERT INTO workflow_versions VALUES (1, 'w', 1, 1, 'x', 'x', '{}')")
    return store


TEMPLATE = _template()


# ---------------------------------------------------------------------------------------------- what the language says, in Python


class World:
    """What is known about everybody, as plain Python."""

    def __init__(self) -> None:
        self.contacts: dict[int, dict] = {}
        self.events: list[tuple[int, int, str, int, dict]] = []
        self.statuses: list[tuple[int, str, str, int]] = []
        self.enrollments: list[dict] = []
        self.segments: dict[str, Condition] = {}
        self.now = START

    def holds(self, condition, who: int) -> bool:
        match condition:
            case AllOf():
                return all(self.holds(part, who) for part in condition.all_)
            case AnyOf():
                return any(self.holds(part, who) for part in condition.any_)
            case Not():
                return not self.holds(condition.not_, who)
            case SegmentLeaf():
                return self.holds(self.segments[condition.segment], who)
            case FieldLeaf():
                return self._compare(
                    condition, self.contacts[who].get(condition.field), self._type(condition.field), who
                )
            case EventLeaf():
                return self._event(condition, who)
            case MessageLeaf():
                return self._message(condition, who)
            case ReachableLeaf():
                contact = self.contacts[who]
                channel, purpose = condition.reachable.channel, condition.reachable.purpose
                address = contact.get("email" if channel == "email" else "phone")
                consents = purpose == "transactional" or contact["consents"].get(channel, False)
                return address is not None and consents and channel not in contact["suppressed"]
            case TimeLeaf():
                return self._slot(condition.time, who)
            case WorkflowLeaf():
                return self._workflow(condition.state, who)
        raise AssertionError(condition)

    def _type(self, field: str) -> str:
        return SCOPE.field_types[field]

    def _local(self, at: int, who: int) -> datetime:
        zone = self.contacts[who]["zone"] or 1
        return datetime.fromtimestamp(at / 1000, UTC).astimezone(ZoneInfo(ZONES[zone]))

    def _window(self, at: int, since, between) -> bool:
        if at > self.now:
            return False
        if between is not None:
            return self.now - between[0].elapsed_ms < at <= self.now - between[1].elapsed_ms
        return since == "ever" or at > self.now - since.elapsed_ms

    def _event(self, leaf, who: int) -> bool:
        found = sorted(
            (at, number, props)
            for number, contact, name, at, props in self.events
            if contact == who
            and name == leaf.event
            and self._window(at, leaf.since, leaf.between)
            and self._where(leaf.where, props, who)
        )
        if leaf.count is not None:
            return _bounded(len(found), leaf.count.bounds())
        if leaf.sum_ is not None:
            ((name, bounds),) = leaf.sum_.items()
            return _bounded(sum(v for _, _, props in found if _is_number(v := props.get(name))), bounds.bounds())
        if leaf.last is not None:
            return bool(found) and self._where(leaf.last, found[-1][2], who)
        return bool(found)

    def _where(self, where, props: dict, who: int) -> bool:
        return all(
            self._compare(comparison(asked), _typed(props.get(name), PROPERTIES[name]), PROPERTIES[name], who)
            for name, asked in where.items()
        )

    def _message(self, leaf, who: int) -> bool:
        found = [
            at
            for contact, message, status, at in self.statuses
            if contact == who
            and leaf.message in (message, "any")
            and status == leaf.status
            and self._window(at, leaf.since, None)
        ]
        return _bounded(len(found), leaf.count.bounds()) if leaf.count else bool(found)

    def _workflow(self, state: str, who: int) -> bool:
        mine = [enrollment for enrollment in self.enrollments if enrollment["contact"] == who]
        ended = sorted((e["ended_at"], e["id"], e["state"]) for e in mine if e["ended_at"] is not None)
        match state:
            case "active":
                return any(e["ended_at"] is None for e in mine)
            case "never":
                return not mine
            case "completed":
                return bool(ended) and ended[-1][2] == 1
        return bool(ended) and ended[-1][2] in (2, 4)

    def _slot(self, slot, who: int) -> bool:
        local = self._local(self.now, who)
        names = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
        if slot.between is None:
            return names[local.weekday()] in slot.days
        start, end = slot.between
        now = local.time().replace(second=0, microsecond=0)
        if start < end:
            return names[local.weekday()] in slot.days and start <= now < end
        return (names[local.weekday()] in slot.days and now >= start) or (
            names[local.weekday() - 1] in slot.days and now < end
        )

    def _compare(self, asked, value, type_: str, who: int) -> bool:
        return all(self._one(name, wanted, value, type_, who) for name, wanted in asked.operators().items())

    def _one(self, name: str, wanted, value, type_: str, who: int) -> bool:  # noqa: C901, PLR0912 - one case an operator
        if name == "known":
            return (value is not None and value != []) == wanted
        if name == "is_not":
            return not self._one("is", wanted, value, type_, who)
        if name == "not_in":
            return not self._one("in", wanted, value, type_, who)
        if value is None:
            return False
        today = self._local(self.now, who).date()
        match name:
            case "has" | "has_any" | "has_all":
                wanted = [wanted] if isinstance(wanted, str) else wanted
                return (any if name == "has_any" else all)(tag in value for tag in wanted)
            case "contains":
                return wanted in value
            case "starts_with":
                return value.startswith(wanted)
            case "in":
                return any(self._one("is", one, value, type_, who) for one in wanted)
            case "between":
                return self._one("gte", wanted[0], value, type_, who) and self._one("lte", wanted[1], value, type_, who)
            case "within_last" if type_ == "date":
                return _moved(today, -wanted) <= value <= today
            case "within_next" if type_ == "date":
                return today <= value <= _moved(today, wanted)
            case "within_last":
                return self.now - wanted.elapsed_ms < value <= self.now
            case "within_next":
                return self.now < value <= self.now + wanted.elapsed_ms
            case "anniversary":
                target = today if wanted == "today" else _moved(today, -parse(wanted))
                if value >= target:
                    return False
                day = (
                    value.replace(year=target.year)
                    if (value.month, value.day) != (2, 29)
                    else _february_29(target.year)
                )
                return day == target
        other = self._value(wanted, type_, who)
        if other is None:
            return False
        return {
            "is": value == other, "gt": value > other, "after": value > other, "gte": value >= other, "lt": value < other,
            "before": value < other, "lte": value <= other,
        }[name]  # fmt: skip

    def _value(self, wanted, type_: str, who: int):
        if isinstance(wanted, From):
            if wanted.from_ == "now":
                value = self._local(self.now, who).date() if type_ == "date" else self.now
            else:
                value = self.contacts[who].get(wanted.from_.removeprefix("contact."))
            for duration in filter(None, (wanted.plus, -wanted.minus if wanted.minus else None)):
                if value is not None:
                    value = _moved(value, duration) if type_ == "date" else value + duration.elapsed_ms
            return value
        if type_ == "date":
            return self._local(self.now, who).date() if wanted == "today" else date.fromisoformat(wanted)
        return wanted


def _is_number(value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _typed(value, type_: str):
    fits = _is_number(value) if type_ == "number" else isinstance(value, str)
    return value if fits else None


def _bounded(value: float, bounds: dict) -> bool:
    tests = {
        "is": lambda b: value == b,
        "gt": lambda b: value > b,
        "gte": lambda b: value >= b,
        "lt": lambda b: value < b,
        "lte": lambda b: value <= b,
    }
    return all(tests[name](bound) for name, bound in bounds.items())


def _moved(day: date, duration: Duration) -> date:
    at = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() * 1000)
    days = duration.days + int(duration.ms / DAY)
    return datetime.fromtimestamp(local_plus(at, "UTC", Duration(duration.months, days)) / 1000, UTC).date()


def _february_29(year: int) -> date:
    return date(year, 3, 1) - timedelta(days=1)


# ------------------------------------------------------------------------------------------------------- random conditions, histories


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
            observe(self.connection, self.plans, t0, self.now)
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
