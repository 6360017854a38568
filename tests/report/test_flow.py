"""The flow through a program: splits, repeats and goals with steps behind them."""

from flowctl.engine.apply import apply
from flowctl.project.load import load
from flowctl.report.audit import audit
from flowctl.report.funnel import funnel
from flowctl.store import tasks
from flowctl.store.database import transaction
from tests.shop import DAY, HOUR, NOW, Shop

COMPLEX = """\
workflow: complex
description: Everything that parts people.
owner: crm
type: follow-up
goal: {event: browsed, within: 60d}
on_goal:
  - {id: counted, add: {orders: 1}}
triggers: [{event: bought}]
steps:
  - id: draw
    split: {a: 50, b: 50}
    paths:
      a:
        - {id: only_a, wait: 1h}
      b:
        - {id: only_b, wait: 2h}
        - {id: marked_b, set: {first_name: Bee}}
  - id: three_turns
    repeat: {every: 1d, max: 3}
    steps:
      - {id: breath, wait: 1h}
      - {id: tick_off, add: {orders: 1}}
  - {id: last, wait: 5d}
"""


def test_people_are_conserved(tmp_path):
    shop = Shop(tmp_path / "shop", people=40)
    (shop.root / "complex.yaml").write_text(COMPLEX, encoding="utf-8")
    (shop.root / "thanks.yaml").unlink()
    (shop.root / "big.yaml").unlink()
    apply(shop.store, load(shop.root), commit="complex", now=NOW)
    for person in shop.people:
        shop.happens("bought", person, NOW + 1, "{}")
    for person in shop.people[:5]:
        shop.happens("browsed", person, NOW + 90 * 60_000, "{}")
    shop.ticks(NOW + DAY + 12 * HOUR, step=6 * HOUR)
    found = funnel(shop.store, "complex")
    reached = {each.step: each.reached for each in found.steps}
    here = {each.step: each.here for each in found.steps}
    assert found.entered == reached["draw"] == 40
    assert reached["only_a"] + reached["only_b"] == 40
    assert 8 < reached["only_a"] < 32
    # Five met the goal after an hour and a half: who was on path b did not come past its two hours.
    assert reached["counted"] == found.goal == 5
    assert reached["only_b"] - 5 <= reached["marked_b"] <= reached["only_b"]
    assert reached["three_turns"] == reached["breath"] >= reached["tick_off"] >= 35
    assert 35 <= reached["breath"] <= 40
    assert sum(here.values()) == found.active == 35
    assert reached["last"] == 0
    assert audit(shop.store, now=shop.now).differences == ()
    shop.ticks(NOW + 20 * DAY, step=DAY)
    done = funnel(shop.store, "complex")
    assert {each.step: each.reached for each in done.steps}["last"] == 35
    assert (done.active, done.completed + done.goal) == (0, 40)
    shop.store.close()


def test_a_task_parts_those_for_whom_somebody_acted_from_those_for_whom_nobody_did(tmp_path):
    shop = Shop(tmp_path / "shop", people=2)
    settings = shop.root / "flowctl.yaml"
    settings.write_text(
        settings.read_text(encoding="utf-8") + "teams: {crm: {email: crm@example.com}}\n", encoding="utf-8"
    )
    text = COMPLEX[: COMPLEX.index("goal:")] + CALLS
    (shop.root / "complex.yaml").write_text(text, encoding="utf-8")
    for name in ("thanks.yaml", "big.yaml"):
        (shop.root / name).unlink()
    apply(shop.store, load(shop.root), commit="complex", now=NOW)
    for person in shop.people:
        shop.happens("bought", person, NOW + 1, "{}")
    shop.ticks(NOW + HOUR, step=HOUR)
    with transaction(shop.store.connection):
        tasks.done(shop.store.connection, 1, "called", now=NOW + HOUR)
    shop.ticks(NOW + 3 * DAY, step=12 * HOUR)
    reached = {each.step: each.reached for each in funnel(shop.store, "complex").steps}
    assert (reached["call"], reached["thanked"], reached["given_up"]) == (2, 1, 1)


CALLS = """\
triggers: [{event: bought}]
steps:
  - id: call
    task: {team: crm, title: Call, timeout: 2d, outcomes: [called]}
    then: [{id: thanked, add: {orders: 1}}]
    on_timeout: [{id: given_up, add: {orders: 2}}]
"""
