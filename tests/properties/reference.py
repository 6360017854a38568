"""What language.md says of conditions, as plain Python over plain Python: the reference that knows nothing of SQL."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from flowctl.engine.localtime import local_plus
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

HOUR, DAY = 3_600_000, 86_400_000
START = int(datetime(2026, 3, 27, 9, tzinfo=UTC).timestamp() * 1000)  # two days before Europe's clocks change
ZONES = {1: "Europe/Paris", 2: "America/New_York", 3: "Asia/Kolkata"}
FIELDS = {"n": "number", "m": "number", "d": "date", "t": "datetime", "g": "tags", "s": "text", "b": "boolean"}
TYPES = {**FIELDS, "email": "email", "phone": "phone", "created_at": "datetime"}
PROPERTIES = {"x": "number", "k": "text"}


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
        return TYPES[field]

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
