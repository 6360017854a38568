"""create, the record trigger, templates as values."""

import json

from tests.engine.world import SETTINGS, T0, World, at, refusals, workflow

RECORDS = SETTINGS + "records: {opportunity: {fields: {title: text, value: number, hot: boolean, tags: tags}}}\n"
OPEN = "create: {record: opportunity, key: trigger.cart_id, values: {title: 'Cart of {{ contact.first_name }}', value: {from: trigger.items}}}"


def records(world, key=None):
    return [
        (who, kind, own, json.loads(values))
        for who, kind, own, values in world.connection.execute(
            "SELECT c.key, r.kind, r.key, r.record_values FROM records r JOIN contacts c ON c.id = r.contact_id "
            "WHERE c.key = coalesce(?, c.key) ORDER BY r.id",
            (key,),
        )
    ]


def cart(world, key, when, **props):
    world.event(key, "cart_updated", at(when), **props)


def opening(**keys):
    said = {"triggers": "[{event: cart_updated}]", "reentry": "{after: 1s, while_active: parallel}", **keys}
    return workflow("opening", steps=f"- {OPEN}", **said)


def test_a_record_is_made_once_per_key_with_values_of_its_types():
    world = World(opening(), settings=RECORDS)
    world.contact("ana", first_name="Ana")
    world.contact("ben", first_name="Ben")
    cart(world, "ana", "1m", items=2, cart_id="c1")
    cart(world, "ben", "1m", items=5, cart_id="c1")
    world.tick(at("1m"))
    cart(world, "ana", "2m", items=3, cart_id="c1")
    cart(world, "ana", "3m", items=4, cart_id="c2")
    world.ticks("2m", "3m", "3m")
    made = [
        ("opportunity", "c1", {"title": "Cart of Ana", "value": 2}),
        ("opportunity", "c2", {"title": "Cart of Ana", "value": 4}),
    ]
    assert [row[1:] for row in records(world, "ana")] == made
    assert records(world, "ben") == [("ben", "opportunity", "c1", {"title": "Cart of Ben", "value": 5})]
    told = [detail["existing"] for kind, detail in world.journal("ana") if kind == "recorded"]
    assert told == [0, 1, 0]


def test_values_are_json_of_their_types():
    values = "{hot: true, tags: {from: contact.interests}, value: '{{ 1.5 * 2 }}', title: {from: contact.stage}}"
    world = World(workflow("w", steps=f"- create: {{record: opportunity, values: {values}}}"), settings=RECORDS)
    world.contact("ana", interests='["books"]')
    world.event("ana", "signup", at("1m"))
    world.tick(at("1m"))
    assert [row[3] for row in records(world)] == [{"hot": True, "tags": ["books"], "value": 3, "title": None}]


def test_without_a_key_every_arrival_makes_one():
    world = World(workflow("w", reentry="{after: 1s}", steps="- create: {record: ticket, values: {subject: late}}"))
    world.contact("ana")
    for minute in ("1m", "2m"):
        world.event("ana", "signup", at(minute))
        world.tick(at(minute))
    assert records(world) == [("ana", "ticket", None, {"subject": "late"})] * 2


def test_a_record_starts_the_workflow_that_waits_for_its_kind_and_values():
    welcome = workflow(
        "big",
        triggers="[{record: opportunity, where: {value: {gte: 4}}}]",
        reentry="{after: 1s}",
        steps="- set: {first_name: {from: trigger.key}}",
    )
    world = World(opening(), welcome, settings=RECORDS)
    world.contact("ana", first_name="Ana")
    cart(world, "ana", "1m", items=2, cart_id="small")
    world.tick(at("1m"))
    assert world.entered("big") == []
    cart(world, "ana", "2m", items=9, cart_id="large")
    world.ticks("2m", "3m", "1h")
    assert world.entered("big") == [("ana", 2)]
    assert world.value("ana", "first_name") == "large"


def test_a_record_dated_ahead_starts_it_when_its_time_comes():
    world = World(workflow("w", triggers="[{record: ticket}]", steps="- wait: 1d"))
    number = world.contact("ana")
    world.connection.execute(
        "INSERT INTO records VALUES (NULL, ?, 'ticket', 'x', 'key:x', '{}', ?, NULL)", (number, at("2h"))
    )
    world.ticks("1h")
    assert world.entered() == []
    world.ticks("2h", "3h")
    assert world.entered() == [("ana", 120)]


def test_a_late_tick_makes_the_records_of_ticks_on_time():
    def lived(*ticks):
        world = World(opening(), settings=RECORDS)
        world.contact("ana", first_name="Ana")
        for minute in (3, 6, 9):
            cart(world, "ana", f"{minute}m", items=minute, cart_id=f"c{minute % 2}")
        world.ticks(*ticks)
        return records(world)

    assert lived("3m", "6m", "9m", "12m") == lived("12m")


def test_templates_in_set_are_cast_and_one_that_fails_fails_its_row_alone():
    world = World(
        workflow(
            "w",
            steps="- set: {visits: '{{ contact.first_name|length + 1 }}', first_name: '{{ contact.first_name|upper }}'}\n- wait: 1d",
        )
    )
    world.contact("ana", first_name="Ana")
    world.contact("nobody")
    for key in ("ana", "nobody"):
        world.event(key, "signup", at("1m"))
    world.tick(at("1m"))
    assert (world.value("ana", "visits"), world.value("ana", "first_name")) == (4, "ANA")
    assert world.states("w", "ana") == [("active", None)]
    [(state, reason)] = world.states("w", "nobody")
    assert state == "failed"
    assert "first_name" in reason


def test_a_template_whose_result_is_not_of_the_type_fails_its_row():
    world = World(workflow("w", steps="- set: {visits: '{{ contact.first_name }}'}"))
    world.contact("ana", first_name="12")
    world.contact("ben", first_name="twelve")
    for key in ("ana", "ben"):
        world.event(key, "signup", at("1m"))
    world.tick(at("1m"))
    assert world.value("ana", "visits") == 12
    assert [state for state, _ in world.states()] == ["completed", "failed"]


def test_apply_refuses_templates_that_cannot_run():
    [unknown] = refusals(workflow("w", steps="- set: {first_name: '{{ kontact.first_name }}'}"))
    assert "`kontact`" in unknown
    [broken] = refusals(workflow("w", steps="- set: {first_name: '{{ contact.first_name'}"))
    assert "template" in broken


def test_start_hands_over_what_a_template_makes():
    target = workflow(
        "target", triggers="[{manual: true}]", inputs="{who: text}", steps="- set: {first_name: {from: input.who}}"
    )
    world = World(
        workflow("w", steps="- start: {workflow: target, with: {who: 'Dr {{ contact.first_name }}'}}"), target
    )
    world.contact("ana", first_name="Ana")
    world.event("ana", "signup", T0 + 1)
    world.tick(at("1m"))
    assert world.value("ana", "first_name") == "Dr Ana"


def test_what_a_template_makes_of_a_contact_is_no_template():
    world = World(workflow("w", steps="- set: {first_name: 'Dr {{ contact.first_name }}'}\n- notify: {team: sales}\n  text: '{{ contact.first_name }}'"),
                  settings=SETTINGS + "teams: {sales: {email: sales@example.com}}\n")  # fmt: skip
    world.contact("ana", first_name="{{ 7 * 7 }}' || '")
    world.event("ana", "signup", at("1m"))
    world.tick(at("1m"))
    assert world.value("ana", "first_name") == "Dr {{ 7 * 7 }}' || '"
    assert world.connection.execute("SELECT text FROM notices").fetchall() == [("Dr {{ 7 * 7 }}' || '",)]


def test_many_rows_are_rendered_in_short_transactions(monkeypatch):
    from flowctl.engine import advance

    monkeypatch.setattr(advance, "RENDERED_ROWS", 3)
    world = World(workflow("w", steps="- set: {first_name: '{{ contact.key|upper }}'}"))
    for number in range(8):
        world.contact(f"k{number}")
        world.event(f"k{number}", "signup", at("1m"))
    begun = []
    world.connection.set_trace_callback(lambda said: begun.append(said) if said.startswith("BEGIN") else None)
    world.tick(at("1m"))
    world.connection.set_trace_callback(None)
    assert [world.value(f"k{number}", "first_name") for number in range(8)] == [f"K{number}" for number in range(8)]
    assert len(begun) >= 3
