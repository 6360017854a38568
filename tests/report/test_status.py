"""Status, segments and workflows: counts that a person would count."""

import pytest

from flowctl.engine.by_hand import pause
from flowctl.failure import UsageFailure
from flowctl.report.segments import members, segments
from flowctl.report.status import status
from flowctl.report.workflows import workflows
from flowctl.store.database import open_store
from tests.engine.world import World, at, workflow
from tests.shop import HOUR


def test_a_store_nobody_applied_to(tmp_path):
    store = open_store(tmp_path / "empty.db", create=True)
    found = status(store, now=0)
    store.close()
    assert (found.commit, found.last_tick_at, found.contacts) == (None, None, 0)


def test_the_store_at_a_glance(shop):
    shop.happens("bought", shop.people[4], shop.now, '{"amount": 150}')
    shop.ticks(shop.now + 2 * HOUR)
    found = status(shop.store, now=shop.now)
    assert (found.commit, found.last_tick_at, found.contacts, found.events) == ("abc1234", shop.now, 6, 6)
    assert found.active == 1
    assert found.due == 0
    assert found.next_due_at > shop.now
    assert found.held == {"cap": 1}  # thanks and a present within two days: one has to wait
    assert found.in_doubt == found.failed == found.claimed == 0


def test_people_of_a_paused_workflow_are_not_due():
    world = World(workflow("w", steps="- wait: 1d\n- set: {stage: customer}"))
    world.contact("ana")
    world.event("ana", "signup", at("1m"))
    world.tick(at("2m"))
    assert status(world.store, now=at("2d")).due == 1
    pause(world.connection, "w")
    assert status(world.store, now=at("2d")).due == 0


def test_workflows_with_who_is_inside(shop):
    found = {each.name: each for each in workflows(shop.store)}
    assert set(found) == {"thanks", "big-spender"}
    assert (found["thanks"].state, found["thanks"].version, found["thanks"].entered, found["thanks"].active) == (
        "live",
        1,
        4,
        0,
    )
    assert found["thanks"].path == "thanks.yaml"


def test_an_unknown_segment_gets_the_nearest_name(shop):
    shop.connection.execute("INSERT INTO segments (name, definition) VALUES ('lapsed', '')")
    assert [each.name for each in segments(shop.store)] == ["lapsed"]
    with pytest.raises(UsageFailure) as failure:
        members(shop.store, "lapsd")
    assert "lapsed" in failure.value.help
    assert list(members(shop.store, "lapsed")) == []
