"""One contact whose values nothing can be made of, among others: it fails alone, at whatever stage of a tick that is."""

from __future__ import annotations

import pytest

from flowctl.channels.recording import RecordingChannel
from flowctl.report.audit import audit
from tests.engine.world import MESSAGES, SETTINGS, World, at, workflow

PEOPLE = 12
NAMED = MESSAGES + (
    "  named:\n"
    "    email: {from: shop, subject: \"Dear {{ contact.first_name|default('you') }}\", text: \"Dear {{ contact.first_name|default('you') }}\"}\n"
    "    sms: {text: \"Dear {{ contact.first_name|default('you') }}\"}\n"
    "  counted:\n"
    '    email: {from: shop, subject: Visits, text: "{{ contact.visits + 1 }}"}\n'
    "  endless:\n"
    '    email: {from: shop, subject: Visits, text: "{% for a in range(999) %}{% for b in range(contact.visits) %}{% for c in range(999) %}x{% endfor %}{% endfor %}{% endfor %}"}\n'
)


class Threaded(RecordingChannel):
    inline = False


def world_of(*texts, channel=RecordingChannel, settings=SETTINGS) -> World:
    world = World(*texts, channel=channel(), messages=NAMED, settings=settings)
    for number in range(PEOPLE):
        world.contact(f"c{number:02}", phone=f"+336123456{number:02}", visits=number, first_name=f"Name {number}")
        world.event(f"c{number:02}", "signup", at("1m"))
    return world


def poison(world, column: str, sql: str, key: str = "c05") -> None:
    """What no import lets in, and a hand in the file may: the column's value as SQL."""
    world.connection.execute(f'UPDATE contacts SET "{column}" = {sql} WHERE key = ?', (key,))


def others(world, message: str) -> list[str]:
    return sorted(key for key, name, _, _ in world.sent() if name == message and key != "c05")


EVERYBODY_ELSE = [f"c{number:02}" for number in range(PEOPLE) if number != 5]
NOT_UTF8 = "CAST(x'41ff42' AS TEXT)"


@pytest.mark.parametrize("channel", [RecordingChannel, Threaded])
@pytest.mark.parametrize(
    ("message", "column", "value"),
    [
        ("named", "first_name", NOT_UTF8),
        ("named", "email", f"{NOT_UTF8} || '@example.com'"),
        ("named", "language", NOT_UTF8),
        ("named", "timezone", NOT_UTF8),
        ("named", "key", NOT_UTF8),
        ("counted", "visits", "NULL"),
        ("counted", "visits", "9223372036854775807"),
        ("endless", "visits", "999999999"),
    ],
)
def test_a_value_that_nothing_can_be_made_of(message, column, value, channel):
    world = world_of(
        workflow("w", steps=f"- send: {message}\n  via: email\n- set: {{stage: customer}}"), channel=channel
    )
    if message == "endless":
        world.connection.execute("UPDATE contacts SET visits = 0")
    poison(world, column, value)
    world.ticks("5m", "10m")
    sent = [letter.recipient for letter in world.channel.transmitted]
    assert {f"{key}@example.com" for key in EVERYBODY_ELSE} <= set(sent)
    assert len(sent) == len(set(sent))
    rows = dict(world.connection.execute("SELECT o.contact_id, o.state FROM outbox o").fetchall())
    assert set(rows.values()) <= {3, 4}
    assert {state for state, _ in world.states()} <= {"completed", "failed"}
    assert (
        world.connection.execute("SELECT count(*) FROM contacts WHERE stage = 'customer'").fetchone()[0] >= PEOPLE - 1
    )


@pytest.mark.parametrize(
    "name",
    [
        "Ana\r\nBcc: everybody@example.com",
        "=?utf-8?q?Ana=0D=0ABcc:_x@example.com?=",
        "Ana\x00\x1b[31m\x85",
        "{{ 7 * 7 }}{% for x in range(9) %}",
        "\U0001f600 \u202eanA",
        "a" * 100_000,
    ],
)
def test_a_name_that_would_be_more_than_a_name(name):
    world = world_of(workflow("w", steps="- send: named\n  via: {all: [email, sms]}"))
    world.set("c05", at("1m"), first_name=name)
    world.ticks("5m", "10m")
    letters = [letter for letter in world.channel.transmitted if letter.recipient == "c05@example.com"]
    for letter in letters:
        head = letter.payload.split(b"\r\n\r\n")[0].lower()
        assert b"\nbcc:" not in head
        assert b"\x00" not in head
    assert len(others(world, "named")) == 2 * (PEOPLE - 1)


@pytest.mark.parametrize("stage", ["gate", "enrol", "exit", "segment", "wait", "goal"])
def test_a_value_that_no_condition_can_judge(stage):
    """Conditions over it are asked at each stage; the others go on."""
    odd = "{field: first_name, contains: Name}"
    texts = {
        "gate": [workflow("w", steps=f"- send: hello\n  via: email\n  when: {odd}")],
        "enrol": [workflow("w", audience=odd, steps="- send: hello\n  via: email")],
        "exit": [workflow("w", exit_when="[{field: first_name, is: gone}]", steps="- send: hello\n  via: email")],
        "segment": [
            "segment: named\nmatch: " + odd + "\n",
            workflow("w", triggers="[{enters: named, existing: enroll}]", steps="- send: hello\n  via: email"),
        ],
        "wait": [workflow("w", steps=f"- wait_for: {odd}\n  timeout: 1h\n- send: hello\n  via: email")],
        "goal": [workflow("w", goal="{field: first_name, is: done}", steps="- send: hello\n  via: email")],
    }[stage]
    world = world_of(*texts)
    poison(world, "first_name", NOT_UTF8)
    world.ticks("5m", "10m", "2h")
    assert others(world, "hello") == EVERYBODY_ELSE
    assert audit(world.store, now=at("2h")).differences == ()


def test_a_fact_whose_properties_nothing_can_be_made_of():
    world = world_of(
        workflow(
            "w",
            triggers="[{event: purchase, where: {amount: {gte: 10}}}]",
            steps="- if: {event: purchase, since: 30d, sum: {amount: {gte: 100}}}\n  then: [{send: hello}]\n  else: [{send: bye}]",
        )
    )
    for number in range(PEOPLE):
        world.event(f"c{number:02}", "purchase", at("2m"), amount=50)
    for amount in (9e307, 9e307, 2**62, 2**62, "12", None, [1], {"a": 1}, True):
        world.event("c05", "purchase", at("3m"), amount=amount)
    world.ticks("5m", "10m")
    assert others(world, "bye") == EVERYBODY_ELSE


@pytest.mark.parametrize("channel", [RecordingChannel, Threaded])
@pytest.mark.parametrize("stage", ["gate", "enrol"])
def test_a_row_that_sqlite_itself_cannot_judge(stage, channel):
    """A function that raises for one contact fails the whole statement: it is narrowed down to that contact."""
    from flowctl.store import geography

    place = geography.geofenced
    armed = [stage] if stage == "enrol" else []

    def broken(shape, lat, lon):
        if armed and lat == 50.05:
            message = "no such place"
            raise ValueError(message)
        return place(shape, lat, lon)

    near = "{inside: town}"
    text = {
        "gate": workflow("w", steps=f"- send: hello\n  via: email\n  when: {near}\n- set: {{stage: customer}}"),
        "enrol": workflow("w", audience=near, steps="- send: hello\n  via: email\n- set: {stage: customer}"),
    }[stage]
    world = world_of(text, "geofence: town\ncenter: [50, 3]\nradius: 100km\n", channel=channel)
    world.connection.create_function(
        "geofenced", 3, broken, deterministic=True
    )  # in the place of ours, which never raises
    for number in range(PEOPLE):
        world.event(f"c{number:02}", "position_reported", at("0m"), lat=50 + number / 100, lon=3)
    world.tick(at("5m"), on_delivery=lambda _: armed.append(stage))
    world.ticks("10m")
    assert others(world, "hello") == EVERYBODY_ELSE
    if stage == "gate":
        assert world.outbox("c05")[0][2] == "failed"
        assert "raised exception" in world.outbox("c05")[0][3]
        assert world.value("c05", "stage") == "customer"
    else:
        assert world.states(key="c05") == []
        assert world.journal("c05")[-1][0] == "refused"
        assert "raised exception" in world.journal("c05")[-1][1]["reason"]
    assert world.connection.execute("SELECT count(*) FROM entries").fetchone() == (0,)
