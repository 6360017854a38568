"""Environments: whom they write to, how quickly their time passes, and that a release remembers which one it was applied with."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowctl.engine.apply import apply
from flowctl.language.settings import Settings
from flowctl.project.load import load_from
from flowctl.project.origins import TextFiles
from flowctl.project.time_scale import at_its_pace
from tests.engine.world import MESSAGES, SETTINGS, World, at, workflow

ENVIRONMENTS = """
environments:
  staging: {only_to: ["*@Example.com", "+33 6 12*"]}
  fast: {time_scale: 60, pressure: {email: [1 per 20h]}}
  nobody: {only_to: []}
"""


def applied(environment: str, *texts: str, messages: str = MESSAGES, more: str = "") -> World:
    world = World()
    files = {"flowctl.yaml": SETTINGS + more + ENVIRONMENTS, "messages.yaml": messages}
    files |= {f"file{number}.yaml": text for number, text in enumerate(texts)}
    made = load_from(TextFiles(files), Path("/"), environment=environment)
    assert not made.errors, made.errors
    apply(world.store, made, commit="abc1234", now=world.now)
    return world


def test_only_to_skips_every_other_address_transactional_included():
    both = workflow("w", steps="- send: receipt\n  via: {all: [email, sms]}\n- send: hello\n  via: email")
    world = applied("staging", both)
    world.contact("ana", phone="+33612345678")
    world.contact("bob", email="bob@elsewhere.org", phone="+33712345678")
    for key in ("ana", "bob"):
        world.event(key, "signup", at("1m"))
    world.ticks("5m")
    assert [row[1:3] for row in world.sent()] == [("receipt", "email"), ("receipt", "sms"), ("hello", "email")]
    assert {row[2:] for row in world.outbox("bob")} == {("skipped", "only_to")}
    assert world.states(key="bob") == [("completed", None)]
    assert ("skipped", {"reason": "only_to", "until": None}) in world.journal("bob")


def test_an_empty_only_to_lets_nothing_leave_and_none_lets_everything():
    text = workflow("w", steps="- send: receipt\n  via: email")
    for environment, sent in (("nobody", 0), ("", 1)):
        world = applied(environment, text)
        world.contact("ana")
        world.event("ana", "signup", at("1m"))
        world.ticks("5m")
        assert len(world.sent()) == sent


def test_only_to_holds_for_alerts_to_the_own_people_too():
    text = workflow("w", steps="- notify: {team: sales}\n  text: Call")
    for environment, left in (("staging", 0), ("", 1)):
        world = applied(environment, text, more="teams: {sales: {members: [lea], email: sales@shop.org}}\n")
        world.contact("ana")
        world.event("ana", "signup", at("1m"))
        world.ticks("5m")
        assert len(world.channel.transmitted) == left
        (reply,) = world.connection.execute("SELECT reply FROM notices").fetchone()
        assert ("only_to" in (reply or "")) == (not left)


def test_time_scale_makes_waits_timeouts_and_windows_pass_quicker():
    text = workflow(
        "w",
        steps="""
- send: hello
  via: email
- wait: 2h
- wait_for: {event: purchase}
  timeout: 1d
- if: {event: purchase, since: 1d}
  then: [{send: again}]
  else: [{send: bye}]
""",
    )
    world = applied("fast", text)
    for key in ("ana", "bob"):
        world.contact(key)
        world.event(key, "signup", at("1m"))
    world.ticks("1m", "3m")
    world.event("ana", "purchase", at("26m"))
    world.ticks("3m", "27m")  # two minutes, then twenty-four
    # The cap of 20 hours is one of 20 minutes.
    assert world.messages("ana") == ["hello", "again"]
    assert world.messages("bob") == ["hello", "bye"]


def test_expire_after_is_scaled_its_default_too_and_times_of_day_are_not():
    text = workflow("w", steps='- wait: 1d\n  time: "09:00"\n- send: hello\n  via: email')
    settings = SETTINGS + ENVIRONMENTS
    made = load_from(
        TextFiles({"flowctl.yaml": settings, "messages.yaml": MESSAGES, "w.yaml": text}), Path("/"), environment="fast"
    )
    scaled = at_its_pace(made)
    wait = scaled.workflows["w"].steps[0]
    assert (wait.wait.elapsed_ms, wait.time.hour) == (24 * 60_000, 9)
    assert wait.place == made.workflows["w"].steps[0].place
    assert scaled.messages["hello"].expire_after.elapsed_ms == 72 * 60_000
    assert scaled.settings.pressure.email[0].per.elapsed_ms == 20 * 60_000
    assert made.settings.pressure.email[0].per.elapsed_ms == 20 * 3_600_000


def test_what_the_calendar_or_the_outside_decides_keeps_its_pace():
    text = workflow(
        "w",
        triggers='[{date: due_date, offset: -7d, time: "09:00", max_event_age: 2d}]',
        audience="{field: due_date, within_next: 10d}",
        steps='- wait_until: {from: contact.due_date, minus: 3d, time: "09:00", on_missing: exit, on_past: exit}\n- send: hello',
    )
    made = load_from(
        TextFiles({"flowctl.yaml": SETTINGS + ENVIRONMENTS, "messages.yaml": MESSAGES, "w.yaml": text}),
        Path("/"),
        environment="fast",
    )
    assert not made.errors
    assert at_its_pace(made).workflows == made.workflows


def test_a_release_is_compiled_anew_for_the_environment_that_it_was_applied_with():
    text = workflow("w", steps="- wait: 60m\n- send: receipt\n  via: email")
    for environment, sent in (("fast", [("receipt", "email", 2)]), ("staging", []), ("", [])):
        world = applied(environment, text)
        world.connection.execute("UPDATE releases SET compiler = 0, runtime = '{}'")
        world.contact("ana", email="ana@elsewhere.org")
        world.event("ana", "signup", at("1m"))
        world.ticks("1m", "2m")
        assert world.sent("ana") == sent
        world.ticks("1h5m")
        assert len(world.sent("ana")) == (environment != "staging")


def test_the_same_files_for_another_environment_are_another_release():
    world = applied("staging", workflow("w", steps="- send: receipt"))
    (first,) = world.connection.execute("SELECT max(id) FROM releases").fetchone()
    texts = {"flowctl.yaml": SETTINGS + ENVIRONMENTS, "messages.yaml": MESSAGES}
    texts["file0.yaml"] = workflow("w", steps="- send: receipt")
    for environment, id_ in (("staging", first), ("", first + 1), ("", first + 1)):
        made = load_from(TextFiles(texts), Path("/"), environment=environment)
        assert apply(world.store, made, commit="abc1234", now=world.now).id == id_


def test_a_time_scale_is_more_than_nothing():
    said = {"project": "x", "environments": {"fast": {"time_scale": 0}}}
    with pytest.raises(ValueError, match="greater than 0"):
        Settings.model_validate(said)
