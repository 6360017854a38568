"""The pressure rules where one good and one bad file do not tell enough."""

from __future__ import annotations

from datetime import time
from pathlib import Path

import cases
import pytest

from flowctl.language.settings import Hours
from flowctl.lint.linter import lint
from flowctl.lint.rules.cap_will_drop import longest_closed_min
from flowctl.project.load import load_texts

HOUR = 60
FRENCH = {"days": "mon-sat", "between": ["10:00", "20:00"], "holidays": False}


@pytest.mark.parametrize(
    ("said", "clock", "hours"),
    [
        ({"between": ["08:00", "21:00"]}, None, 11),  # a night
        ({"between": ["08:00", "21:00"]}, time(21), 11),
        ({"between": ["08:00", "21:00"]}, time(12), 0),
        ({"between": ["22:00", "06:00"]}, None, 16),  # open at night
        ({"days": "mon-fri", "between": ["08:00", "20:00"]}, None, 60),  # Friday evening to Monday morning
        ({"days": "mon-sat", "between": ["10:00", "20:00"]}, None, 38),
        (FRENCH, None, 62),  # and the Monday is a holiday
        (FRENCH, time(12), 46),  # Sunday noon
        ({"days": "mon-sat", "between": ["10:00", "20:00"]}, time(9), 25),
        ({}, None, 0),
    ],
)
def test_quiet_hours_are_closed_for(said, clock, hours):
    assert longest_closed_min(Hours.model_validate(said), clock) == hours * HOUR


def found(code, *texts, settings=None, **more):
    files = {path.name: path.read_text(encoding="utf-8") for path in cases.BASE.iterdir()}
    if settings:
        files["flowctl.yaml"] = settings(files["flowctl.yaml"])
    files |= {f"w{number}.yaml": text for number, text in enumerate(texts)}
    project = load_texts(files, Path())
    assert not project.errors, project.errors
    return lint(project, select=[code], **more).findings


def journey(name, *steps, trigger="{event: cart_updated}", **keys):
    said = "".join(f"{key}: {value}\n" for key, value in keys.items())
    lines = "".join(f"  - {step}\n" for step in steps)
    return f"workflow: {name}\ntriggers: [{trigger}]\n{said}steps:\n{lines}"


def test_what_is_only_late_is_an_info_and_what_is_lost_a_warning():
    two = (journey("a", "send: offer"), journey("b", "send: offer-again"))
    (late,) = found("PRS002", *two)
    assert (late.severity, late.label) == ("info", "number 2, held back here")
    (lost,) = found("PRS002", *two, settings=lambda text: text.replace("pressure:\n", "pressure:\n  on_cap: skip\n"))
    assert lost.severity == "warning"
    (uncapped,) = found("PRS002", *two, settings=lambda text: text.partition("pressure:")[0])
    assert uncapped.severity == "warning"
    assert "default budget 1" in uncapped.message
    assert "declare a cap" in uncapped.help


def test_drafts_and_other_kinds_of_people_are_not_added():
    assert not found("PRS002", journey("a", "send: offer"), journey("b", "send: offer-again", state="draft"))
    french, dutch = ("{field: country, is: FR}", "{field: country, in: [NL, BE]}")
    apart = (journey("a", "send: offer", audience=french), journey("b", "send: offer-again", audience=dutch))
    assert not found("PRS002", *apart)
    writes = journey("c", "set: {country: BE}")  # so that what a country is today says nothing
    assert found("PRS002", *apart, writes)
    assert found("PRS002", journey("a", "send: offer", audience=french), journey("b", "send: offer-again"))


def test_a_group_whose_members_end_with_a_wait_is_one():
    steps = ("send: offer", "wait: 3d")
    apart = [journey(name, *steps) for name in ("a", "b")]
    group = [journey(name, *steps, exclusive_group="g") for name in ("a", "b")]
    assert found("PRS002", *apart)
    assert not found("PRS002", *group)
    evicting = [journey("a", *steps, exclusive_group="g"), journey("b", *steps, exclusive_group="g", priority=60)]
    assert found("PRS002", *evicting)


def test_a_hand_over_at_the_end_is_one_way_and_in_the_middle_two():
    then = journey("b", "send: offer-again", trigger="{manual: true}")
    assert not found("PRS002", journey("a", "send: offer", "wait: 3d", "start: b"), then)
    assert found("PRS002", journey("a", "send: offer", "start: b", "wait: 3d", "send: offer-last"), then)
    also = journey("b", "send: offer-again", trigger="{event: app_downloaded}")
    assert found("PRS002", journey("a", "send: offer", "wait: 3d", "start: b"), also)


def test_a_comment_at_the_cap_silences_the_sum():
    two = (journey("a", "send: offer"), journey("b", "send: offer-again"))
    said = "# flowctl: ignore[PRS002] who is in both hears what comes first\npressure:"
    assert not found("PRS002", *two, settings=lambda text: text.replace("pressure:", said))


def test_a_workflow_entered_at_one_moment_may_be_started_again():
    moment = "{moment: 2026-12-01T09:00}"
    said = {"audience": "{segment: vip}", "reentry": "{after: 1h}", "trigger": moment}
    assert not found("PRS001", journey("a", "send: offer", **said))
    assert found("PRS001", journey("a", "send: offer", **said), journey("b", "start: a", reentry="{after: 1h}"))


@pytest.mark.parametrize(
    ("first", "second", "clash"),
    [
        ("{event: cart_updated, where: {items: 0}}", "{event: cart_updated, where: {items: {gt: 0}}}", False),
        ("{event: cart_updated, where: {items: 1}}", "{event: cart_updated, where: {items: {gt: 0}}}", True),
        ("{event: cart_updated, where: {items: 1}}", "{event: cart_updated, where: {items: 2}}", False),
        ("{event: cart_updated, where: {items: 1}}", "{event: cart_updated, where: {cart_id: x}}", True),
        ("{event: cart_updated, where: {items: {in: [1, 2]}}}", "{event: cart_updated, where: {items: {lte: 2}}}", True),
        ("{event: cart_updated}", "{event: app_downloaded}", False),
        ("{enters: vip}", "{enters: vip}", True),
        ("{enters: vip}", "{exits: vip}", False),
        ("{manual: true}", "{manual: true}", False),
        ("{field: engagement, rises_to: 5}", "{field: engagement, rises_to: 6}", False),
    ],
)  # fmt: skip
def test_two_triggers_are_one_where_one_fact_sets_off_both(first, second, clash):
    two = (journey("a", "send: offer", trigger=first), journey("b", "send: offer-again", trigger=second))
    assert bool(found("PRS008", *two)) == clash


def test_a_hold_that_ends_in_time_loses_nothing():
    steps = (
        "send: offer",
        "wait: 3d",
        "send: offer-again",
        "wait: 3d",
        "send: offer-last",
        "wait: 3d",
        "send: app-news",
    )
    assert not found("PRS004", journey("a", *steps))
    (problem,) = found("PRS004", journey("a", "send: offer", "{id: soon, send: offer-again, expire_after: 4h}"))
    assert "can hold `soon` for 16h; it is given up after 4h" in problem.message


def test_who_looks_at_messages_is_no_fatigue():
    many = ["send: offer", "wait: 7d"] * 4
    assert found("PRS010", journey("a", *many))
    assert not found("PRS010", journey("a", *many[:6]))
    asks = "{if: {message: offer, status: clicked}, then: [{exit: interested}]}"
    assert not found("PRS010", journey("a", *many, asks))
    guards = "\nguards: [{unsubscribed: 1%, over: 7d}]\n"
    assert not found("PRS010", journey("a", *many), settings=lambda text: text + guards)
