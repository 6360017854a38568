"""Behaviour: what is drawn is repeatable, ordered, and as frequent as the assumptions say."""

import pytest

from flowctl.language.assumptions import Assumptions
from flowctl.language.durations import DAY_MS
from flowctl.simulate.behaviour import Answer, Behaviour, Fact, Sent

START = 1_800_000_000_000
PROPERTIES = {"bought": {"cds": "integer", "amount": "number", "shop": "text"}}


def assumed(**said):
    return Assumptions.model_validate({"assumptions": "test", **said})


def behaviour(seed=1, **said):
    return Behaviour(assumed(**said), seed=seed, properties=PROPERTIES)


def bought(seed):
    rate = {
        "rate": "1 per 10d",
        "properties": {"cds": {"between": [1, 3]}, "amount": {"between": [5, 6]}, "shop": {"choice": ["a", "b"]}},
    }
    life = behaviour(seed, events={"bought": rate})
    life.live("bought", list(range(1, 1001)), START, START + 10 * DAY_MS)
    return life.until(START + 10 * DAY_MS)


def test_people_do_things_as_often_as_assumed():
    facts = bought(seed=3)
    assert len(facts) == pytest.approx(1000, abs=130)  # Poisson: four standard deviations
    assert all(START <= fact.at < START + 10 * DAY_MS for fact in facts)
    assert {fact.properties["cds"] for fact in facts} == {1, 2, 3}
    assert {fact.properties["shop"] for fact in facts} == {"a", "b"}
    assert all(5 <= fact.properties["amount"] <= 6 for fact in facts)
    assert len({fact.contact_id for fact in facts}) > 500


def test_the_same_seed_lives_the_same_life():
    assert bought(seed=3) == bought(seed=3)
    assert bought(seed=3) != bought(seed=4)


def test_nobody_does_nothing():
    life = behaviour(events={"bought": {"rate": "1 per 1d"}})
    life.live("bought", [], START, START + DAY_MS)
    assert life.until(START + DAY_MS) == []


def sent(count, channel="email"):
    return [Sent(at=START, contact_id=number, key=f"k{number}", channel=channel) for number in range(count)]


def test_answers_are_as_frequent_as_assumed_and_who_clicks_has_opened():
    life = behaviour(responses={"email": {"opened": 0.4, "clicked": 0.1, "unsubscribed": 0.01, "after": "4h"}})
    life.receive(sent(5000))
    answers = life.until(START + 100 * DAY_MS)
    by_status = {
        status: [each for each in answers if each.status == status] for status in ("opened", "clicked", "unsubscribed")
    }
    assert len(by_status["opened"]) == pytest.approx(2000, abs=140)
    assert len(by_status["clicked"]) == pytest.approx(500, abs=90)
    assert len(by_status["unsubscribed"]) == pytest.approx(50, abs=30)
    opened_at = {each.key: each.at for each in by_status["opened"]}
    assert all(opened_at[each.key] < each.at for each in by_status["clicked"])
    median = sorted(opened_at.values())[1000] - START
    assert median == pytest.approx(4 * 3_600_000, rel=0.1)


def test_a_bounced_message_is_not_read():
    life = behaviour(responses={"email": {"bounced": 1, "opened": 1, "clicked": 1}})
    life.receive(sent(10))
    assert {each.status for each in life.until(START + 100 * DAY_MS)} == {"bounced"}


def test_a_click_leads_to_an_event_within_its_time():
    follows = {"then": "bought", "chance": 1, "within": "2h", "properties": {"cds": 2}}
    life = behaviour(responses={"email": {"opened": 1, "clicked": 1, "after": "1h"}, "clicked": follows})
    life.receive(sent(50))
    things = life.until(START + 100 * DAY_MS)
    clicks = {int(each.key[1:]): each.at for each in things if isinstance(each, Answer) and each.status == "clicked"}
    facts = {each.contact_id: each for each in things if isinstance(each, Fact)}
    assert len(facts) == 50
    for contact_id, fact in facts.items():
        assert fact.event == "bought"
        assert fact.properties == {"cds": 2}
        assert 0 < fact.at - clicks[contact_id] <= 2 * 3_600_000 + 1


def test_a_channel_without_assumptions_is_silent():
    life = behaviour(responses={"email": {"opened": 1}})
    life.receive(sent(10, channel="sms"))
    assert life.until(START + 100 * DAY_MS) == []


def test_things_come_in_order_and_once():
    life = behaviour(responses={"email": {"opened": 1, "clicked": 0.5, "complained": 0.2}})
    life.receive(sent(200))
    first = life.until(START + DAY_MS // 6)
    rest = life.until(START + 100 * DAY_MS)
    assert first
    assert rest
    times = [thing.at for thing in first + rest]
    assert times == sorted(times)
    assert all(at <= START + DAY_MS // 6 for at in times[: len(first)])
