"""Scenario tests of records, tasks, notices and fetches."""

import pytest

from flowctl.project.load import load_texts
from flowctl.simulate.scenario import Bench, selected
from tests.engine.world import MESSAGES, SETTINGS

FLOW = """
workflow: sales
triggers: [{event: cart_updated}]
steps:
  - create: {record: opportunity, key: trigger.cart_id, values: {title: "Cart of {{ contact.first_name }}"}}
  - fetch: {service: shop, path: "/reco", save_as: reco, sample: reco.json, on_error: continue}
  - when: {data: {reco.count: {gte: 2}}}
    notify: {team: sales}
    text: "{{ data.reco.count }} ideas for {{ contact.first_name }}"
  - id: call
    task: {team: sales, title: "Call {{ contact.first_name }}", timeout: 2d, outcomes: [called, no_answer]}
    then: [{set: {stage: customer}}]
    on_timeout: [{set: {stage: lead}}]
"""
HEAD = """
of: sales
contact: {email: ana@example.com, first_name: Ana}
start: 2026-03-02T09:00
"""
CART = "{at: +1h, event: cart_updated, properties: {items: 2, cart_id: c1}}"


def outcomes(*tests):
    files = {
        "flowctl.yaml": SETTINGS
        + "teams: {sales: {members: [lea], email: sales@example.com}}\nservices: {shop: {url: 'https://shop.example'}}\n",
        "messages.yaml": MESSAGES,
        "sales.yaml": FLOW,
        "reco.json": '{"count": 2}',
        **{f"test{number}.yaml": f"test: number {number}{HEAD}{text}" for number, text in enumerate(tests)},
    }
    project = load_texts(files, None)
    assert not project.errors, project.errors
    bench = Bench(project)
    try:
        return [bench.run(name, scenario) for name, scenario in selected(project, "")]
    finally:
        bench.close()


@pytest.mark.parametrize(
    "test",
    [
        f"""
timeline: [{CART}, {{at: +5h, task: called}}]
expect:
  - until: +1h
    records: {{opportunity: 1}}
    tasks: [call]  # the step; its title does as well
    notifies: [sales]
  - until: +6h
    records: {{opportunity: [{{key: c1, title: Cart of Ana}}], ticket: 0}}
    tasks: []
    notifies: []
    fields: {{stage: customer}}
""",
        f"""
timeline: [{CART}]
expect:
  - until: +7d
    records: {{opportunity: {{title: Cart of Ana}}}}
    tasks: [{{title: Call, team: sales, step: call, at: +1h}}]
    notifies: [{{team: sales, text: 2 ideas for Ana, to: sales@example.com, at: 2026-03-02T10:00}}]
    fields: {{stage: lead}}
""",
        f"""
fetches: {{shop: {{count: 1}}}}
timeline: [{CART}]
expect: [{{until: +2h, notifies: [], records: {{opportunity: true, ticket: false}}}}]
""",
    ],
)
def test_what_holds(test):
    [outcome] = outcomes(test)
    assert outcome.mismatches == ()


@pytest.mark.parametrize(
    ("test", "expected", "found"),
    [
        (
            f"timeline: [{CART}]\nexpect: [{{until: +2h, records: {{opportunity: 2}}}}]",
            "opportunity: 2",
            'opportunity: {"title": "Cart of Ana", "key": "c1"}',
        ),
        (
            f"timeline: [{CART}]\nexpect: [{{until: +2h, tasks: []}}]",
            "tasks: nothing",
            'tasks: {"title": "Call Ana", "team": "sales", "step": "call"}',
        ),
        ("expect: [{until: +2h, notifies: [sales]}]", 'notifies: "sales"', "notifies: nothing"),
        (
            f"timeline: [{CART}, {{at: +2h, task: caled}}]\nexpect: [{{until: +2h}}]",
            "task 'Call Ana': called, no_answer",
            "task: caled",
        ),
        ("timeline: [{at: +2h, task: called}]\nexpect: [{until: +2h}]", "an open task", "none"),
        (
            f"timeline: [{CART}]\nexpect: [{{until: +2h, tasks: [{{title: Call, at: +2h}}]}}]",
            'tasks: {"title": "Call", "at": "+2h"}',
            None,
        ),
    ],
)
def test_what_does_not_hold_is_told(test, expected, found):
    [outcome] = outcomes("\n" + test + "\n")
    [wrong] = outcome.mismatches
    assert wrong.expected == expected
    assert found is None or wrong.found == found
    assert wrong.place.line > 1


def test_a_fetch_is_told_with_the_place_where_it_is_written():
    [outcome] = outcomes(f"\ntimeline: [{CART}]\nexpect: [{{until: +2h, tasks: []}}]\n")
    assert outcome.timeline is not None
    [told] = [each for each in outcome.timeline.entries if each.kind == "fetched"]
    assert told.step is not None
    assert (told.step.path, told.detail["path"]) == ("sales.yaml", "/reco")
