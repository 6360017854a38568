"""`flowctl split`: two files that mean what the one did, or a reason why not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from flowctl.cli.main import main
from flowctl.failure import UsageFailure
from flowctl.lint.splitting import find_cut, split
from flowctl.project.load import load, load_texts
from tests.engine.world import HOUR, T0, World
from tests.engine.world import workflow as flow

MAISON = Path(__file__).parents[2] / "workflows" / "maison-lune"
SETTINGS = """
project: cuts
contacts: {fields: {engagement: number, score: number}}
events:
  cart_updated: {properties: {items: integer, cart_id: text, total: number}}
  bought: {properties: {cart_id: text}}
services: {shop: {url: "https://api.example.com"}}
"""
MESSAGES = """
messages:
  hello: {email: {subject: Hello, text: Hello}}
  again: {email: {subject: Again, text: Hello}}
  printed: {email: {subject: "{{ trigger.items }}", text: Hello}}
"""


def cut(text, at="", name="", **more):
    texts = {"flowctl.yaml": SETTINGS, "messages.yaml": MESSAGES, "w/cart.yaml": text, **more}
    project = load_texts(texts, Path("/"))
    assert not project.errors, project.errors
    return split(project, find_cut(project.workflows["cart"], at), name)


CART = """\
# yaml-language-server: $schema=workflow.json
# Brings carts back.
workflow: cart
owner: ecommerce
goal: {event: bought, within: 30d}   # paid
triggers: [{event: cart_updated}]
# Emptied carts are left alone.
exit_when:
  - {event: cart_updated, where: {items: 0, cart_id: {is: {from: trigger.cart_id}}}}

steps:
  - wait: 2h
  - send: hello
  # A day later:
  - id: later        # the cut
    wait: 1d

  - if: {trigger: {items: {gt: 3}}}
    then:
      - set: {score: {from: trigger.total}}
    else:
      - send: again   # the last
  - {id: end, add: {engagement: 1}}
# behind it all
"""


def test_comments_and_layout_stay_and_the_trigger_becomes_inputs():
    made = cut(CART, "later")
    assert made.name == "cart-2"
    assert made.texts == {
        "w/cart.yaml": """\
# yaml-language-server: $schema=workflow.json
# Brings carts back.
workflow: cart
owner: ecommerce
goal: {event: bought, within: 30d}   # paid
triggers: [{event: cart_updated}]
# Emptied carts are left alone.
exit_when:
  - {event: cart_updated, where: {items: 0, cart_id: {is: {from: trigger.cart_id}}}}

steps:
  - wait: 2h
  - send: hello
  - start: {workflow: cart-2, with: {cart_id: {from: trigger.cart_id}, items: {from: trigger.items}, total: {from: trigger.total}}}
# behind it all
""",
        "w/cart-2.yaml": """\
# yaml-language-server: $schema=workflow.json
workflow: cart-2
description: The end of cart, from `later` on.
owner: ecommerce
goal: {event: bought, within: 30d}   # paid
# Emptied carts are left alone.
exit_when:
  - {event: cart_updated, where: {items: 0, cart_id: {is: {from: input.cart_id}}}}
triggers: [{manual: true}]
inputs: {cart_id: text, items: integer, total: number}
steps:
  # A day later:
  - id: later        # the cut
    wait: 1d

  - if: {input: {items: {gt: 3}}}
    then:
      - set: {score: {from: input.total}}
    else:
      - send: again   # the last
  - {id: end, add: {engagement: 1}}
""",
    }


def test_without_a_step_it_is_cut_where_cpx004_says():
    steps = "".join(f"  - {{id: s{number}, add: {{engagement: 1}}}}\n" for number in range(8))
    made = cut(f"workflow: cart\ntriggers: [{{manual: true}}]\nsteps:\n{steps}")
    assert "  - {id: s4, add: {engagement: 1}}\n" in made.texts["w/cart-2.yaml"]
    assert "  - {id: s4, add: {engagement: 1}}\n" not in made.texts["w/cart.yaml"]


def test_who_is_still_in_the_new_workflow_does_not_enter_the_old_one():
    steps = "steps:\n  - send: hello\n  - {id: later, wait: 1d}\n  - send: again\n"
    head = "workflow: cart\ntriggers: [{event: cart_updated}]\nreentry: {after: 7d, since: entry}\n"
    guard = "{workflow: cart-2, state: active}"
    assert f"audience: {{not: {guard}}}\nsteps:" in cut(head + steps, "later").texts["w/cart.yaml"]
    flow = cut(head + "audience: {field: engagement, gte: 1}  # warm\n" + steps, "later").texts["w/cart.yaml"]
    assert f"audience: {{all: [{{field: engagement, gte: 1}}, {{not: {guard}}}]}}  # warm\n" in flow
    block = "audience:\n  # warm\n  all:\n    - {field: engagement, gte: 1}\n    - {reachable: email}\n"
    made = cut(head + block + steps, "later").texts["w/cart.yaml"]
    audience = load_texts(
        {"flowctl.yaml": SETTINGS, "messages.yaml": MESSAGES, "w.yaml": made, "v.yaml": made.replace("cart", "cart-2")},
        Path("/"),
    ).workflows["cart"].audience  # fmt: skip
    assert [type(part).__name__ for part in audience.all_] == ["Not", "AllOf"]
    assert "# warm" in made


def test_a_branch_at_the_end_is_cut_inside():
    text = (
        "workflow: cart\ntriggers: [{event: cart_updated}]\nsteps:\n  - send: hello\n  - if: {reachable: email}\n    then:\n"
        "      - wait: 1d\n      - id: later\n        send: again\n      - wait: 2d\n"
    )
    made = cut(text, "later")
    assert made.texts["w/cart.yaml"].endswith("    then:\n      - wait: 1d\n      - start: cart-2\n")
    assert made.texts["w/cart-2.yaml"].endswith("steps:\n  - id: later\n    send: again\n  - wait: 2d\n")


@pytest.mark.parametrize(
    ("why", "head", "steps"),
    [
        ("no longer see who is in the new workflow", "reentry: {while_active: restart}", "- {id: later, wait: 1d}"),
        ("judged for each `trigger.cart_id`", "reentry: {after: 1d, key: trigger.cart_id}", "- {id: later, wait: 1d}"),
        ("since entry", "", "- {id: later, if: {event: bought, since: entry}, then: [{exit: bought}]}"),
        ("`hello` stands before the cut", "", "- {id: later, if: {event: bought, since: hello}, then: [{exit: bought}]}"),
        ("the message `hello` is asked about", "", "- {id: later, if: {message: hello, status: clicked}, then: [{exit: x}]}"),
        ("prints `trigger.items`", "", "- {id: later, wait: 1d}\n  - send: printed"),
        ("saved before the cut", "", "- fetch: {service: shop, path: /x, save_as: reco}\n  - {id: later, if: {data: {reco.count: 1}}, then: [{exit: x}]}"),
        ("the journey goes on", "", "- if: {reachable: email}\n    then:\n      - wait: 1d\n      - {id: later, send: again}\n  - wait: 2d"),
        ("the journey goes on", "", "- repeat: {every: 1d, max: 3}\n    steps:\n      - wait: 1h\n      - {id: later, send: again}"),
        ("the first of its list", "", "- if: {reachable: email}\n    then:\n      - {id: later, send: again}"),
        ("`other` stops it", "description: stopped", "- {id: later, wait: 1d}"),
        ("`other` starts it at `later`", "description: started", "- {id: later, wait: 1d}"),
    ],
)  # fmt: skip
def test_a_cut_that_changes_the_meaning_is_refused(why, head, steps):
    text = f"workflow: cart\ntriggers: [{{event: cart_updated}}]\n{head}\nsteps:\n  - send: hello\n  {steps}\n"
    does = {"description: stopped": "stop: cart", "description: started": "start: {workflow: cart, at_step: later}"}
    other = f"workflow: other\ntriggers: [{{manual: true}}]\nsteps:\n  - {does.get(head, 'send: again')}\n"
    with pytest.raises(UsageFailure) as refused:
        cut(text, "later", **{"other.yaml": other})
    assert why in refused.value.message
    assert "without a change of meaning" in refused.value.message


def test_the_hand_over_stays_in_the_group():
    head = "workflow: cart\ntriggers: [{event: cart_updated}]\nexclusive_group: promo\npriority: 60\n"
    made = cut(head + "steps:\n  - send: hello\n  - {id: later, wait: 1d}\n  - send: again\n", "later")
    project = load_texts({"flowctl.yaml": SETTINGS, "messages.yaml": MESSAGES, **made.texts}, Path("/"))
    assert [(one.exclusive_group, one.priority) for one in project.workflows.values()] == [("promo", 60)] * 2


@pytest.mark.parametrize("ticks", [[f"{hours}h" for hours in range(1, 80)], ["1m", "3d", "6d"]])
def test_the_engine_lets_a_hand_over_into_its_own_group(ticks):
    head = flow(
        "cart",
        steps="- send: hello\n- wait: 1d\n- start: cart-2",
        triggers="[{event: cart_updated}]",
        exclusive_group="g",
    )
    tail = flow(
        "cart-2", steps="- send: bye\n- wait: 1d\n- send: again", triggers="[{manual: true}]", exclusive_group="g"
    )
    other = flow("other", steps="- send: receipt", exclusive_group="g")
    world = World(head, tail, other)
    world.contact("ana")
    world.event("ana", "cart_updated", T0 + 1)
    world.event("ana", "signup", T0 + 26 * HOUR)  # behind the hand-over
    world.ticks(*ticks)
    assert world.messages("ana") == ["hello", "bye", "again"]


@pytest.mark.parametrize("said", ["there is a workflow `cart` already", "no step `latr`"])
def test_names_that_do_not_fit(said):
    with pytest.raises(UsageFailure) as refused:
        cut(CART, *(("later", "cart") if "already" in said else ("latr",)))
    assert said in refused.value.message


def test_steps_in_brackets_are_refused():
    with pytest.raises(UsageFailure, match="in brackets"):
        cut(
            "workflow: cart\ntriggers: [{manual: true}]\nsteps: [{send: hello}, {id: later, wait: 1d}, {send: again}]\n",
            "later",
        )


@pytest.mark.parametrize(
    ("workflow", "at"), [("cold-reactivation", "latest_2"), ("app-download", "app-advantages"), ("replenish-diapers", "reminders")]
)  # fmt: skip
def test_the_scenarios_of_a_journey_hold_for_both_parts(tmp_path, workflow, at, capsys):
    for name in ("flowctl.yaml", "segments.yaml", workflow, "engagement", "assumptions.yaml"):
        source = MAISON / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, tmp_path / name)
    for tests in (tmp_path / "engagement").glob("tests.yaml"):
        tests.unlink()
    before = len(load(tmp_path).scenarios)
    assert main(["-C", str(tmp_path), "split", workflow, "--at", at, "--diff"]) == 0
    shown = capsys.readouterr().out
    assert f"+++ b/{workflow}/{workflow}-2.yaml" in shown
    assert not (tmp_path / workflow / f"{workflow}-2.yaml").exists()
    assert main(["-C", str(tmp_path), "split", workflow, "--at", at]) == 0
    assert len(load(tmp_path).workflows) == 2
    assert main(["-C", str(tmp_path), "test"]) == 0
    out, err = capsys.readouterr()
    assert f"{before} passed, 0 failed" in out + err
    assert main(["-C", str(tmp_path), "lint", "--ignore", "REF003"]) == 0
