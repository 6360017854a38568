"""Quiet hours at the gate: where, when, what comes of caps and expiry, turns, and a provider too slow for the evening."""

from __future__ import annotations

import subprocess
import sys

import pytest

from flowctl.clock import parse
from flowctl.engine import quiet_hours
from flowctl.engine.tick import tick
from tests.engine.world import MINUTE, SETTINGS, World, at, refusals, workflow

FRENCH = '{FR: {days: mon-sat, between: ["10:00", "20:00"], holidays: false}, default: {between: ["08:00", "21:00"]}}'
SMS = workflow("w", steps="- send: hello\n  via: sms")


def quiet(hours: str = f"{{sms: {FRENCH}}}", *texts: str, more: str = "", **said) -> World:
    return World(*(texts or (SMS,)), settings=f"{SETTINGS}quiet_hours: {hours}\n{more}", **said)


def sent_at(world: World, key: str) -> list[int]:
    return [
        when
        for (when,) in world.connection.execute(
            "SELECT m.at FROM message_events m JOIN contacts c ON c.id = m.contact_id WHERE c.key = ? AND m.status = 0 ORDER BY m.at",
            (key,),
        )
    ]


def signup(world: World, key: str, when: str | int, **values) -> None:
    world.contact(key, **{"phone": "+33612345678", **values})
    world.event(key, "signup", at(when))


def test_held_until_the_window_opens_and_told_so():
    world = quiet()
    signup(world, "ana", "10h")  # Monday, 21:00 in Paris
    opens = parse("2026-03-03T09:00:00Z")
    world.ticks("10h5m")
    assert world.journal("ana")[-1] == ("held", {"reason": "quiet_hours", "until": opens})
    world.tick(opens - 1)
    assert sent_at(world, "ana") == []
    world.tick(opens)
    assert sent_at(world, "ana") == [opens]
    assert [kind for kind, _ in world.journal("ana")].count("held") == 1


def test_the_end_is_exclusive():
    world = quiet()
    signup(world, "ana", "1m")
    signup(world, "bob", "9h")
    world.ticks("5m")
    world.tick(at("9h") - 1)
    assert sent_at(world, "ana")
    world.tick(at("9h"))  # 20:00 in Paris
    assert not sent_at(world, "bob")


def test_transactional_passes_at_night():
    world = quiet(f"{{sms: {FRENCH}, email: {FRENCH}}}", workflow("w", steps="- send: receipt\n- send: hello"))
    signup(world, "ana", "12h")
    world.ticks("12h5m")
    assert world.messages("ana") == ["receipt"]


def test_a_channel_not_listed_is_free():
    world = quiet("{sms: {days: mon}}", workflow("w", steps="- send: hello\n  via: email"))
    signup(world, "ana", "1d")
    world.ticks("1d5m")
    assert world.messages("ana") == ["hello"]


@pytest.mark.parametrize(
    ("values", "opens"),
    [
        ({}, "2026-03-03T09:00:00Z"),  # a French number
        ({"country": "BE"}, "2026-03-03T07:00:00Z"),  # said goes before the number
        ({"phone": "+447911123456"}, "2026-03-03T08:00:00Z"),  # 08:00 in London
        ({"phone": "+590690123456"}, "2026-03-03T14:00:00Z"),  # Guadeloupe follows France, in its own zone
        ({"country": "FR", "timezone": "Indian/Reunion"}, "2026-03-03T06:00:00Z"),
        ({"country": "US", "timezone": "America/New_York"}, "2026-03-03T13:00:00Z"),
    ],
)
def test_country_and_zone_are_the_contacts(values, opens):
    world = quiet()
    signup(world, "ana", "2026-03-03T02:30:00Z", **values)
    world.tick(parse("2026-03-03T02:35:00Z"))
    world.tick(parse(opens) - 1)
    assert sent_at(world, "ana") == []
    world.tick(parse(opens))
    assert sent_at(world, "ana") == [parse(opens)]


def test_who_has_no_country_has_the_projects():
    world = quiet("{email: {FR: {days: tue}}}", workflow("w", steps="- send: hello\n  via: email"))
    signup(world, "ana", "1m", phone=None)
    signup(world, "bob", "1m", phone=None, country="BE")  # no rule, and no default
    world.ticks("5m")
    assert world.messages("bob") == ["hello"]
    assert world.messages("ana") == []
    world.tick(parse("2026-03-02T23:00:00Z"))
    assert world.messages("ana") == ["hello"]


def test_public_holidays_and_the_postal_code():
    settings = SETTINGS.replace("due_date: date", "due_date: date\n    postal_code: text")
    world = World(SMS, settings=f"{settings}quiet_hours: {{sms: {FRENCH}}}\n")
    friday = parse("2026-04-03T09:00:00Z")  # Good Friday, 11:00 in Paris
    for key, code in (("ana", "67000"), ("bob", "75002"), ("cat", None)):
        signup(world, key, friday, postal_code=code) if code else signup(world, key, friday)
    world.event("ana", "signup", friday)
    for key in ("bob", "cat"):
        world.event(key, "signup", friday)
    world.tick(friday + 5 * MINUTE)
    assert not sent_at(world, "ana")
    assert sent_at(world, "bob")
    assert sent_at(world, "cat")
    world.tick(parse("2026-04-04T08:00:00Z"))
    assert sent_at(world, "ana")
    easter = parse("2026-04-06T09:00:00Z")
    signup(world, "dan", easter, country="FR")
    world.event("dan", "signup", easter)
    world.tick(easter + 5 * MINUTE)
    assert not sent_at(world, "dan")


def test_the_region_may_stand_in_any_text_field_or_in_the_file():
    world = quiet("{sms: {FR: {holidays: false, subdivision: contact.first_name}}}")
    friday = parse("2026-04-03T09:00:00Z")
    signup(world, "ana", "1d", first_name="FR-57")
    signup(world, "bob", "1d", first_name="Bob")
    world.connection.execute("UPDATE events SET at = ?", (friday,))
    world.tick(friday + 5 * MINUTE)
    assert [len(sent_at(world, key)) for key in ("ana", "bob")] == [0, 1]


def test_with_a_cap_the_later_of_both_counts():
    carts = {"triggers": "[{event: cart_updated}]", "reentry": "{while_active: parallel, after: 1s}"}
    sms = workflow("w", steps="- send: hello\n  via: sms\n  expire_after: 10d", **carts)
    world = quiet(f"{{sms: {FRENCH}}}", sms, more="pressure: {sms: [1 per 12h]}\n")
    world.contact("ana", phone="+33612345678")
    world.event("ana", "cart_updated", at("1m"))
    world.event("ana", "cart_updated", at("2m"))
    world.ticks("5m")  # 11:05 in Paris; room again at 23:05, so at 10:00
    held = [detail for kind, detail in world.journal("ana") if kind == "held"]
    assert held == [{"reason": "quiet_hours", "until": parse("2026-03-03T09:00:00Z")}]
    world.tick(parse("2026-03-03T09:00:00Z"))
    # At night, with room again only at noon.
    world.event("ana", "cart_updated", at("1d12h"))
    world.connection.execute("UPDATE outbox SET counted_at = ?", (parse("2026-03-03T23:00:00Z"),))
    world.tick(at("1d14h"))
    held = [detail for kind, detail in world.journal("ana") if kind == "held"]
    assert held[-1] == {"reason": "cap", "until": parse("2026-03-04T11:00:00Z")}


def test_an_opening_behind_the_expiry_is_a_skip_then():
    world = quiet(f"{{sms: {FRENCH}}}", workflow("w", steps="- send: hello\n  via: sms\n  expire_after: 12h"))
    signup(world, "ana", "10h")
    signup(world, "bob", "11h30m")
    world.ticks("12h", "22h")
    assert world.outbox("ana")[0][2:] == ("skipped", "expired")
    assert [kind for kind, _ in world.journal("ana")][-3:] == ["held", "skipped", "completed"]
    world.ticks("23h")
    assert world.outbox("bob")[0][2:] == ("sent", None)


def test_a_window_that_never_opens_holds_until_expiry():
    world = quiet(
        '{sms: {between: ["02:10", "02:50"]}}', workflow("w", steps="- send: hello\n  via: sms\n  expire_after: 1d")
    )
    start = parse("2026-03-28T12:00:00Z")  # the next night has no 02:10
    signup(world, "ana", start)
    world.event("ana", "signup", start)
    world.tick(start + 5 * MINUTE)
    world.tick(parse("2026-03-29T12:00:00Z"))
    assert world.outbox("ana")[0][2:] == ("skipped", "expired")


# -------------------------------------------------------------------------------------------------------------------- turns


@pytest.fixture
def many(monkeypatch):
    """People for whom a message waits overnight: high priority for every third."""
    monkeypatch.setattr(quiet_hours, "FEW", 20)
    texts = [
        workflow(name, steps="- send: hello\n  via: sms", triggers=f"[{{event: {event}}}]", priority=str(priority))
        for name, event, priority in (("low", "cart_updated", 10), ("high", "signup", 90))
    ]
    world = quiet(f"{{sms: {FRENCH}}}", *texts)
    for number in range(60):
        world.contact(f"c{number}", phone=f"+336123456{number:02}")
        world.event(f"c{number}", "signup" if number % 3 == 0 else "cart_updated", at("12h"))
    world.ticks("12h5m")
    return world


def test_what_waited_leaves_in_turns_by_priority_and_within_the_hour(many):
    opens = parse("2026-03-03T09:00:00Z")
    for minute in range(0, 65, 5):
        many.tick(opens + minute * MINUTE)
    rows = many.connection.execute(
        "SELECT m.at, v.workflow FROM message_events m JOIN enrollments e ON e.id = m.enrollment_id "
        "JOIN workflow_versions v ON v.id = e.version_id ORDER BY m.at, m.id"
    ).fetchall()
    assert len(rows) == 60
    assert rows[-1][0] <= opens + 60 * MINUTE
    for minute in range(0, 60, 5):
        assert sum(when == opens + minute * MINUTE for when, _ in rows) <= 8
    assert [name for _, name in rows] == ["high"] * 20 + ["low"] * 40
    held = [detail["reason"] for kind, detail in many.journal("c59") if kind == "held"]
    assert held == ["quiet_hours", "turn"]


def test_few_need_no_turns(many, monkeypatch):
    monkeypatch.setattr(quiet_hours, "FEW", 60)
    many.tick(parse("2026-03-03T09:00:00Z"))
    assert len(many.sent()) == 60


def test_a_late_tick_spreads_what_is_overdue_over_what_is_left_of_the_day(many):
    late = parse("2026-03-03T18:40:00Z")  # twenty minutes before the end
    many.tick(late)
    assert len(many.sent()) < 15
    for minute in range(0, 11, 1):
        many.tick(late + minute * MINUTE)
    assert len(many.sent()) == 60


def test_what_expires_before_its_turn_leaves_at_once(many):
    many.connection.execute("UPDATE outbox SET expires_at = ?", (parse("2026-03-03T09:31:00Z"),))
    many.tick(parse("2026-03-03T09:00:00Z"))
    assert len(many.sent()) > 55


def test_a_newcomer_does_not_take_the_room_of_who_waits_for_its_turn(monkeypatch):
    monkeypatch.setattr(quiet_hours, "FEW", 20)
    high = workflow("high", steps="- send: hello\n  via: sms", priority="90")
    low = workflow("low", steps="- send: bye\n  via: email", triggers="[{event: cart_updated}]", priority="10")
    world = quiet(f"{{sms: {FRENCH}}}", high, low, more="pressure: {all: [1 per 1d]}\n")
    for number in range(60):
        world.contact(f"c{number}", phone=f"+336123456{number:02}")
        world.event(f"c{number}", "signup", at("12h"))
    world.ticks("12h5m")
    opens = parse("2026-03-03T09:00:00Z")
    world.tick(opens)
    waiting = {key for key in (f"c{number}" for number in range(60)) if not sent_at(world, key)}
    assert len(waiting) > 50
    for key in waiting:
        world.event(key, "cart_updated", opens + MINUTE)
    for minute in range(5, 65, 5):
        world.tick(opens + minute * MINUTE)
    assert all(world.messages(key) == ["hello"] for key in waiting)


# ------------------------------------------------------------------------------------------------------- before transmission


class SlowChannel:
    """Takes a minute a letter: the clock that the tick reads goes on meanwhile."""

    connections = 1

    def __init__(self, clock: list[int]) -> None:
        from flowctl.channels.recording import RecordingChannel

        self._clock = clock
        self._real = RecordingChannel()
        self.left_at: list[int] = []

    def open(self):
        return self

    def transmit(self, letter, commit):
        receipt = self._real.transmit(letter, commit)
        if receipt.outcome == "sent" and not receipt.fenced:
            self.left_at.append(self._clock[0])
        self._clock[0] += MINUTE
        return receipt

    def close(self) -> None:
        pass


def test_nothing_is_transmitted_once_the_window_closed_however_long_the_tick_takes():
    world = quiet()
    for number in range(12):
        signup(world, f"c{number}", "8h50m", phone=f"+336123456{number:02}")
    closes, clock = at("9h"), [at("8h55m")]  # 19:55 in Paris
    slow = SlowChannel(clock)
    tick(world.store, clock=lambda: clock[0], channels={"sms": slow})
    assert 3 <= len(slow.left_at) <= 6
    assert max(slow.left_at) < closes
    tick(world.store, clock=lambda: clock[0], channels={"sms": slow})
    assert max(slow.left_at) < closes
    states = [row[2:] for row in world.outbox()]
    assert states.count(("sent", None)) == len(slow.left_at)
    assert states.count(("ready", "quiet_hours")) == 12 - len(slow.left_at)
    clock[0] = parse("2026-03-03T09:00:00Z")
    tick(world.store, clock=lambda: clock[0], channels={"sms": slow})
    assert len(slow.left_at) == 12


# ------------------------------------------------------------------------------------------------------------- what is refused


def test_unknown_countries_holidays_and_fields_are_refused_where_they_stand():
    assert refusals(SMS, settings=SETTINGS + "quiet_hours: {sms: {XX: {holidays: false}}}\n") == [
        "the public holidays of `XX` are not known"
    ]
    (refused,) = refusals(SMS, settings=SETTINGS + "quiet_hours: {sms: {FR: {holidays: false, subdivision: ZZ}}}\n")
    assert refused.startswith("`ZZ` is no part of `FR`")
    assert refusals(SMS, settings=SETTINGS + 'quiet_hours: {sms: {FR: {holidays: false, subdivision: "75"}}}\n') == []
    with pytest.raises(AssertionError, match="postcode"):
        quiet("{sms: {holidays: false, subdivision: contact.postcode}}")


def test_a_tick_loads_neither_holidays_nor_models_unless_it_needs_them(monkeypatch):
    world = quiet('{sms: {FR: {between: ["10:00", "20:00"]}}}')
    signup(world, "ana", "12h", country="FR", timezone="Europe/Paris")
    for name in [name for name in sys.modules if name.partition(".")[0] == "holidays"]:
        monkeypatch.delitem(sys.modules, name)
    world.ticks("12h5m")
    assert "holidays" not in sys.modules
    heavy = "{'holidays', 'phonenumbers', 'pydantic', 'croniter'}"
    code = f"import sys, flowctl.engine.gate; assert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
