"""A/B tests of messages: equal shares by a stable hash, remembered, reported apart."""

import pytest

from flowctl.failure import ProblemsFound
from flowctl.report.funnel import funnel
from flowctl.report.timeline import timeline
from flowctl.simulate.scenario import Bench
from flowctl.store import statuses
from tests.engine.world import MINUTE, T0, World, at, project

MESSAGE = """
messages:
  offer:
    email: {from: shop, subject: An offer, text: Long words}
    push: {title: An offer, text: Long words}
    variants:
      short: {email: {subject: Offer}}
      shorter: {email: {text: Words}}
"""
FLOW = """
workflow: offers
triggers: [{event: signup}]
reentry: {after: 1d}
steps: [{send: offer, via: email}]
"""


def world(people=300, messages=MESSAGE, flow=FLOW):
    made = World(flow, messages=messages)
    who = [f"p{number}" for number in range(people)]
    for key in who:
        made.contact(key)
    sign_up(made, who, T0 + MINUTE)
    return made, who


def sign_up(made, who, when):
    for key in who:
        made.event(key, "signup", when)
    made.tick(when)


def arms(made):
    return dict(made.connection.execute("SELECT contact_id, variant FROM outbox ORDER BY id"))


def test_everybody_gets_one_arm_in_about_equal_shares():
    made, _ = world()
    counts = {}
    for arm in arms(made).values():
        counts[arm] = counts.get(arm, 0) + 1
    assert set(counts) == {"default", "short", "shorter"}
    assert all(70 <= count <= 130 for count in counts.values()), counts
    subjects = {
        (arm, b"Subject: Offer\r\n" in letter.payload, b"Long words" in letter.payload)
        for letter, arm in zip(made.channel.transmitted, _in_order(made), strict=True)
    }
    assert subjects == {("default", False, True), ("short", True, True), ("shorter", False, False)}


def _in_order(made):
    by_recipient = dict(made.connection.execute("SELECT recipient, variant FROM outbox"))
    return [by_recipient[letter.recipient] for letter in made.channel.transmitted]


def test_who_gets_it_again_gets_the_same_though_a_variant_came_or_went():
    made, who = world(people=60)
    before = arms(made)
    made.apply(FLOW, messages=MESSAGE + "      fourth: {email: {subject: Fourth}}\n", now=made.now + 1)
    sign_up(made, who, at("2d"))
    assert arms(made) == before
    made.apply(FLOW, messages=MESSAGE.replace("      shorter: {email: {text: Words}}\n", ""), now=made.now + 1)
    sign_up(made, who, at("4d"))
    after = arms(made)
    assert {who: arm for who, arm in after.items() if before[who] != "shorter"} == {
        who: arm for who, arm in before.items() if arm != "shorter"
    }
    assert {after[who] for who, arm in before.items() if arm == "shorter"} == {"default", "short"}


def test_a_channel_of_which_no_variant_speaks_is_no_test():
    flow = FLOW.replace("email", "push")
    made = World(flow, messages=MESSAGE)
    made.contact("p", push="token")
    sign_up(made, ["p"], T0 + MINUTE)
    assert set(arms(made).values()) == {None}


def test_the_report_tells_arms_apart_with_intervals():
    made, _ = world(people=60)
    rows = made.connection.execute(
        "SELECT contact_id FROM outbox WHERE variant = 'short' ORDER BY id LIMIT 3"
    ).fetchall()
    for (contact,) in rows:
        sending = statuses.newest(made.connection, contact, "offer")
        statuses.record(
            made.connection, [statuses.Status(sending=sending, status=2, at=made.now, link=None)], now=made.now
        )
    (email,) = funnel(made.store, "offers").messages
    assert [arm.variant for arm in email.variants] == ["default", "short", "shorter"]
    assert sum(arm.sent for arm in email.variants) == email.sent == 60
    short = email.variants[1]
    assert (short.opened.hits, short.opened.total, short.clicked.hits) == (3, short.sent, 0)
    assert short.opened.interval[0] < short.opened.of < short.opened.interval[1]
    assert [arm.opened.hits for arm in email.variants] == [0, 3, 0]


def test_explain_says_which():
    made, who = world(people=5)
    for key in who:
        (sent,) = [entry for entry in timeline(made.store, key).entries if entry.kind == "sent"]
        assert sent.detail["variant"] == arms(made)[made.id_of(key)]


SCENARIO = """
test: the short one
of: offers
contact: {email: ana@example.com}
start: 2026-03-02T10:00
arms: {offer: short}
timeline: [{at: +0h, event: signup}]
expect: [{until: +1h, sends: [{message: offer, variant: VARIANT}]}]
"""


@pytest.mark.parametrize("expected", ["short", "shorter"])
def test_a_scenario_chooses_the_arm_and_expects_it(expected):
    made = project(FLOW, SCENARIO.replace("VARIANT", expected), messages=MESSAGE)
    assert not made.errors
    bench = Bench(made)
    outcome = bench.run("the short one", made.scenarios["the short one"])
    bench.close()
    assert outcome.passed == (expected == "short")
    if not outcome.passed:
        (wrong,) = outcome.mismatches
        assert (wrong.expected, wrong.found) == ("sends: offer (shorter)", "sends: offer (short) by email")


@pytest.mark.parametrize("where", ["variant: VARIANT", "arms: {offer: short}"])
def test_a_variant_that_does_not_exist_is_found(where):
    scenario = SCENARIO.replace(where, where.replace("VARIANT", "shrt").replace("short", "shrt")).replace(
        "VARIANT", "short"
    )
    (error,) = project(FLOW, scenario, messages=MESSAGE).errors
    assert "message `offer` has no variant `shrt`; did you mean `short`?" in error.message


def test_default_is_taken():
    (error,) = project(FLOW, messages=MESSAGE.replace("short:", "default:", 1)).errors
    assert "`default` is the message as it is written" in error.message


def test_a_variant_of_a_channel_that_the_message_lacks_is_refused():
    with pytest.raises(ProblemsFound) as raised:
        World(FLOW, messages=MESSAGE.replace("shorter: {email:", "shorter: {sms:"))
    assert "the message itself is not written for sms" in raised.value.problems[0].message


def test_drawing_looks_at_the_contacts_own_rows_only():
    made, _ = world(people=3)
    from flowctl.engine.variants import _DRAW

    made.connection.execute(
        "CREATE TEMP TABLE IF NOT EXISTS gate (id INTEGER PRIMARY KEY, verdict TEXT, message INTEGER, contact_id INTEGER)"
    )
    plan = [row[3] for row in made.connection.execute(f"EXPLAIN QUERY PLAN {_DRAW}")]
    assert any("SEARCH p USING INDEX outbox_counted (contact_id=?" in line for line in plan), plan
    assert not any(line.startswith(("SCAN o", "SCAN p", "SCAN c")) for line in plan), plan
