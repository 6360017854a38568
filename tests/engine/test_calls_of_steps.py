"""What templates in the values of steps call: coupons, the newest events and survey links, as those of messages do."""

from __future__ import annotations

import re

import pytest

from flowctl.engine.links import Links
from flowctl.failure import ProblemsFound
from flowctl.simulate.scenario import Bench
from flowctl.store import coupons
from tests.engine.world import SETTINGS, World, at, project, refusals, workflow

TEAMS = (
    SETTINGS
    + "teams: {sales: {members: [lea], email: sales@example.com}}\nservices: {shop: {url: https://shop.example.com}}\n"
)
MESSAGES = """
messages:
  gift:
    purpose: transactional
    sms: {text: "Your code {{ coupon('WELCOME10') }}"}
"""
NPS = "survey: nps\nquestions: {score: {type: scale, from: 0, to: 10}}\n"


def world_of(steps: str, *texts: str, people: str = "ana bea", **said: str) -> World:
    world = World(
        workflow("w", steps=steps, reentry="{after: 1h}"),
        *texts,
        **({"settings": TEAMS, "messages": MESSAGES} | said),
    )
    for number, key in enumerate(people.split()):
        world.contact(key, phone=f"+3361234567{number}")
    return world


def test_a_code_given_by_a_step_is_the_one_that_messages_show():
    world = world_of("- set: {first_name: \"{{ coupon('WELCOME10') }}\"}\n- wait: 1h\n- send: gift")
    coupons.add(world.connection, "WELCOME10", ["A1", "B2", "C3"])
    for key in ("ana", "bea"):
        world.event(key, "signup", at("1h"))
    world.ticks("1h", "2h")
    assert [world.value(key, "first_name") for key in ("ana", "bea")] == ["A1", "B2"]
    assert [letter.payload["text"] for letter in world.channel.transmitted] == ["Your code A1", "Your code B2"]
    world.event("ana", "signup", at("4h"))
    world.ticks("4h", "5h")
    assert world.value("ana", "first_name") == "A1"
    assert [(pool.codes, pool.left) for pool in coupons.pools(world.connection)] == [(3, 1)]


def test_a_code_given_by_a_message_is_the_one_that_steps_show():
    world = world_of("- send: gift\n- set: {first_name: \"{{ coupon('WELCOME10') }}\"}", people="ana")
    coupons.add(world.connection, "WELCOME10", ["A1", "B2"])
    world.event("ana", "signup", at("1h"))
    world.tick(at("1h"))
    assert world.value("ana", "first_name") == "A1"
    assert coupons.pools(world.connection)[0].left == 1


def test_where_codes_run_out_a_row_fails_alone():
    world = world_of("- set: {first_name: \"{{ coupon('WELCOME10') }}\"}")
    coupons.add(world.connection, "WELCOME10", ["A1"])
    for key in ("ana", "bea"):
        world.event(key, "signup", at("1h"))
    world.tick(at("1h"))
    assert world.states("w", "ana") == [("completed", None)]
    [(state, reason)] = world.states("w", "bea")
    assert state == "failed"
    assert reason is not None
    assert "no code is left of coupon WELCOME10: `flowctl coupons import WELCOME10 FILE`" in reason


def test_a_step_that_is_not_done_gives_no_code():
    world = world_of(
        "- set: {first_name: \"{{ coupon('WELCOME10') }}\"}\n  when: {field: engagement, gt: 5}", people="ana"
    )
    coupons.add(world.connection, "WELCOME10", ["A1"])
    world.event("ana", "signup", at("1h"))
    world.tick(at("1h"))
    assert coupons.pools(world.connection)[0].left == 1


def test_the_newest_events_are_those_up_to_the_row_s_own_time():
    text = "{% for e in events.last('purchase', 2) %}{{ e.cart_id }} {% endfor %}{{ events.last('signup') | length }}"
    world = world_of(f'- wait: 2h\n- notify: {{team: sales}}\n  text: "{text}"', people="ana")
    world.event("ana", "signup", at("1h"))
    for hour, cart in ((1, "c1"), (2, "c2"), (3, "c3"), (4, "c4")):
        world.event("ana", "purchase", at(f"{hour}h"), cart_id=cart)
    world.tick(at("9h"))
    assert world.connection.execute("SELECT text FROM notices").fetchall() == [("c3 c2 1",)]


def test_events_that_never_were_are_none():
    world = world_of("- set: {first_name: \"{{ events.last('purchase') | length }}\"}")
    world.event("ana", "signup", at("1h"))
    world.tick(at("1h"))
    assert world.value("ana", "first_name") == "0"


def test_values_in_a_path_are_percent_encoded_whatever_they_come_from():
    path = "/{{ coupon('WELCOME10') }}/{{ events.last('signup')[0].cart_id }}"
    world = world_of(f'- fetch: {{service: shop, path: "{path}", save_as: reco, on_error: continue}}', people="ana")
    coupons.add(world.connection, "WELCOME10", ["../a b"])
    world.event("ana", "signup", at("1h"), cart_id="x?y")
    world.tick(at("1h"))
    assert world.connection.execute("SELECT path FROM fetches").fetchall() == [("/..%2Fa%20b/x%3Fy",)]


def test_a_survey_link_of_a_task_is_signed_and_the_contact_s_own():
    title = "Ask {{ contact.key }}: {{ survey_url('nps') }}"
    world = world_of(
        f'- task: {{team: sales, title: "{title}", timeout: 2d, outcomes: [done]}}\n  then: []\n  on_timeout: []', NPS
    )
    for key in ("ana", "bea"):
        world.event(key, "signup", at("1h"))
    world.ticks("1h", "2h")
    links = Links(secret=world.store.secret, public_url="https://news.example.com")
    claims = []
    for (text,) in world.connection.execute("SELECT title FROM tasks ORDER BY contact_id"):
        found = re.search(r"https://news.example.com/s/(\S+)", text)
        assert found is not None
        claims.append(links.read("survey", found[1]))
    assert [(claim.contact_id, claim.topic) for claim in claims if claim] == [(1, "nps"), (2, "nps")]
    assert len({claim.key for claim in claims if claim}) == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{{ coupon(contact.first_name) }}", "`coupon` must be written out"),
        ("{{ events.first('purchase') }}", "`events` must be written out"),
        ("{{ events.last('purchas') }}", "there is no event `purchas`"),
        ("{{ survey_url('nps') }}", "there is no survey `nps`"),
        ("{{ unsubscribe_url }}", "nothing provides `unsubscribe_url`"),
    ],
)
def test_what_cannot_be_fetched_before_is_refused(text, said):
    found = refusals(workflow("w", steps=f'- set: {{first_name: "{text}"}}'))
    assert any(said in message for message in found), found


def test_a_survey_link_that_leads_nowhere_is_refused():
    settings = SETTINGS.replace("public_url: https://news.example.com\n", "")
    messages = "messages:\n  hi: {purpose: transactional, sms: {text: Hi}}\n"
    step = workflow("w", steps="- set: {first_name: \"{{ survey_url('nps') }}\"}\n- send: hi")
    with pytest.raises(ProblemsFound) as found:
        World(step, NPS, settings=settings, messages=messages)
    assert [(problem.code, problem.place.line) for problem in found.value.problems] == [("RUN003", 4)]


def test_a_scenario_has_a_code_for_every_step_that_gives_one():
    text = """
test: a code
of: w
contact: {email: ana@example.com}
start: 2026-03-02T10:00
timeline: [{at: +0h, event: signup}]
expect: [{until: +1h, fields: {first_name: WELCOME10-TEST}}]
"""
    made = project(workflow("w", steps="- set: {first_name: \"{{ coupon('WELCOME10') }}\"}"), text)
    assert not made.errors
    bench = Bench(made)
    for _ in range(2):  # each lives on an undone store
        outcome = bench.run("a code", made.scenarios["a code"])
        assert outcome.passed, outcome.mismatches
    bench.close()
