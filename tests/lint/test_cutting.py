"""Where CPX004 says to cut."""

from __future__ import annotations

from pathlib import Path

import cases

from flowctl.lint.cutting import module_of
from flowctl.project.load import load_texts

HEAD = "workflow: w\ntriggers: [{event: cart_updated}]\nsteps:\n"


def module(text):
    texts = {path.name: path.read_text() for path in cases.BASE.iterdir()}
    project = load_texts({**texts, "w.yaml": HEAD + text}, Path())
    assert not project.problems
    return module_of(project.workflows["w"].steps)


def adds(*names):
    return "".join(f"  - {{id: {name}, add: {{engagement: 1}}}}\n" for name in names)


def test_the_cut_is_in_the_middle_and_in_front_of_a_wait():
    found = module(adds("a", "b", "c", "d") + "  - {id: pause, wait: 2d}\n" + adds("e", "f"))
    assert [step.name for step in found.steps] == ["pause", "e", "f"]
    assert (found.described, found.size, found.is_end) == ("`pause` to `f` (lines 8-10)", 3, True)


def test_nothing_behind_the_cut_refers_across_it():
    asks = "  - if: {event: purchase_completed, since: c}\n    then: [{exit: bought}]\n"
    found = module(adds("a", "b", "c", "d") + asks + adds("e", "f", "g"))
    assert found.steps[0].name == "e"  # in the middle it would part `c` from who asks about it
    same = (
        "  - {send: app-news, id: first}\n"
        + adds("a", "b", "c")
        + "  - {send: app-news, id: second, via: {same_as: first}}\n"
        + adds("d", "e", "f")
    )
    assert module(same).steps[0].name == "d"
    fetched = "  - fetch: {service: shop_api, path: /x, save_as: reco}\n" + adds("a", "b", "c")
    fetched += "  - if: {data: {reco.count: {gt: 0}}}\n    then: [{exit: none}]\n" + adds("d", "e", "f")
    assert module(fetched).steps[0].name == "d"


def test_one_large_branch_is_cut_inside():
    inside = "".join(f"      - {{id: {name}, add: {{engagement: 1}}}}\n" for name in "abcdefgh")
    found = module(f"  - if: {{segment: vip}}\n    then:\n{inside}  - exit: done\n")
    assert [step.name for step in found.steps] == ["d", "e", "f", "g", "h"]
    assert not found.is_end


def test_a_short_workflow_has_no_module():
    assert module(adds("a", "b", "c")) is None
