"""`flowctl test`: scenarios on the real engine, what fails and why, what no scenario went through."""

import json
from xml.etree import ElementTree as ET

import pytest

from flowctl.cli.main import main

SETTINGS = """\
project: shop
timezone: Europe/Paris
languages: [en]
contacts: {fields: {first_name: text, stage: {type: choice, values: [lead, customer]}, points: {type: number, default: 0}}}
events: {signup: {}, bought: {properties: {amount: number}}, visited: {}}
senders: {shop: {name: Shop, email: shop@example.com}}
channels: {email: {adapter: smtp, host: localhost, port: 9}}
public_url: https://news.example.com
"""
WELCOME = """\
workflow: welcome
goal: {event: bought, within: 7d}
triggers: [{event: signup}]
steps:
  - send: hello
  - {wait: 1d, time: "09:00"}
  - id: ab
    split: {a: 50, b: 50}
    paths:
      a: [{set: {stage: lead}}]
      b: [{add: {points: 5}}]
  - wait_for: {event: visited}
    timeout: 2d
    then: [{exit: visitor}]
  - send: bye
---
"""
MESSAGES = """\
messages:
  hello: {email: {subject: Hello, text: Hello}}
  bye: {email: {subject: Bye, text: Bye}}
"""
HEAD = "of: welcome\ncontact: {email: ana@example.com}\nstart: 2026-03-27T09:00\n"
QUIET = "timeline: [{at: +0h, event: signup}]\narms: {ab: a}\n"


@pytest.fixture
def run(tmp_path, capsys):
    (tmp_path / "flowctl.yaml").write_text(SETTINGS)
    (tmp_path / "welcome.yaml").write_text(WELCOME.replace("---\n", ""))
    (tmp_path / "messages.yaml").write_text(MESSAGES)

    def run(scenario, *words):
        for number, text in enumerate(scenario if isinstance(scenario, list) else [scenario]):
            (tmp_path / f"test{number}.yaml").write_text(text)
        status = main(["-C", str(tmp_path), "test", *words])
        return status, *capsys.readouterr()

    return run


def test_a_story_that_goes_as_expected_passes_across_a_clock_change(run):
    # Clocks go forward on 29 March; the morning of the 28th is the first 09:00 at least a day away.
    status, _, err = run(
        f"test: quiet\n{HEAD}{QUIET}expect:\n"
        "  - {until: +1h, sends: [{message: hello, channel: email, at: +0h}]}\n"
        "  - {until: +7d, sends: [{message: bye, at: 2026-03-30T09:00}], fields: {stage: lead, points: 0}}\n"
        "  - {exit: completed, at: 2026-03-30T09:00, enrolled: 1}\n"
    )
    assert (status, "1 passed, 0 failed" in err) == (0, True)


VISITOR = f"""\
test: visitor
{HEAD}arms: {{ab: b}}
timeline: [{{at: +0h, event: signup}}, {{at: +2d, event: visited}}]
expect: [{{sends: [hello], exit: visitor, at: +2d, fields: {{points: 5}}}}]
"""
BUYER = f"""\
test: buyer
{HEAD}timeline: [{{at: +0h, event: signup}}, {{at: +30m, event: bought, properties: {{amount: 3}}}}]
expect:
  - {{until: +7d, sends: [hello]}}
  - {{exit: goal, at: +30m}}
"""
HISTORY = f"""\
test: history
{HEAD}history: [{{event: signup, ago: 1h}}]
expect: [{{until: +7d, sends: [], enrolled: false}}]
"""
SILENT = f"""\
test: silent
{HEAD}consent: {{email: false}}
{QUIET}expect: [{{until: +7d, sends: [], exit: completed}}]
"""
LEAVES = f"""\
test: leaves
{HEAD}timeline: [{{at: +0h, event: signup}}, {{at: +1h, unsubscribe: email}}]
arms: {{ab: a}}
expect: [{{until: +7d, sends: [hello], exit: completed}}]
"""


def test_the_other_arm_an_event_and_a_goal(run):
    status, _, err = run([VISITOR, BUYER])
    assert (status, "2 passed" in err) == (0, True), err


def test_history_starts_nothing_and_consent_is_asked(run):
    status, _, err = run([HISTORY, SILENT, LEAVES])
    assert (status, "3 passed" in err) == (0, True), err


def test_a_failure_shows_expectation_and_timeline_with_places(run):
    status, out, err = run(
        f"test: wrong\n{HEAD}{QUIET}expect:\n  - {{until: +7d, sends: [bye], fields: {{points: 5}}}}\n  - {{exit: goal}}\n"
    )
    assert (status, "0 passed, 1 failed" in err) == (1, True)
    assert "test0.yaml:8:25" in out
    assert "expected  sends: bye" in out
    assert "found     sends: hello by email, bye by email" in out
    assert "expected  points: 5" in out
    assert "expected  exit: goal" in out
    assert "welcome.yaml:5@files" in out


def test_the_timeline_of_a_failure_reads_alike_on_a_terminal_and_in_a_log(run, tmp_path):
    """In local times, as the header says, in columns: where CI shows it nobody pastes it into a spreadsheet."""
    _, out, _ = run(f"test: wrong\n{HEAD}{QUIET}expect:\n  - {{until: +7d, sends: [bye]}}\n", "--junit", "report.xml")
    (first,) = (line for line in out.splitlines() if "contact imported" in line)
    assert "times in Europe/Paris" in out
    assert first == "      2026-03-27 09:00  contact imported"
    assert "\t" not in out
    case = ET.parse(tmp_path / "report.xml").getroot().find("testcase")
    assert (case.get("classname"), case.get("file"), case.get("line")) == ("welcome", "test0.yaml", "1")
    assert "sent hello" in case.find("failure").text
    assert "test0.yaml:8:25: expected sends: bye" in case.find("failure").get("message")


def test_json_and_junit_say_the_same(run, tmp_path):
    status, out, _ = run([f"test: wrong\n{HEAD}{QUIET}expect: [{{until: +7d, sends: []}}]\n", f"test: right\n{HEAD}expect: [{{until: +1d, sends: []}}]\n"],
                         "--json", "--junit", "report.xml")  # fmt: skip
    said = {each["name"]: each["passed"] for each in json.loads(out)["tests"]}
    assert (status, said) == (1, {"wrong": False, "right": True})
    assert {(each["place"], *each["of"]) for each in json.loads(out)["tests"]} == {
        ("test0.yaml:1:1", "welcome"),
        ("test1.yaml:1:1", "welcome"),
    }
    suite = ET.parse(tmp_path / "report.xml").getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")


def test_coverage_tells_what_no_scenario_went_through(run):
    status, out, _ = run(f"test: quiet\n{HEAD}{QUIET}expect: [{{until: +7d, exit: completed}}]\n", "--coverage")
    assert status == 0
    assert "split ab never went to b" in out
    assert "wait_for never went to `then`" in out
    assert "exit was never reached" in out
    assert "send bye" not in out


def test_a_pattern_chooses_and_one_that_matches_nothing_is_refused(run):
    texts = [
        f"test: one\n{HEAD}expect: [{{until: +1d, sends: []}}]\n",
        f"test: two\n{HEAD}expect: [{{until: +1d, sends: [bye]}}]\n",
    ]
    assert run(texts, "-k", "one")[0] == 0
    assert run(texts, "-k", "two")[0] == 1
    assert run(texts, "-k", "three")[0] == 2


def test_an_event_that_tells_of_a_message_is_told_of_the_message(run):
    told = f"""\
test: clicked
{HEAD}arms: {{ab: b}}
timeline: [{{at: +0h, event: signup}}, {{at: +1h, event: message_clicked, properties: {{message: hello}}}}]
expect: [{{until: +2h, fields: {{points: 7}}}}]
"""
    score = "score: points\nrules: [{when: {message: any, status: clicked}, add: 7}]\n"
    assert run([told, score])[0] == 0
    status, out, _ = run([told.replace("message: hello", "message: bye"), score])
    assert (status, "message bye was sent before it is clicked" in out) == (1, True)


def test_watching_tells_what_is_wrong_with_the_files_and_goes_on(run, monkeypatch, tmp_path, capsys):
    looks = iter(["{unknown: 1}", f"test: one\n{HEAD}expect: [{{until: +1d, sends: []}}]\n"])

    def sleep(_):
        text = next(looks, None)
        if text is None:
            raise KeyboardInterrupt
        (tmp_path / "test0.yaml").write_text(text)

    monkeypatch.setattr("flowctl.cli.test.time.sleep", sleep)
    status, _, err = run(f"test: one\n{HEAD}expect: [{{until: +1d, sends: [bye]}}]\n", "--watch")
    assert status == 130
    assert "0 passed, 1 failed" in err
    assert "test0.yaml:1:2: error" in err
    assert "1 passed, 0 failed" in err
