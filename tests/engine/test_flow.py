"""Steps that lead elsewhere: split, repeat, wait_until, start, stop, consent."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.engine.world import DAY, MINUTE, SETTINGS, T0, World, at, workflow


def of(steps: str, *people: str, settings: str = SETTINGS, **keys: str) -> World:
    world = World(workflow("w", steps=steps, **keys), settings=settings)
    for key in people or ("ana",):
        world.contact(key)
        world.event(key, "signup", at("0m"))
    return world


# -------------------------------------------------------------------------------------------------------------------- split


def test_split_shares_and_remembers():
    steps = "- split: {a: 20, b: 80}\n  paths: {a: [{tag: {interests: [toys]}}], b: []}\n- wait: 1h"
    world = of(steps, *(f"c{number}" for number in range(300)), reentry="{after: 1h}")
    world.ticks("5m")
    drawn = {key for key, tags in world.connection.execute("SELECT key, interests FROM contacts") if tags == '["toys"]'}
    assert 35 <= len(drawn) <= 90
    world.connection.execute("UPDATE contacts SET interests = NULL")
    for number in range(300):
        world.event(f"c{number}", "signup", at("3h"))
    world.ticks("2h", "3h5m")
    again = {key for key, tags in world.connection.execute("SELECT key, interests FROM contacts") if tags == '["toys"]'}
    assert again == drawn


# ------------------------------------------------------------------------------------------------------------------- repeat


def test_repeat_counts_from_the_send_and_stops_at_max():
    world = of("- repeat: {every: 1d, max: 3}\n  steps: [{send: hello}]\n- send: bye")
    world.every("30m", "4d")
    assert world.sent("ana") == [
        ("hello", "email", 30),
        ("hello", "email", 30 + 1440),
        ("hello", "email", 30 + 2880),
        ("bye", "email", 30 + 2880),
    ]


def test_repeat_with_growing_gaps_and_while():
    steps = "- repeat: {every: [1h, 3h], max: 10, while: {field: stage, is_not: customer}}\n  steps: [{add: {visits: 1}}]\n- exit: done"
    world = of(steps)
    world.ticks("5m", "1h", "3h59m")
    assert world.value("ana", "visits") == 2
    world.ticks("4h", "6h59m")
    assert world.value("ana", "visits") == 3
    world.set("ana", at("6h59m"), stage="customer")
    world.ticks("7h")
    assert world.value("ana", "visits") == 3
    assert world.ended("ana") == [("exited", "done", 420)]


def test_repeat_waits_for_a_held_send_to_leave():
    steps = "- send: bye\n- repeat: {every: 6h, max: 2}\n  steps: [{send: hello}]"
    world = of(steps, settings=SETTINGS + "pressure: {email: [1 per 1d]}\n")
    world.ticks("5m", "12h", "1d5m", "1d7h", "2d5m")
    assert [row[2] for row in world.sent("ana")] == [5, 1445, 2885]
    assert world.states() == [("completed", None)]


def test_repeat_never_begins_a_turn_before_its_steps_end():
    world = of("- repeat: {every: 1h, max: 2}\n  steps: [{add: {visits: 1}}, {wait: 5h}]\n- exit: done")
    world.ticks("5m", "4h")
    assert world.value("ana", "visits") == 1
    world.ticks("5h", "10h")
    assert world.ended("ana") == [("exited", "done", 600)]
    assert world.value("ana", "visits") == 2


def test_a_late_tick_takes_all_turns_of_a_repeat_that_sends_nothing_at_their_times():
    world = of("- repeat: {every: 1h, max: 4}\n  steps: [{add: {visits: 1}}]\n- exit: done")
    world.ticks("1d")
    assert world.value("ana", "visits") == 4
    assert world.ended("ana") == [("exited", "done", 180)]


# --------------------------------------------------------------------------------------------------------------- wait_until


def test_wait_until_a_date_and_one_that_passed():
    world = of("- wait_until: {date: 2026-03-02T12:00}\n- wait_until: {date: 2026-03-01T12:00}\n- exit: done")
    world.tick(at("1h") - 1)
    assert world.states() == [("active", None)]
    world.ticks("2h")
    assert world.ended("ana") == [("exited", "done", 60)]


@pytest.mark.parametrize(
    ("due", "outcome"),
    [
        (None, ("exited", "missing", 0)),
        ("2026-03-05", ("exited", "past", 0)),  # ten days before it lie behind
        ("2026-03-15", ("exited", "done", (4 * DAY - 2 * 3_600_000) / MINUTE - 1440 + 0)),
    ],
)
def test_wait_until_a_field_minus_a_span(due, outcome):
    steps = '- wait_until: {from: contact.due_date, minus: 10d, time: "09:00", on_missing: [{exit: missing}], on_past: [{exit: past}]}\n- exit: done'
    world = World(workflow("w", steps=steps))
    world.contact("ana", due_date=due)
    world.event("ana", "signup", at("0m"))
    world.ticks("5m", "10d")
    if due == "2026-03-15":
        # 5 March, 09:00 in Paris.
        outcome = ("exited", "done", (at("2026-03-05T08:00Z") - T0) / MINUTE)
    assert world.ended("ana") == [outcome]


@pytest.mark.parametrize(
    ("changed", "outcome"),
    [
        ("2026-03-18", ("exited", "done", "2026-03-08T08:00Z")),  # put off
        ("2026-03-14", ("exited", "done", "2026-03-04T08:00Z")),  # brought forward
        ("2026-03-12", ("exited", "past", "2026-03-03T10:00Z")),  # so far that its time is over
        (None, ("exited", "missing", "2026-03-03T10:00Z")),
        ("2026-03-15", ("exited", "done", "2026-03-05T08:00Z")),  # no change at all
    ],
)
@pytest.mark.parametrize("late", [False, True])
def test_a_field_that_changes_moves_the_wait(changed, outcome, late):
    steps = '- wait_until: {from: contact.due_date, minus: 10d, time: "09:00", on_missing: [{exit: missing}], on_past: [{exit: past}]}\n- exit: done'
    world = World(workflow("w", steps=steps))
    world.contact("ana", due_date="2026-03-15")
    world.event("ana", "signup", at("0m"))
    world.ticks("5m")
    world.set("ana", at("1d"), due_date=changed)
    if late:
        world.ticks("20d")
    else:
        world.every("1d", "20d")
    state, reason, when = outcome
    assert world.ended("ana") == [(state, reason, (at(when) - T0) / MINUTE)]


@pytest.mark.parametrize(
    ("slot", "end"),
    [
        ('{days: mon-fri, between: ["09:00", "18:00"]}', "2026-03-02T10:00Z"),  # open now
        ('{days: mon-fri, between: ["14:00", "18:00"]}', "2026-03-02T13:00Z"),
        ('{days: tue, between: ["08:00", "09:00"]}', "2026-03-03T07:00Z"),
        ('{days: mon, between: ["08:00", "11:00"]}', "2026-03-09T07:00Z"),  # the end is not in it
    ],
)
def test_wait_until_a_slot(slot, end):
    world = of(f"- wait_until: {{slot: {slot}}}\n- exit: done")
    world.ticks("5m", "14d")
    assert world.ended("ana")[0][2] == (at(end) - T0) / MINUTE


# -------------------------------------------------------------------------------------------------------------- start, stop


def test_start_hands_over_in_the_same_tick():
    world = World(
        workflow("w", steps="- start: {workflow: x, with: {word: hi}}\n- exit: done"),
        workflow(
            "x",
            triggers="[{manual: true}]",
            inputs="{word: text}",
            steps="- if: {input: {word: hi}}\n  then: [{send: hello}]\n- send: bye",
        ),
    )
    world.contact("ana")
    world.event("ana", "signup", at("1m"))
    world.ticks("5m", "5m", "10m")
    assert world.messages("ana") == ["hello", "bye"]
    assert Counter(world.entered()) == Counter({("ana", 1.0): 2})


def test_start_respects_the_audience_and_the_re_entry_of_its_target():
    world = World(
        workflow("w", steps="- start: {workflow: x}", reentry="{after: 1h}"),
        workflow("x", triggers="[{manual: true}]", audience="{field: engagement, gte: 5}", steps="- send: hello"),
    )
    for key, value in (("in", 5), ("out", 4)):
        world.contact(key, engagement=value)
        for offset in ("1m", "3h"):
            world.event(key, "signup", at(offset))
    world.ticks("5m", "3h5m")
    assert world.sent() == [("in", "hello", "email", 5)]
    assert len(world.entered("w")) == 4


def test_workflows_that_start_each_other_without_time_stop_nobody():
    loop = "{{while_active: parallel, after: 1s, since: exit, key: trigger.at}}".replace("{{", "{").replace("}}", "}")
    world = World(
        workflow("one", steps="- start: {workflow: two}\n- wait: 1h", reentry=loop),
        workflow("two", triggers="[{manual: true}]", steps="- start: {workflow: one}\n- wait: 1h", reentry=loop),
        workflow("w", steps="- send: hello"),
    )
    for key in ("ana", "bob"):
        world.contact(key)
        world.event(key, "signup", at("1m"))
    report = world.tick(at("5m"))
    assert sorted(row[0] for row in world.sent()) == ["ana", "bob"]
    assert report.slices < 5


def test_stop_ends_the_others_and_takes_their_messages_back():
    world = World(
        workflow("w", steps="- send: bye\n- send: hello"),
        workflow("x", triggers="[{event: purchase}]", steps="- stop: w\n- exit: done"),
        settings=SETTINGS + "pressure: {email: [1 per 1d]}\n",
    )
    for key in ("ana", "bob"):
        world.contact(key)
        world.event(key, "signup", at("1m"))
    world.ticks("5m")
    world.event("ana", "purchase", at("10m"))
    world.ticks("15m", "2d")
    assert (world.messages("ana"), world.messages("bob")) == (["bye"], ["bye", "hello"])
    assert world.states("w", "ana") == [("exited", "stopped")]


def test_stop_of_an_enrollment_in_the_same_batch():
    world = World(
        workflow("a", steps="- wait: 1h\n- stop: b\n- exit: done"),
        workflow("b", steps="- wait: 1h\n- send: hello"),
        workflow("c", steps="- wait: 1h\n- send: bye"),
    )
    world.contact("ana")
    world.event("ana", "signup", at("1m"))
    world.ticks("5m", "2h")
    assert world.messages("ana") == ["bye"]
    assert world.states("b") == [("exited", "stopped")]


# ------------------------------------------------------------------------------------------------------------------ consent


def test_consent_given_by_a_step_lets_the_next_send_go_and_withdrawing_stops_it():
    world = World(
        workflow(
            "w",
            steps="- consent: {grant: email, purpose: marketing, source: form}\n- send: hello\n- consent: {withdraw: email}\n- send: bye",
        )
    )
    world.contact("ana", consent=(), email="ana@example.com")
    world.event("ana", "signup", at("1m"))
    world.ticks("5m")
    assert world.messages("ana") == ["hello"]
    assert world.states() == [("completed", None)]


def test_the_source_of_a_consent_may_name_what_started_the_journey():
    """What is kept as evidence is what was said, not the template that says it; a contact's own braces stay text."""
    steps = "- consent: {grant: email, source: 'cart {{ trigger.cart_id }}'}\n- consent: {withdraw: sms}"
    world = World(workflow("w", triggers="[{event: cart_updated}]", steps=steps))
    for key, cart in (("ana", "c1"), ("bob", "{{ 7 * 7 }}")):
        world.contact(key, consent=(), email=f"{key}@example.com")
        world.event(key, "cart_updated", at("1m"), cart_id=cart)
    world.ticks("5m")
    rows = world.connection.execute(
        "SELECT c.key, s.source FROM consents s JOIN contacts c ON c.id = s.contact_id ORDER BY 1, 2"
    )
    assert rows.fetchall() == [
        ("ana", "cart c1"), ("ana", "workflow file0.yaml:5"), ("bob", "cart {{ 7 * 7 }}"), ("bob", "workflow file0.yaml:5"),
    ]  # fmt: skip
    assert [said for kind, said in world.journal("ana") if kind == "set"] == [
        {"field": "consent.email", "new": "granted"},
        {"field": "consent.sms", "new": "withdrawn"},
    ]


@pytest.mark.parametrize("due", ["9999-12-31", "0000-01-01"])
def test_wait_until_a_date_that_no_calendar_reaches_is_missing_and_stops_nobody(due):
    steps = "- wait_until: {from: contact.due_date, plus: 10d, on_missing: [{exit: missing}], on_past: [{exit: past}]}\n- exit: done"
    world = World(workflow("w", steps=steps))
    for key in ("ana", "odd"):
        world.contact(key, due_date="2026-03-02")
        world.event(key, "signup", at("0m"))
    world.connection.execute("UPDATE contacts SET due_date = ? WHERE key = 'odd'", (due,))
    world.ticks("5m", "12d")
    assert world.states(key="odd") == [("exited", "missing")]
    assert world.states(key="ana") == [("exited", "done")]
