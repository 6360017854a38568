"""Simulations: the real engine on a copy; repeatable, written nowhere, leaving nothing, and the same as real ticks."""

import hashlib
from pathlib import Path

import pytest

from flowctl.channels.recording import RecordingChannel
from flowctl.engine.tick import tick
from flowctl.failure import Failure, ProblemsFound
from flowctl.language.assumptions import Assumptions
from flowctl.project.load import load
from flowctl.simulate.simulation import NOTHING, simulate
from tests.shop import DAY, HOUR, NOW, THANKS_YAML, Shop


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    shop = Shop(tmp_path_factory.mktemp("simulate") / "shop", people=60)
    for number, person in enumerate(shop.people[:20]):
        shop.happens("bought", person, NOW + HOUR + number * 60_000, f'{{"amount": {number * 10}}}')
    yield shop
    shop.store.close()


@pytest.fixture(scope="module")
def lively(shop):
    return simulate(
        shop.store,
        shop.project,
        days=8,
        seed=5,
        now=NOW,
        assumptions=shop.project.assumptions["lively"],
        step_ms=2 * HOUR,
    )


def digests(folder):
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in Path(folder).iterdir()
        if path.suffix != ".db-shm"
    }


def test_the_store_is_not_written(tmp_path):
    shop = Shop(tmp_path / "shop", people=5)
    shop.happens("bought", shop.people[0], NOW, "{}")
    before = digests(shop.root)
    changes = shop.connection.total_changes
    found = simulate(
        shop.store,
        shop.project,
        days=3,
        seed=1,
        now=NOW,
        assumptions=shop.project.assumptions["lively"],
        step_ms=2 * HOUR,
    )
    assert found.sent > 0
    assert digests(shop.root) == before
    assert shop.connection.total_changes == changes
    shop.store.close()


def test_the_same_seed_gives_the_same_result(shop, lively):
    again, other = (
        simulate(
            shop.store,
            shop.project,
            days=8,
            seed=seed,
            now=NOW,
            assumptions=shop.project.assumptions["lively"],
            step_ms=2 * HOUR,
        )
        for seed in (5, 6)
    )
    assert again == lively
    assert other.facts != lively.facts


def test_the_sums_agree(lively):
    assert (
        lively.sent
        == sum(each.sent for each in lively.workflows)
        == sum(n * people for n, people in lively.per_contact.items())
    )
    assert sum(lively.per_contact.values()) == lively.contacts == 60
    assert lively.sent > 20
    # 60 people, one purchase in five days each, eight days: about 96.
    assert 60 < lively.facts["bought"] < 140
    assert lively.answers["opened"] > lively.answers["clicked"] > 0
    assert lively.facts["browsed"] > 0


def test_the_cap_holds_and_says_so(lively):
    assert lively.held["cap"] > 0
    most = max(lively.per_contact)
    assert most <= 4  # one in two days, for eight days


def test_goals_are_met_by_those_who_click(lively):
    assert sum(each.goal for each in lively.workflows) > 0


def test_without_assumptions_a_simulation_is_what_ticks_do(shop):
    simulated = simulate(shop.store, shop.project, days=6, seed=1, now=NOW, assumptions=NOTHING, step_ms=HOUR)
    real = shop.store.snapshot()
    channel = RecordingChannel()
    for now in range(NOW, NOW + 6 * DAY, HOUR):
        tick(real, now=now, channels={"email": channel})
    by_day = real.connection.execute(
        "SELECT date(o.settled_at / 1000, 'unixepoch', '+1 hour'), v.workflow, count(*) FROM outbox o "
        "JOIN workflow_versions v ON v.id = o.version_id WHERE o.state = 3 GROUP BY 1, 2 ORDER BY 1, 2"
    ).fetchall()
    assert [(each.day, each.workflow, each.count) for each in simulated.sends] == by_day
    assert simulated.sent == len(channel.transmitted) > 0


def test_files_are_simulated_unless_what_was_applied_is_asked_for(shop, tmp_path):
    (tmp_path / "flowctl.yaml").write_text((shop.root / "flowctl.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "messages.yaml").write_text((shop.root / "messages.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "new.yaml").write_text(THANKS_YAML.replace("workflow: thanks", "workflow: brand-new"), encoding="utf-8")
    project = load(tmp_path)
    files, applied = (
        simulate(shop.store, project, days=1, seed=1, now=NOW, applied=applied, step_ms=HOUR)
        for applied in (False, True)
    )
    entered = {each.workflow: each.entered for each in files.workflows}
    assert (entered["brand-new"], entered["thanks"]) == (20, 0)
    assert {each.workflow for each in applied.workflows} == {"big-spender", "thanks"}


def test_one_persons_story(shop):
    found = simulate(shop.store, shop.project, days=2, seed=1, now=NOW, contact="k15", step_ms=HOUR)
    assert [entry.kind for entry in found.timeline.entries if entry.kind == "sent"] == ["sent"]
    with pytest.raises(Failure, match="no contact"):
        simulate(shop.store, shop.project, days=1, seed=1, now=NOW, contact="nobody", step_ms=HOUR)


def test_people_an_assumption_is_about(shop):
    who = {"field": "first_name", "is": "Name7"}
    assumed = Assumptions.model_validate(
        {"assumptions": "one", "events": {"browsed": {"rate": "10 per 1d", "who": who}}}
    )
    found = simulate(shop.store, shop.project, days=1, seed=1, now=NOW, assumptions=assumed, step_ms=HOUR, contact="k7")
    assert found.facts["browsed"] == sum(entry.subject == "browsed" for entry in found.timeline.entries) > 2


def test_people_nobody_can_find_are_refused(shop):
    assumed = Assumptions.model_validate(
        {"assumptions": "x", "events": {"browsed": {"rate": "1 per 1d", "who": {"survey": "nps", "state": "sent"}}}}
    )
    with pytest.raises(ProblemsFound):
        simulate(shop.store, shop.project, days=1, seed=1, now=NOW, assumptions=assumed, step_ms=HOUR)


def test_each_day_is_told(shop):
    days = []
    simulate(shop.store, shop.project, days=3, seed=1, now=NOW, step_ms=6 * HOUR, on_day=days.append)
    assert days == [1, 2, 3]
