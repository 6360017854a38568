"""JSON Schemas: they accept what validate accepts and reject misspelt keys and wrong values."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from flowctl.cli.main import main
from flowctl.language.schema import kind_schema, resource_schema, settings_schema
from flowctl.language.source import parse_text, plain
from flowctl.project.load import load

CASES = Path(__file__).parents[1] / "cases" / "validate"
RESOURCE = jsonschema.Draft202012Validator(resource_schema())
SETTINGS = jsonschema.Draft202012Validator(settings_schema())
EVERYTHING = """\
workflow: everything
type: follow-up
goal: {event: purchase_completed, within: 7d, ends: true}
secondary_goals: {seen: {event: page_viewed}}
triggers:
  - {event: cart_updated, where: {items: {gt: 0}}, unless: {event: purchase_completed, within: 60m}}
  - {field: engagement, rises_to: 50}
  - {enters: vip, existing: enroll}
  - {date: birthday, every: year, offset: -7d, time: "09:00"}
audience: {all: [{segment: vip}, {not: {event: purchase_completed, since: 30d, count: {gte: 2}}}]}
reentry: {after: 7d, since: exit, while_active: restart, key: trigger.cart_id}
exit_when: {event: purchase_completed}
inputs: [course]
steps:
  - {wait: 1h30}
  - {wait: {between: [1h, 3h]}}
  - wait_until: {slot: {days: mon-fri, between: ["09:00", "18:00"]}}
  - wait_until: {from: contact.birthday, minus: 10d, on_missing: exit, on_past: [{exit: past}]}
  - {send: hello, via: {all: [sms, email]}, to: [contact.phone], on_skip: exit, expire_after: 2 weeks}
  - {send: hello, via: {same_as: hello}, when: {reachable: {channel: sms}}}
  - wait_for: {message: hello, status: opened}
    timeout: 2d
    then: [{set: {first_name: "{{ x }}", birthday: {from: now, plus: 3d}}}]
  - choose: [{when: {field: engagement, gte: 50}, do: [{add: {engagement: 10}}]}]
    otherwise: [{tag: {interests: [toys]}}]
  - split: {a: 50, b: 50}
    paths: {a: [], b: [{exit: control}]}
  - repeat: {every: [2d, 10d], max: 3, while: {trigger: {items: 3}}}
    steps: [{send: hello}]
  - {start: other}
  - {start: {workflow: other, with: {a: {from: trigger.x}}}}
  - {notify: {owner: contact}, text: hi}
"""


def data(text: str):
    root, problems = parse_text("x.yaml", text)
    assert not problems
    return json.loads(json.dumps(plain(root)))


def test_the_schemas_are_schemas():
    for schema in (resource_schema(), settings_schema(), kind_schema("workflow")):
        jsonschema.Draft202012Validator.check_schema(schema)


def test_what_validate_accepts_the_schema_accepts():
    RESOURCE.validate(data(EVERYTHING))
    base = CASES / "base"
    assert not load(base).errors
    for file in base.glob("*.yaml"):
        (SETTINGS if file.name == "flowctl.yaml" else RESOURCE).validate(data(file.read_text()))


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("workflow: everything", "worklow: everything"),
        ("type: follow-up", "type: followup"),
        ("within: 7d", "wihtin: 7d"),
        ("via: {all: [sms, email]}", "via: {al: [sms, email]}"),
        ("via: {all: [sms, email]}", "via: mail"),
        ("exit: control", "exti: control"),
        ("enters: vip", "entres: vip"),
        ("segment: vip", "segmnt: vip"),
        ("timeout: 2d", "timeuot: 2d"),
        ("max: 3", "max: three"),
        ("rises_to: 50", "rises_to: lots"),
    ],
)
def test_what_is_misspelt_it_rejects(right, wrong):
    assert right in EVERYTHING
    assert not RESOURCE.is_valid(data(EVERYTHING.replace(right, wrong)))


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("segments: {a: {match: {field: x, is: 1}}}", True),
        ("segments: {a: {mtch: {field: x, is: 1}}}", False),
        ("segments: {a: {match: {field: x, is: 1}}}\nowner: x", False),
        ("messages: {a: {sms: {text: x}}}", True),
        ("messages: {a: {sms: {txt: x}}}", False),
        ("foo: 1", False),
    ],
)
def test_resource_files_by_their_key(text, valid):
    assert RESOURCE.is_valid(data(text)) is valid


def test_settings_reject_unknown_keys():
    assert SETTINGS.is_valid({"project": "a"})
    assert not SETTINGS.is_valid({"project": "a", "langauges": ["fr"]})
    assert not SETTINGS.is_valid({"languages": ["fr"]})


def test_the_command_writes_both(tmp_path, capsys):
    assert main(["-C", str(tmp_path), "schema", "--out", ".flowctl"]) == 0
    assert json.loads((tmp_path / ".flowctl" / "flowctl.schema.json").read_text())["$defs"]["SendStep"]["description"]
    assert (
        json.loads((tmp_path / ".flowctl" / "flowctl-settings.schema.json").read_text())["$ref"] == "#/$defs/Settings"
    )
    assert main(["schema", "--kind", "segment"]) == 0
    assert json.loads(capsys.readouterr().out)["$ref"] == "#/$defs/Segment"
