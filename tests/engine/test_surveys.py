"""Surveys: answers from outside, what conditions, triggers and scores make of them."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from flowctl.failure import ProblemsFound
from flowctl.simulate.scenario import Bench
from flowctl.store.casting import Reading
from flowctl.store.event_import import EventImport, Plan
from flowctl.store.events import declared
from flowctl.store.reading import Chunk
from tests.engine.world import MESSAGES, SETTINGS, World, at, project, workflow

NPS = """
survey: nps
questions: {score: {type: scale, from: 0, to: 10}, why: {type: text, optional: true}}
"""
MOOD = "survey: mood\nquestions: {happy: {type: boolean}}\n"
ASKING = (
    MESSAGES
    + """
  ask:
    email: {from: shop, subject: How was it?, text: "Tell us: {{ survey_url('nps') }}"}
"""
)


def parsed(when: int) -> str:
    return datetime.fromtimestamp(when / 1000, UTC).isoformat()


class Surveyed(World):
    """A world whose contacts answer."""

    def answer(self, key: str, when: int, survey: str = "nps", event: str = "survey_answered", **answers) -> list:
        faults: list = []
        plan = Plan(events=declared({"events": {}}), reading=Reading(zone=UTC), now=when, event=event)
        row = [key, parsed(when), survey, json.dumps(answers) if answers else None]
        EventImport(self.connection, plan, faults.append).take(
            Chunk(
                columns=("contact", "at", "survey", "answers")
                if event == "survey_answered"
                else ("contact", "at", "survey"),
                rows=[row if event == "survey_answered" else row[:3]],
                lines=[2],
                faults=[],
            )
        )
        return faults


def answers(world):
    return world.connection.execute("SELECT survey, at, answers FROM survey_answers ORDER BY id").fetchall()


def test_an_import_keeps_the_answers_once():
    world = Surveyed(NPS)
    world.contact("ana")
    for _ in range(2):
        assert world.answer("ana", at("1h"), score=9, why="good") == []
    assert answers(world) == [("nps", at("1h"), '{"score":9,"why":"good"}')]


def test_the_trigger_asks_for_an_answer():
    unhappy = workflow("unhappy", steps="- wait: 1d", triggers="[{survey: nps, question: score, answer: {lt: 7}}]")
    answered = workflow("answered", steps="- wait: 1d", triggers="[{survey: nps}]")
    world = Surveyed(NPS, MOOD, unhappy, answered)
    for key, score in (("ana", 6), ("bea", 7)):
        world.contact(key)
        world.answer(key, at("1h"), score=score)
        world.answer(key, at("1h"), survey="mood", happy=True)
    world.tick(at("1h"))
    assert world.entered("unhappy") == [("ana", 60)]
    assert world.entered("answered") == [("ana", 60), ("bea", 60)]
    (trigger,) = world.connection.execute("SELECT trigger FROM enrollments WHERE workflow = 'unhappy'").fetchone()
    assert json.loads(trigger) == {"survey": "nps", "answers": {"score": 6}, "at": at("1h")}


def test_the_latest_answer_counts():
    promoters = "segment: promoters\nmatch: {survey: nps, question: score, answer: {gte: 9}, since: 30d}\n"
    happy = "segment: happy\nmatch: {not: {survey: mood, answer: true, since: ever}}\n"
    world = Surveyed(NPS, MOOD, promoters, happy)
    world.contact("ana")

    def inside(name):
        query = "SELECT 1 FROM segment_members m JOIN segments s ON s.id = m.segment_id WHERE s.name = ?"
        return world.connection.execute(query, (name,)).fetchone() is not None

    world.tick(at("1m"))
    assert inside("happy")
    world.answer("ana", at("1h"), score=9)
    world.answer("ana", at("1h"), survey="mood", happy=True)
    world.tick(at("1h"))
    assert (inside("promoters"), inside("happy")) == (True, False)
    world.answer("ana", at("2h"), score=8)
    world.tick(at("2h"))
    assert not inside("promoters")
    world.answer("ana", at("3h"), score=10)
    world.tick(at("3h"))
    assert inside("promoters")
    world.tick(at("31d"))
    assert not inside("promoters")


STEPS = """
- send: ask
- wait_for: {survey: nps, question: score, answer: {gte: 9}}
  timeout: 3d
  then: [{send: hello}]
  on_timeout:
    - choose:
        - when: {survey: nps, state: unanswered}
          do: [{send: again}]
      otherwise: [{send: bye}]
"""


def test_states_of_a_survey_in_a_journey():
    world = Surveyed(NPS, workflow("feedback", steps=STEPS), messages=ASKING)
    for key in ("ana", "bea", "cleo"):
        world.contact(key)
        world.event(key, "signup", at("1h"))
    world.tick(at("1h"))
    world.answer("ana", at("2h"), score=9)
    world.answer("bea", at("2h"), score=3)
    world.answer("cleo", at("2h"), event="survey_opened")
    for day in range(1, 6):
        world.tick(at(f"{day}d"))
    assert world.messages("ana") == ["ask", "hello"]
    assert world.messages("bea") == ["ask", "bye"]
    assert world.messages("cleo") == ["ask", "again"]


def test_the_link_is_signed_and_leads_to_the_survey():
    from flowctl.engine.links import Links

    world = Surveyed(NPS, workflow("feedback", steps="- send: ask"), messages=ASKING)
    ana = world.contact("ana")
    world.event("ana", "signup", at("1h"))
    world.tick(at("1h"))
    text = world.channel.transmitted[0].payload.decode()
    token = text.split("/s/")[1].split()[0].rstrip("=\n)")
    links = Links(secret=world.store.secret, public_url="https://news.example.com")
    claims = [
        links.read("survey", text.replace("=\r\n", "").split("/s/")[1].split("]")[0].split(")")[0].split()[0]),
        links.read("unsubscribe", token),
    ]
    assert (claims[0].contact_id, claims[0].topic, claims[1]) == (ana, "nps", None)


def test_a_template_that_names_no_survey_is_refused():
    with pytest.raises(ProblemsFound) as found:
        World(NPS, messages=ASKING.replace("'nps'", "contact.first_name"))
    assert "must be written out" in found.value.problems[0].message
    with pytest.raises(ProblemsFound) as found:
        World(MOOD, messages=ASKING)
    assert "no survey `nps`" in found.value.problems[0].message


def test_answers_that_are_none_are_bad_rows():
    world = Surveyed(NPS)
    world.contact("ana")
    faults: list = []
    plan = Plan(events=declared({"events": {}}), reading=Reading(zone=UTC), now=at("1h"), event="survey_answered")
    rows = [["ana", parsed(at("1h")), "nps", "nine"], ["ana", parsed(at("1h")), "nps", {"score": 9}]]
    EventImport(world.connection, plan, faults.append).take(
        Chunk(columns=("contact", "at", "survey", "answers"), rows=rows, lines=[2, 3], faults=[])
    )
    assert [(fault.line, fault.column) for fault in faults] == [(2, "answers")]
    assert [row[2] for row in answers(world)] == ['{"score":9}']


def test_an_answer_scores():
    score = "score: engagement\nrules: [{when: {survey: nps, question: score, answer: {gte: 9}}, add: 4}]\n"
    world = Surveyed(NPS, score)
    world.contact("ana")
    world.answer("ana", at("1h"), score=8)
    world.answer("ana", at("2h"), score=9)
    world.tick(at("3h"))
    assert world.value("ana", "engagement") == 4


def test_a_scenario_answers():
    scenario = """
test: an unhappy one
of: unhappy
contact: {email: ana@example.com}
start: 2026-03-02T09:00
timeline: [{at: +1h, survey: nps, answers: {score: 2}}]
expect: [{until: +2h, sends: [{message: hello, at: +1h}]}]
"""
    steps = "- if: {survey: nps, question: score, answer: {lt: 3}}\n  then: [{send: hello}]"
    made = project(NPS, workflow("unhappy", steps=steps, triggers="[{survey: nps}]"), scenario, settings=SETTINGS)
    bench = Bench(made)
    outcome = bench.run("an unhappy one", made.scenarios["an unhappy one"])
    bench.close()
    assert outcome.passed, outcome.mismatches


def test_a_goal_is_met_when_the_answer_came():
    goal = "{survey: nps, question: score, answer: {gte: 9}}"
    world = Surveyed(NPS, workflow("asked", steps="- wait: 5d", goal=goal))
    world.contact("ana")
    world.answer("ana", at("30m"), score=9)  # before entry
    world.event("ana", "signup", at("1h"))
    world.tick(at("1h"))
    assert world.states("asked") == [("active", None)]
    world.answer("ana", at("1h") + 61_000, score=10)
    world.tick(at("1h") + 299_000)
    assert world.ended("ana") == [("goal", "goal", 60 + 61 / 60)]
