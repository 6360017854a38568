"""Files to models: every declaring key, and that models know where they were written."""

from __future__ import annotations

from flowctl.language.reading import read
from flowctl.language.source import parse_text


def reading(text: str):
    root, problems = parse_text("x.yaml", text)
    assert not problems
    return read(root)


def test_plural_and_singular_read_to_the_same():
    one = reading("segment: vip\nmatch: {field: orders, gte: 3}\n")
    many = reading("segments:\n  vip:\n    match: {field: orders, gte: 3}\n")
    assert not one.problems
    assert not many.problems
    assert one.declarations[0].model.model_dump() == many.declarations[0].model.model_dump()
    place = many.declarations[0].place
    assert (place.line, place.column) == (2, 3)
    assert many.declarations[0].model.place_of("segment") == place


def test_every_kind_reads():
    texts = {
        "workflow": "workflow: a\ntriggers: [{manual: true}]\nsteps: []\n",
        "message": "message: a\nsms: {text: hello}\n",
        "score": "score: a\nrules: [{when: {event: x}, add: 1}]\n",
        "survey": "survey: a\nquestions: {q: {type: text}}\n",
        "geofence": "geofences: {a: {center: [48.8, 2.3], radius: 300m}}\n",
        "test": "tests: [{test: a, of: x, start: 2026-01-01T09:00, expect: [{sends: []}]}]\n",
        "assumptions": "assumptions: a\nevents: {x: {rate: 1 per 40d}}\n",
    }
    for kind, text in texts.items():
        found = reading(text)
        assert not found.problems
        assert [(one.kind, one.name) for one in found.declarations] == [(kind, "a")]
        assert found.declarations[0].model.name == "a"


def test_attribute_names_of_python_are_no_keys():
    (problem,) = reading("segment: a\nmatch: {field: orders, is_: 3}\n").problems[:1]
    assert (problem.code, problem.place.column) == ("YML006", 24)


def test_a_missing_key_and_its_misspelling_are_one_fault():
    found = reading("segment: a\nmtach: {field: orders, is: 3}\n")
    assert [problem.code for problem in found.problems] == ["YML006"]


def test_all_faults_of_a_file_in_its_order():
    found = reading("workflow: A\nstate: alive\ntriggers: [{evnt: x}]\nsteps: [{wait: 2}, {send: x, vai: sms}]\n")
    assert [(problem.place.line, problem.code) for problem in found.problems] == [
        (1, "YML007"), (2, "YML007"), (3, "YML006"), (4, "YML007"), (4, "YML006"),
    ]  # fmt: skip


def test_unsound_resources_still_have_names():
    found = reading("segments:\n  good: {match: {field: a, is: 1}}\n  bad: {match: 3}\n  empty:\n")
    assert [(one.name, one.model is not None) for one in found.declarations] == [
        ("good", True),
        ("bad", False),
        ("empty", False),
    ]
