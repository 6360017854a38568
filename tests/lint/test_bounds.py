"""The bound of single workflows: what re-entry, `repeat`, channels and purposes do to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowctl.lint.bounds import CHANNELS, Pressure
from flowctl.lint.context import Context
from flowctl.lint.suppressions import Suppressions
from flowctl.program.compiling import compile_program
from flowctl.program.graph import build_graph
from flowctl.project.load import load_texts

HOUR = 3_600_000
DAY = 24 * HOUR
SETTINGS = """
project: bounds
contacts: {fields: {due: date, parent_phone: phone}}
events: {seen: {properties: {key: text}}, bought: {}}
"""
MESSAGES = """
messages:
  mail: {email: {subject: a, text: a}}
  mail-2: {email: {subject: b, text: b}}
  news: {push: {title: b, text: b}, email: {subject: b, text: b}}
  text: {sms: {text: c}}
  receipt: {purpose: transactional, email: {subject: d, text: d}}
  monthly: {once: 30d, email: {subject: e, text: e}}
"""


def bound(steps, *said, channels=CHANNELS, trigger="{event: seen}"):
    lines = ["workflow: w", f"triggers: [{trigger}]", *said, "steps:", *(f"  {line}" for line in steps)]
    texts = {"flowctl.yaml": SETTINGS, "messages.yaml": MESSAGES, "w.yaml": "\n".join(lines)}
    project = load_texts(texts, Path())
    assert not project.problems
    return Pressure(build_graph(compile_program(project.workflows["w"]), project.messages)).bound(channels)


def most(steps, *said, per, channels=CHANNELS, trigger="{event: seen}"):
    found = bound(steps, *said, channels=channels, trigger=trigger)
    assert not found.is_unbounded
    return found.most(per, 1000)


def test_a_window_holds_what_is_less_than_its_length_apart():
    steps = ["- send: mail", "- wait: 24h", "- send: mail-2"]
    assert most(steps, per=24 * HOUR) == 1
    assert most(steps, per=24 * HOUR + 1) == 2


def test_a_calendar_day_can_have_23_hours_but_only_once():
    assert most(["- send: mail", "- wait: 1d", "- send: mail-2"], per=DAY) == 2
    assert most(["- send: mail", "- wait: 3d", "- send: mail-2"], per=3 * DAY - HOUR) == 1
    assert most(["- send: mail", "- wait: 3d", "- send: mail-2"], per=3 * DAY) == 2


def test_waits_of_every_kind_count_their_least():
    for wait, least in [
        ("wait: {between: [5h, 9h]}", 5 * HOUR),
        ("{wait_for: {event: bought}, timeout: 9h}", 0),
        ("{wait_until: {slot: {days: mon}}}", 0),
        ("{wait_until: {from: contact.due, on_missing: continue, on_past: continue}}", 0),
        ("{wait_until: {date: 2026-12-24T09:00}}", 0),
        ('{wait: 9h, time: "09:00"}', 9 * HOUR),
    ]:
        steps = ["- send: mail", f"- {wait}", "- send: mail-2"]
        assert (most(steps, per=least + 1), most(steps, per=max(1, least))) == (2, 1 if least else 2), wait


def test_the_time_out_branch_takes_the_time_out():
    steps = [
        "- send: mail",
        "- wait_for: {event: bought}",
        "  timeout: 9h",
        "  on_timeout:",
        "    - send: mail-2",
        "  then:",
        "    - exit: bought",
    ]
    assert (most(steps, per=9 * HOUR), most(steps, per=9 * HOUR + 1)) == (1, 2)


def test_only_marketing_counts():
    assert most(["- send: mail", "- send: receipt", "- send: receipt"], per=DAY) == 1
    assert not bound(["- send: receipt"]).sends


def test_a_fallback_counts_once_and_all_channels_each():
    assert most(["- send: news"], per=DAY) == 1
    assert most(["- {send: news, via: {all: [push, email]}}"], per=DAY) == 2
    assert most(["- {send: news, via: {all: [push, email]}}"], per=DAY, channels=("push",)) == 1
    assert most(["- {send: news, via: push}"], per=DAY, channels=("push",)) == 1
    assert not bound(["- {send: news, via: push}"], channels=("email",)).sends


def test_every_recipient_counts():
    assert most(["- {send: text, to: [contact.phone, contact.parent_phone]}"], per=DAY) == 2


def test_the_same_channel_as_an_earlier_send():
    steps = ["- {send: news, via: push}", "- {id: again, send: news, via: {same_as: news}}"]
    assert most(steps, per=DAY, channels=("push",)) == 2
    assert not bound(steps, channels=("email",)).sends


def test_who_is_skipped_takes_the_branch_of_the_skipped():
    steps = ["- send: mail", "  on_skip:", "    - send: text", "    - send: text"]
    assert most(steps, per=DAY) == 2


def test_a_repeat_counts_from_its_last_send_and_not_before_its_steps_end():
    turns = ["- repeat: {every: 2h, max: 5}", "  steps:", "    - send: mail"]
    assert most(turns, per=8 * HOUR + 1) == 5
    assert most(turns, per=8 * HOUR) == 4
    assert most(turns, per=100 * DAY) == 5
    slow = ["- repeat: {every: 2h, max: 5}", "  steps:", "    - send: mail", "    - wait: 3h"]
    assert most(slow, per=12 * HOUR) == 4
    early = ["- repeat: {every: 4h, max: 2}", "  steps:", "    - wait: 3h", "    - send: mail"]
    assert most(early, per=7 * HOUR) == 1


def test_a_growing_repeat_is_not_taken_for_its_shortest_turn():
    turns = ["- repeat: {every: [2h, 10h, 30h], max: 6}", "  steps:", "    - send: mail"]
    assert [most(turns, per=hours * HOUR + 1) for hours in (2, 12, 42, 72, 102, 1000)] == [2, 3, 4, 5, 6, 6]


def test_a_repeat_too_long_to_unroll_is_still_bounded():
    turns = ["- repeat: {every: 1h, max: 1000}", "  steps:"]
    turns += [f"    - {{id: s{number}, when: {{field: country, is: FR}}, send: mail}}" for number in range(20)]
    found = bound(turns)
    assert found.graph.has_loops
    assert found.most(HOUR, 1000) == 20
    assert found.most(HOUR + 1, 1000) == 40


def test_nested_repeats():
    turns = [
        "- repeat: {every: 10h, max: 3}",
        "  steps:",
        "    - repeat: {every: 1h, max: 3}",
        "      steps:",
        "        - send: mail",
    ]
    # mails at 0, 1, 2, then 10 hours behind the last of them: 12, 13, 14, and 24, 25, 26
    assert [most(turns, per=hours * HOUR + 1) for hours in (1, 2, 11, 12, 14, 26)] == [2, 3, 3, 4, 6, 9]
    assert most(turns, per=100 * DAY) == 9


def test_a_second_run_only_after_the_gap():
    assert most(["- send: mail"], per=100 * DAY) == 1
    assert most(["- send: mail"], "reentry: {after: 7d}", per=7 * DAY) == 1
    assert most(["- send: mail"], "reentry: {after: 7d}", per=7 * DAY + 1) == 2


def test_a_gap_since_entry_is_shorter_by_the_longest_run():
    steps = ["- wait: 4d", "- send: mail"]
    since_entry = "reentry: {after: 10d, since: entry}"
    # 4 days and an hour of a clock change, 3 days of holding: the end can be 7 d 1 h after entry, and the next mail 4 d - 1 h after the next entry.
    assert (most(steps, since_entry, per=7 * DAY - 2 * HOUR), most(steps, since_entry, per=7 * DAY - 2 * HOUR + 1)) == (
        1,
        2,
    )


def test_runs_longer_than_their_gap_since_entry_are_counted_instead():
    steps = ["- send: mail", "- wait_until: {from: contact.due, on_missing: exit, on_past: exit}", "- send: mail-2"]
    found = bound(steps, "reentry: {after: 5d, since: entry}")
    assert not found.is_unbounded
    assert found.most(5 * DAY, 1000) == 4


def test_a_restart_with_a_wait_before_the_send_is_bounded_by_it():
    steps = ["- wait: 2h", "- send: mail", "- wait: 3d"]
    assert most(steps, "reentry: {while_active: restart}", per=10 * HOUR) == 5


def test_a_restart_needs_somebody_who_rests():
    assert most(["- send: mail"], "reentry: {while_active: restart}", per=DAY) == 1
    found = bound(["- send: mail", "- wait: 1d"], "reentry: {while_active: restart}")
    assert found.is_unbounded
    assert [node.name for node in found.cycle] == ["mail"]


def test_one_moment_never_comes_again():
    assert most(
        ["- send: mail", "- wait: 1d"],
        "audience: {field: country, is: FR}",
        "reentry: {while_active: restart, after: 1h}",
        trigger="{moment: 2026-12-01T09:00}",
        per=DAY,
    ) == 1  # fmt: skip


def test_a_message_that_goes_once_bounds_itself():
    steps = ["- send: monthly", "- wait: 1d"]
    assert most(steps, "reentry: {while_active: restart}", per=30 * DAY) == 1
    assert most(steps, "reentry: {while_active: restart}", per=30 * DAY + 1) == 2


def test_runs_side_by_side_multiply():
    steps = ["- wait: 36h", "- send: mail"]
    assert bound(steps, "reentry: {while_active: parallel}").is_unbounded
    assert bound(steps, "reentry: {while_active: parallel, after: 1d}").is_unbounded
    since_entry = bound(steps, "reentry: {while_active: parallel, after: 1d, since: entry}")
    assert not since_entry.is_unbounded
    assert since_entry.most(DAY, 1000) == 6  # runs that began in the last 4.5 days (wait and hold), or in this one
    assert bound(
        steps, "reentry: {while_active: parallel, key: trigger.key}"
    ).is_unbounded  # the same key may come again


def test_a_run_with_a_repeat_is_as_long_as_its_turns():
    steps = ["- repeat: {every: [1h, 5h], max: 3}", "  steps:", "    - send: mail"]
    found = bound(steps, "reentry: {while_active: parallel, after: 10d, since: entry}")
    # three turns of at most 3 days of holding and 5 hours each; a day can see this run and the one before
    assert found.graph.comeback.longest_ms == 3 * (3 * DAY + 5 * HOUR)
    assert found.most(DAY, 1000) == 6


def test_a_goal_can_come_at_any_rest_and_what_it_does_then_counts():
    said = ["goal: {event: bought}", "on_goal: [{send: text}]"]
    assert most(["- send: mail", "- wait: 9d", "- send: mail-2"], *said, per=DAY) == 2
    assert most(["- wait: 9d", "- send: mail"], *said, "reentry: {after: 1h}", per=2 * HOUR) == 2


@pytest.mark.parametrize(
    "leave",
    [
        "exit_when: {event: bought}",
        "goal: {event: bought}",
        "active: {until: 2026-12-31, at_end: exit}",
    ],
)
def test_leaving_early_brings_the_next_run_near(leave):
    steps = ["- send: mail", "- wait: 30d"]
    assert most(steps, "reentry: {after: 1h}", per=DAY) == 1
    if not leave.startswith("active"):
        assert most(steps, "reentry: {after: 1h}", leave, per=HOUR + 1) == 2


def test_who_is_evicted_leaves_early_and_an_equal_priority_evicts_nobody():
    text = "workflow: {}\ntriggers: [{{event: seen}}]\nexclusive_group: g\npriority: {}\nreentry: {{after: 1h}}\nsteps: [{{send: mail}}, {{wait: 9d}}]\n"
    found = {}
    for priority in (50, 60):
        files = {"w.yaml": text.format("w", 50), "v.yaml": text.format("v", priority)}
        project = load_texts({"flowctl.yaml": SETTINGS, "messages.yaml": MESSAGES, **files}, Path())
        journeys = {journey.name: journey for journey in Context(project, Suppressions({})).journeys}
        found[priority] = [journeys[name].pressure.bound(CHANNELS).most(HOUR + 1, 1000) for name in ("w", "v")]
    assert found == {50: [1, 1], 60: [2, 1]}


def test_the_witness_tells_places_and_times():
    found = bound(["- send: mail", "- wait: 2h", "- send: mail-2"])
    assert [(sent.node.name, sent.at_ms, sent.node.place.line) for sent in found.witness(2)] == [
        ("mail", 0, 4),
        ("mail-2", 2 * HOUR, 6),
    ]
    assert len(found.witness(9)) == 2
