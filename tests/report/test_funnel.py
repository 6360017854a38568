"""The funnel of a workflow: people are conserved, shares come with their interval."""

import pytest

from flowctl.engine.apply import apply
from flowctl.project.load import load
from flowctl.report.funnel import Share, funnel, workflow_names
from tests.engine.world import World, at, workflow
from tests.shop import DAY, HOUR, NOW, THANKS_YAML


def steps(found):
    return {each.step: (each.reached, each.here) for each in found.steps}


def test_who_entered_is_somewhere(shop):
    for name in workflow_names(shop.store):
        found = funnel(shop.store, name)
        ended_by_goal = found.entered - found.active - found.completed - found.exited - found.failed
        assert 0 <= ended_by_goal <= found.goal


def test_waits_are_counted_though_they_write_nothing(shop):
    found = funnel(shop.store, "thanks")
    assert found.entered == 4
    assert steps(found) == {"pause": (4, 0), "note": (4, 0), "look": (4, 0), "again": (3, 0)}
    assert found.goal == 1
    assert found.conversion == Share(hits=1, total=4)
    assert [each.where for each in found.steps][:2] == ["thanks.yaml:11@abc1234", "thanks.yaml:13@abc1234"]


def test_secondary_goals_are_counted_beside_the_goal():
    world = World(
        workflow(
            "w",
            goal="{event: purchase}",
            secondary_goals="{spender: {field: visits, gte: 3}, loyal: {field: stage, is: loyal}}",
            steps="- wait: 3d",
        )
    )
    for key in ("ana", "bob", "cleo"):
        world.contact(key)
        world.event(key, "signup", at("1m"))
    world.ticks("5m")
    world.set("ana", at("1h"), visits=3)
    world.set("bob", at("1h"), visits=5)
    world.ticks("2h")
    found = funnel(world.store, "w")
    assert found.secondary == {"spender": Share(hits=2, total=3), "loyal": Share(hits=0, total=3)}
    assert found.goal == 0


def test_failures_and_exits_have_reasons_of_their_own():
    steps = "- if: {field: visits, gte: 1}\n  then: [{exit: seen}]\n- set: {first_name: '{{ contact.stage }}'}"
    world = World(workflow("w", steps=steps))
    for key, visits in (("ana", 1), ("bea", 0), ("cleo", 2)):
        world.contact(key, visits=visits)
        world.event(key, "signup", at("1m"))
    world.tick(at("1m"))
    found = funnel(world.store, "w")
    reason = "template: missing variable contact.stage (unknown for this contact)"
    assert (found.exited, found.exits, found.failed, found.failures) == (2, {"seen": 2}, 1, {reason: 1})


def test_a_branch_divides(shop):
    shop.connection.execute("UPDATE contacts SET orders = 5 WHERE id = ?", (shop.people[4],))
    shop.happens("bought", shop.people[4], shop.now + HOUR, '{"amount": 500}')
    shop.ticks(shop.now + 2 * HOUR)
    found = funnel(shop.store, "big-spender")
    assert found.entered == 2
    assert found.exits == {"known": 1}
    assert steps(found)["gift"] == (1, 0)


def test_messages_by_what_became_of_them(shop):
    (gift,) = funnel(shop.store, "big-spender").messages
    # The cap lets one mail leave in two days and the present expires after one: one of the two of this contact was lost.
    assert gift.sent + sum(gift.skipped.values()) == 1
    sent = sum(each.sent for name in workflow_names(shop.store) for each in funnel(shop.store, name).messages)
    assert sent == len(shop.recipients)


def test_versions_are_told_apart_and_together(shop):
    (shop.root / "thanks.yaml").write_text(THANKS_YAML.replace("wait: 1h", "wait: 2h"), encoding="utf-8")
    apply(shop.store, load(shop.root), commit="def5678", now=shop.now)
    shop.happens("bought", shop.people[5], shop.now + HOUR, '{"amount": 10}')
    shop.ticks(shop.now + DAY)
    assert [funnel(shop.store, "thanks", version=number).entered for number in (1, 2)] == [4, 1]
    both = funnel(shop.store, "thanks")
    assert (both.entered, both.versions) == (5, (1, 2))
    assert steps(both)["note"] == (5, 0)
    assert both.steps[0].where.endswith("@def5678")


@pytest.mark.parametrize(
    ("hits", "total", "low", "high"), [(0, 10, 0.0, 0.2775), (5, 10, 0.2366, 0.7634), (10, 10, 0.7225, 1.0)]
)
def test_wilson_interval(hits, total, low, high):
    # Values of R's prop.test(correct = FALSE).
    found = Share(hits=hits, total=total).interval
    assert found == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))


def test_nothing_to_divide():
    assert Share(hits=0, total=0).of is None
    assert Share(hits=0, total=0).interval is None


def test_an_idle_store_reports_nothing_sent(shop):
    assert shop.now > NOW
    assert funnel(shop.store, "never-applied").entered == 0


def test_places_and_commit_stay_together(shop):
    """A comment moves every line; the version stays, and names the commit in which its lines are right."""
    (shop.root / "thanks.yaml").write_text("# new\n" + THANKS_YAML, encoding="utf-8")
    apply(shop.store, load(shop.root), commit="def5678", now=shop.now)
    found = funnel(shop.store, "thanks")
    assert found.versions == (1,)
    assert found.steps[0].where == "thanks.yaml:12@def5678"
