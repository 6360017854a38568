"""Steps: what each does to the contacts at it, and when they go on."""

from __future__ import annotations

from typing import get_args

import pytest

from flowctl.engine.localtime import clock
from flowctl.engine.steps import MODULES, kind_of
from flowctl.engine.triggers import MODULES as TRIGGERS
from flowctl.engine.triggers import kind_of as trigger_kind
from flowctl.language.triggers import KINDS
from flowctl.program.instructions import Op
from tests.engine.world import MINUTE, SETTINGS, T0, World, at, refusals, workflow


def entered(steps: str, *people: str, when: str = "1m", **keys: str) -> World:
    """A world in which everybody signed up."""
    world = World(workflow("w", steps=steps, **keys))
    for key in people or ("ana",):
        world.contact(key)
        world.event(key, "signup", at(when))
    return world


# --------------------------------------------------------------------------------------------------------------------- send


def test_a_send_without_via_takes_the_first_reachable_channel_of_the_message():
    world = World(workflow("w", steps="- send: hello"))
    world.contact("both", phone="+33612345678")
    world.contact("phone", consent=("sms",), phone="+33612345679")
    world.contact("none", consent=())
    for key in ("both", "phone", "none"):
        world.event(key, "signup", at("1m"))
    world.ticks("5m")
    assert world.sent() == [("both", "hello", "email", 5), ("phone", "hello", "sms", 5)]
    assert world.outbox("none") == []
    assert [kind for kind, _ in world.journal("none")] == ["entered", "skipped", "completed"]


def test_via_is_an_order_of_preference():
    world = World(workflow("w", steps="- send: hello\n  via: [push, sms, email]"))
    world.contact("sms", phone="+33612345678")
    world.contact("push", push="token", phone="+33612345679")
    for key in ("sms", "push"):
        world.event(key, "signup", at("1m"))
    world.ticks("5m")
    assert sorted(world.sent()) == [("push", "hello", "push", 5), ("sms", "hello", "sms", 5)]


def test_via_all_sends_on_each_and_moves_on_when_all_are_settled():
    world = World(
        workflow("w", steps="- send: hello\n  via: {all: [email, sms, push]}\n- send: bye"), settings=CAPPED_SMS
    )
    world.contact("ana", phone="+33612345678")
    world.event("ana", "signup", at("1m"))
    world.event("ana", "cart_updated", at("0m"))
    world.ticks("5m")
    assert sorted(world.sent("ana")) == [("bye", "email", 5), ("hello", "email", 5), ("hello", "sms", 5)]


CAPPED_SMS = SETTINGS + "pressure: {sms: [1 per 1d]}\n"


PARENTS = SETTINGS.replace("    push: text\n", "    push: text\n    parent: phone\n")
TO_BOTH = "- send: receipt\n  via: sms\n  to: [contact.phone, contact.parent]\n- send: bye"


def test_to_sends_to_each_address_that_is_known_and_to_the_same_one_once():
    world = World(workflow("w", steps=TO_BOTH), settings=PARENTS)
    world.contact("both", phone="+33612345678", parent="+33612345679")
    world.contact("same", phone="+33612345670", parent="+33612345670")
    world.contact("parent", parent="+33612345671")
    world.contact("nobody")
    people = ("both", "same", "parent", "nobody")
    for key in people:
        world.event(key, "signup", at("1m"))
    world.ticks("5m")
    rows = world.connection.execute(
        "SELECT c.key, o.recipient FROM outbox o JOIN contacts c ON c.id = o.contact_id WHERE o.recipient LIKE '+%'"
    )
    recipients = dict.fromkeys(people, ())
    for key, recipient in rows:
        recipients[key] = tuple(sorted((*recipients[key], recipient)))
    assert recipients == {
        "both": ("+33612345678", "+33612345679"),
        "same": ("+33612345670",),
        "parent": ("+33612345671",),
        "nobody": (),
    }
    assert [len(world.sent(key)) for key in people] == [3, 2, 2, 1]  # the bye goes to all


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        ("- send: hello\n  via: sms\n  to: [contact.parent]", "marketing goes to the contact's own address only"),
        ("- send: receipt\n  to: [contact.parent]", "say one channel in `via:`"),
        ("- send: receipt\n  via: sms\n  to: [trigger.at]", "takes addresses from fields of the contact"),
    ],
)
def test_to_is_refused_where_nobody_could_say_whom_it_reaches(steps, reason):
    found = refusals(workflow("w", steps=steps), settings=PARENTS)
    assert len(found) == 1
    assert reason in found[0]


def test_via_all_waits_for_the_channel_that_is_held():
    steps = "- send: hello\n  via: sms\n- send: hello\n  id: second\n  via: {all: [email, sms]}\n- send: bye"
    world = World(workflow("w", steps=steps), settings=CAPPED_SMS)
    world.contact("ana", phone="+33612345678")
    world.event("ana", "signup", at("1m"))
    world.ticks("5m", "12h")
    assert world.sent("ana") == [("hello", "sms", 5), ("hello", "email", 5)]
    world.ticks("1d5m")
    assert world.sent("ana")[2:] == [("hello", "sms", 1445), ("bye", "email", 1445)]


def test_same_as_uses_the_channel_of_the_earlier_send_and_no_other():
    steps = "- send: hello\n  id: first\n- wait: 1d\n- send: receipt\n  via: {same_as: first}"
    world = World(workflow("w", steps=steps))
    world.contact("mail", phone="+33612345678")
    world.contact("phone", consent=("sms",), phone="+33612345679")
    world.contact("gone", phone="+33612345677")
    for key in ("mail", "phone", "gone"):
        world.event(key, "signup", at("1m"))
    world.ticks("5m")
    world.suppress("gone@example.com", at("6m"))
    world.ticks("2d")
    assert world.messages("mail") == ["hello", "receipt"]
    assert [row[1] for row in world.sent("phone")] == ["sms", "sms"]
    assert world.messages("gone") == ["hello"]


def test_same_as_does_not_leave_its_channel_at_the_gate_either():
    steps = "- send: hello\n  id: first\n- wait: 1h\n- send: bye\n  id: held\n- send: hello\n  id: second\n  via: {same_as: first}"
    world = World(workflow("w", steps=steps), settings=SETTINGS + "pressure: {email: [2 per 1d]}\n")
    world.contact("ana", phone="+33612345678")
    world.event("ana", "signup", at("1m"))
    world.ticks("5m", "2h")
    world.withdraw("ana", "email", at("3h"))
    world.ticks("2d")
    assert [row[1] for row in world.sent("ana")] == ["email", "email"]


@pytest.mark.parametrize(
    ("on_skip", "messages", "state"),
    [
        ("continue", ["bye"], ("completed", None)),
        ("exit", [], ("exited", "skipped")),
        ("[{send: again}]", ["again", "bye"], ("completed", None)),
    ],
)
def test_on_skip(on_skip, messages, state):
    world = entered(f"- send: hello\n  via: sms\n  on_skip: {on_skip}\n- send: bye")
    world.ticks("5m")
    assert (world.messages("ana"), world.states()) == (messages, [state])


def test_when_false_steps_over_a_send_and_holds_at_the_gate_too():
    world = World(
        workflow("w", steps="- send: hello\n  when: {field: stage, is: customer}\n- send: bye"), settings=CAPPED
    )
    for key in ("yes", "no", "turned"):
        world.contact(key, stage="customer" if key != "no" else "lead")
        world.event(key, "signup", at("1m"))
    world.event("turned", "purchase", at("0m"))
    world.ticks("5m")
    assert world.messages("yes") == ["hello"]
    assert world.messages("no") == ["bye"]


CAPPED = SETTINGS + "pressure: {email: [1 per 1d]}\n"


def test_when_is_judged_again_when_the_message_is_about_to_leave():
    steps = "- send: hello\n- send: bye\n  when: {field: stage, is: customer}\n- send: again"
    world = World(workflow("w", steps=steps), settings=CAPPED)
    world.contact("ana", stage="customer")
    world.event("ana", "signup", at("1m"))
    world.ticks("5m")
    world.set("ana", at("1h"), stage="lead")
    world.ticks("1d5m")
    assert world.messages("ana") == ["hello", "again"]
    assert ("bye", "email", "skipped", "when") in world.outbox("ana")


def test_the_contact_stays_on_a_send_until_it_left_and_waits_count_from_there():
    world = World(workflow("w", steps="- send: hello\n- send: bye\n- wait: 1h\n- send: receipt"), settings=CAPPED)
    world.contact("ana")
    world.event("ana", "signup", at("1m"))
    world.ticks("5m", "6h", "1d5m", "1d1h", "1d1h5m")
    assert world.sent("ana") == [("hello", "email", 5), ("bye", "email", 1445), ("receipt", "email", 1505)]


# --------------------------------------------------------------------------------------------------------------------- wait


def test_a_wait_ends_exactly_when_it_is_over():
    world = entered("- wait: 2h\n- send: hello", when="0m")
    world.tick(at("2h") - 1)
    assert world.sent() == []
    world.tick(at("2h"))
    assert world.messages("ana") == ["hello"]


def test_waits_add_up_from_their_own_ends_however_late_the_ticks_come():
    world = entered("- wait: 1h\n- wait: 1h\n- exit: done", when="1m")
    world.ticks("9h")
    assert world.ended("ana") == [("exited", "done", 121)]


@pytest.mark.parametrize(
    ("wait", "start", "end"),
    [
        ("1d", "2026-03-28T09:00Z", "2026-03-29T08:00Z"),  # 10:00 to 10:00 in Paris, 23 hours: clocks go forward
        ("24h", "2026-03-28T09:00Z", "2026-03-29T09:00Z"),
        ("1d", "2026-10-24T08:00Z", "2026-10-25T09:00Z"),  # 25 hours: they go back
        ("1d", "2026-03-28T01:30Z", "2026-03-29T01:00Z"),  # 02:30 does not exist: the first instant that does, 03:00
        ("1d", "2026-10-24T00:30Z", "2026-10-25T00:30Z"),  # 02:30 comes twice: the first
        ('2d\n  time: "09:00"', "2026-03-02T10:00Z", "2026-03-05T08:00Z"),
        ('2d\n  time: "11:00"', "2026-03-02T10:00Z", "2026-03-04T10:00Z"),  # exactly two days away is far enough
        ('1h\n  time: "11:30"', "2026-03-02T10:00Z", "2026-03-03T10:30Z"),
        ('1d\n  time: "02:30"', "2026-03-28T01:00Z", "2026-03-29T01:00Z"),
        (
            '1d\n  time: "02:30"',
            "2026-03-28T01:31Z",
            "2026-03-29T01:00Z",
        ),  # both the wait and the time of day end where the gap does
    ],
)
def test_calendar_waits_in_the_contacts_zone(wait, start, end):
    begin = at(start)
    world = World(workflow("w", steps=f"- wait: {wait}\n- exit: done"), now=begin - 10 * MINUTE)
    world.contact("ana")
    world.event("ana", "signup", begin)
    world.tick(begin + MINUTE)
    world.tick(at(end) - 1)
    assert world.states() == [("active", None)]
    world.tick(at(end))
    assert world.states() == [("exited", "done")]
    assert world.ended("ana")[0][2] == (at(end) - T0) / MINUTE


def test_the_contacts_own_zone_comes_before_the_projects():
    world = World(workflow("w", steps='- wait: 1h\n  time: "09:00"\n- exit: done'))
    world.contact("paris")
    world.contact("york", timezone="America/New_York")
    world.contact("phone", phone="+81312345678")
    for key in ("paris", "york", "phone"):
        world.event(key, "signup", at("0m"))
    world.ticks("5m", "2d")
    assert [world.ended(key)[0][2] / 60 for key in ("paris", "york", "phone")] == [22, 4, 14]


def test_a_spread_stays_within_its_ends_and_scatters():
    world = entered("- wait: {between: [1h, 3h]}\n- exit: done", *(f"c{number}" for number in range(60)), when="0m")
    world.ticks("5m", "4h")
    ends = [world.ended(f"c{number}")[0][2] for number in range(60)]
    assert all(60 <= end <= 180 for end in ends)
    assert len(set(ends)) > 50
    assert min(ends) < 90
    assert max(ends) > 150


@pytest.mark.parametrize(
    ("wait", "hours", "wall"),
    [
        # Paris loses an hour that night: days keep the wall time at both ends, 23 and 47 hours away.
        ("{between: [1d, 2d]}", (23, 47), False),
        ("{between: [12h, 1 day]}", (12, 23), False),
        ('{between: [1d, 3d]}\n  time: "09:00"', (23, 95), True),
        ('{between: [1h, 3h]}\n  time: "09:00"', (21, 21), True),
    ],
)
def test_a_spread_over_days_is_one_of_the_calendar(wait, hours, wall):
    people = [f"c{number}" for number in range(40)]
    world = entered(f"- wait: {wait}\n- exit: done", *people, when="26d")  # 28 March, 11:00 in Paris
    world.ticks("26d", "26d6h", "27d", "28d", "29d", "32d")
    ends = [world.ended(key)[0][2] for key in people]
    assert all(hours[0] <= end / 60 - 26 * 24 <= hours[1] for end in ends)
    if wall:
        assert {clock(T0 + round(end * MINUTE), "Europe/Paris").minute for end in ends} == {9 * 60}
        return
    assert len(set(ends)) > 30
    assert max(ends) - min(ends) > (hours[1] - hours[0]) * 40


# ----------------------------------------------------------------------------------------------------------------- wait_for

AWAIT = (
    "- wait: 1h\n- wait_for: {event: purchase}\n  timeout: 2h\n  then: [{exit: bought}]\n  on_timeout: [{exit: late}]"
)


@pytest.mark.parametrize(
    ("purchase", "outcome"),
    [
        (None, ("exited", "late", 180)),
        ("30m", ("exited", "late", 180)),  # before the wait began
        ("1h", ("exited", "late", 180)),  # at the instant it began is not after it
        ("1h1m", ("exited", "bought", 61)),
        ("2h59m", ("exited", "bought", 179)),
        ("3h", ("exited", "bought", 180)),  # exactly at the time-out wins
        ("3h1m", ("exited", "late", 180)),
    ],
)
@pytest.mark.parametrize("pace", ["on time", "one late tick"])
def test_wait_for(purchase, outcome, pace):
    world = entered(AWAIT, when="0m")
    if pace == "on time":
        times = [at(0) + step * 5 * MINUTE for step in range(49)]
        for now in times:
            if purchase and now - 5 * MINUTE < at(purchase) <= now:
                world.event("ana", "purchase", at(purchase))
            world.tick(now)
    else:
        if purchase:
            world.event("ana", "purchase", at(purchase))
        world.ticks("4h")
    assert world.ended("ana") == [outcome]


def test_wait_for_takes_its_first_fact_and_minds_where():
    steps = "- wait_for: {event: purchase, where: {amount: {gte: 100}}}\n  timeout: 1d\n  then: [{exit: bought}]"
    world = entered(steps, when="0m")
    world.ticks("5m")
    world.event("ana", "purchase", at("10m"), amount=99)
    world.event("ana", "purchase", at("20m"), amount=100)
    world.event("ana", "purchase", at("15m"), amount=100)
    world.ticks("30m")
    assert world.ended("ana") == [("exited", "bought", 15)]


def test_wait_for_a_state():
    world = entered(
        "- wait_for: {field: stage, is: customer}\n  timeout: 1d\n  then: [{exit: yes}]", "ana", "bob", when="0m"
    )
    world.set("bob", at("0m"), stage="customer")  # already so: looked at on arrival
    world.ticks("5m")
    world.set("ana", at("1h"), stage="customer")
    world.ticks("1h")
    assert world.ended("bob")[0][:2] == ("exited", "yes")
    assert world.ended("ana") == [("exited", "yes", 60)]


def test_a_calendar_timeout_keeps_the_wall_time():
    start = at("2026-03-28T09:00Z")
    world = World(
        workflow("w", steps="- wait_for: {event: purchase}\n  timeout: 1d\n  on_timeout: [{exit: late}]"), now=start
    )
    world.contact("ana")
    world.event("ana", "signup", start + MINUTE)
    world.tick(start + 5 * MINUTE)
    world.tick(start + 23 * 60 * MINUTE)
    assert world.states() == [("active", None)]
    world.tick(start + (23 * 60 + 1) * MINUTE)
    assert world.states() == [("exited", "late")]


# --------------------------------------------------------------------------------------------------------------- decisions


def test_if_and_choose_take_one_way():
    steps = """
- choose:
    - {when: {field: engagement, gte: 50}, do: [{tag: {interests: [books]}}]}
    - {when: {field: engagement, gte: 10}, do: [{tag: {interests: [toys]}}]}
  otherwise: [{exit: cold}]
- if: {field: interests, has: books}
  then: [{exit: books}]
  else: [{exit: toys}]
"""
    world = World(workflow("w", steps=steps))
    for key, value in (("hot", 50), ("warm", 49), ("cold", 9)):
        world.contact(key, engagement=value)
        world.event(key, "signup", at("1m"))
    world.contact("unknown")
    world.connection.execute("UPDATE contacts SET engagement = NULL WHERE key = 'unknown'")
    world.event("unknown", "signup", at("1m"))
    world.ticks("5m")
    assert [world.states(key=key) for key in ("hot", "warm", "cold", "unknown")] == [
        [("exited", "books")], [("exited", "toys")], [("exited", "cold")], [("exited", "cold")],
    ]  # fmt: skip


def test_since_a_step_means_since_the_contact_left_it():
    steps = """
- id: first
  send: hello
- wait: 2h
- if: {event: purchase, since: first}
  then: [{exit: yes}]
  else: [{exit: no}]
"""
    world = entered(steps, "before", "after")
    world.event("before", "purchase", at("4m"))
    world.ticks("5m")
    world.event("after", "purchase", at("6m"))
    world.ticks("3h")
    assert (world.states(key="before"), world.states(key="after")) == ([("exited", "no")], [("exited", "yes")])


# ------------------------------------------------------------------------------------------------------- changes of contacts


def test_two_enrollments_of_one_contact_in_one_batch_both_add():
    world = World(
        workflow(
            "w",
            steps="- add: {engagement: 5, visits: 1}",
            reentry="{while_active: parallel}",
            triggers="[{event: cart_updated}]",
        )
    )
    world.contact("ana")
    for number in range(3):
        world.event("ana", "cart_updated", at("1m") + number, cart_id=f"c{number}")
    wait = World(
        workflow(
            "w",
            steps="- wait: 1h\n- add: {engagement: 5}",
            reentry="{while_active: parallel}",
            triggers="[{event: cart_updated}]",
        )
    )
    wait.contact("ana", engagement=1)
    for number in range(3):
        wait.event("ana", "cart_updated", at("1m") + number, cart_id=f"c{number}")
    wait.ticks("5m", "2h")
    assert wait.value("ana", "engagement") == 16
    assert sum(kind == "added" for kind, _ in wait.journal("ana")) == 3
    world.ticks("5m")
    assert len(world.states()) >= 1
    assert world.value("ana", "engagement") == 5 * len(world.states())


def test_set_takes_values_from_the_trigger_and_the_later_enrollment_stays():
    steps = "- wait: 1h\n- set: {first_name: {from: trigger.cart_id}, visits: {from: trigger.items}, due_date: {from: now, plus: 30d}}"
    world = World(workflow("w", steps=steps, reentry="{while_active: parallel}", triggers="[{event: cart_updated}]"))
    world.contact("ana")
    world.event("ana", "cart_updated", at("1m"), cart_id="old", items=1)
    world.event("ana", "cart_updated", at("2m"), cart_id="new", items=2)
    world.ticks("5m", "2h")
    assert (world.value("ana", "first_name"), world.value("ana", "visits")) == ("new", 2)
    assert world.value("ana", "due_date") == "2026-04-01"


def test_tags_are_sets():
    world = entered(
        "- tag: {interests: [toys, books]}\n- tag: {interests: [toys]}\n- untag: {interests: [books, vegetarian]}"
    )
    world.ticks("5m")
    assert world.value("ana", "interests") == '["toys"]'


def test_a_change_that_changes_nothing_is_no_fact():
    world = World(
        workflow("w", steps="- set: {stage: lead}"),
        workflow("watch", steps="- exit: seen", triggers="[{field: stage, changes: true}]"),
    )
    world.contact("same", stage="lead")
    world.contact("other")
    for key in ("same", "other"):
        world.event(key, "signup", at("1m"))
    world.ticks("5m")
    assert [who for who, _ in world.entered("watch")] == ["other"]


def test_a_change_wakes_what_waits_for_it_in_the_same_tick():
    world = World(
        workflow("w", steps="- wait: 1h\n- set: {stage: customer}"),
        workflow("watch", steps="- wait_for: {field: stage, is: customer}\n  timeout: 30d\n  then: [{send: hello}]"),
    )
    world.contact("ana")
    world.event("ana", "signup", at("1m"))
    world.ticks("5m", "2h")
    assert world.messages("ana") == ["hello"]


def test_a_value_a_column_refuses_fails_its_row_alone():
    world = entered("- add: {visits: 1}\n- send: hello", "ana", "full", "bob")
    world.set("full", at("1m"), visits=2**63 - 1)
    world.ticks("5m")
    assert [row[0] for row in world.sent()] == ["ana", "bob"]
    assert world.states(key="full")[0][0] == "failed"
    assert [kind for kind, _ in world.journal("full")] == ["entered", "failed"]


# ------------------------------------------------------------------------------------------------------------ what there is


def test_every_step_and_trigger_of_the_language_runs():
    """The registries of the engine name what the language offers and the program is made of, no less and no more."""
    assert set(MODULES) == set(get_args(Op))
    assert set(TRIGGERS) == set(KINDS)
    assert None not in {*map(kind_of, MODULES), *map(trigger_kind, TRIGGERS)}


def test_the_time_of_the_trigger_is_an_instant():
    said = "- when: {trigger: {at: {within_last: 30m}}}\n  set: {first_name: %s}"
    world = entered(f"- wait: 29m\n{said % 'soon'}\n- wait: 2m\n{said % 'late'}")
    world.ticks("2m", "40m")
    assert world.value("ana", "first_name") == "soon"
