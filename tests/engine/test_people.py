"""assign, notify, task, advertise: what the own people do and hear."""

import hashlib
from email import message_from_bytes, policy

import pytest

from flowctl.channels.channel import Receipt
from flowctl.channels.recording import RecordingChannel
from flowctl.engine.by_hand import retry_channel
from flowctl.failure import Failure, UsageFailure
from flowctl.store.audiences import audiences, hashed_members
from flowctl.store.breakers import breakers
from flowctl.store.tasks import done, tasks
from tests.engine.world import SETTINGS, World, at, refusals, workflow

TEAMS = SETTINGS + "teams: {sales: {members: [lea, tom, zoe], email: sales@example.com}, empty: {members: []}}\n"


def world_of(steps, people="ana", channel=None, **keys):
    world = World(workflow("w", steps=steps, **keys), settings=TEAMS, channel=channel)
    for key in people.split():
        world.contact(key, first_name=key.title())
        world.event(key, "signup", at("1m"))
    return world


def owners(world):
    return dict(world.connection.execute("SELECT key, owner FROM contacts WHERE owner IS NOT NULL"))


# --------------------------------------------------------------------------------------------------------------- assign


def test_round_robin_takes_turns_across_ticks():
    world = world_of("- assign: {team: sales}", "a b")
    world.tick(at("1m"))
    for key in "cd":
        world.contact(key)
        world.event(key, "signup", at("2m"))
    world.tick(at("2m"))
    assert owners(world) == {"a": "lea", "b": "tom", "c": "zoe", "d": "lea"}


def test_an_owner_stays_unless_keep_is_false():
    for keep, expected in ((True, {"a": "tom", "b": "lea"}), (False, {"a": "lea", "b": "tom"})):
        world = world_of(f"- assign: {{team: sales, keep: {str(keep).lower()}}}", "a b")
        world.set("a", at("30s"), owner="tom")
        world.tick(at("1m"))
        assert owners(world) == expected


def test_least_loaded_evens_out():
    world = world_of("- assign: {team: sales, by: least_loaded}", "a b c d")
    for key, owner in (("x", "lea"), ("y", "lea"), ("z", "tom")):
        world.contact(key, owner=owner)
    world.tick(at("1m"))
    assert sorted(owners(world).values()) == ["lea", "lea", "lea", "tom", "tom", "zoe", "zoe"]


def test_hash_is_stable():
    found = set()
    for _ in range(2):
        world = world_of("- assign: {team: sales, by: hash}", "a b c d e f g h")
        world.connection.execute("UPDATE contacts SET _seed = id * 7919")
        world.tick(at("1m"))
        found.add(tuple(sorted(owners(world).items())))
    assert len(found) == 1
    assert len({owner for _, owner in found.pop()}) > 1


def test_an_owner_given_starts_what_waits_for_the_field():
    other = workflow(
        "other", triggers="[{field: owner, changes: true}]", steps="- set: {first_name: {from: contact.owner}}"
    )
    world = World(workflow("w", steps="- assign: {team: sales}"), other, settings=TEAMS)
    world.contact("ana")
    world.event("ana", "signup", at("1m"))
    world.tick(at("1m"))
    assert world.value("ana", "first_name") == "lea"


# --------------------------------------------------------------------------------------------------------------- notify


def letters(world):
    return [message_from_bytes(letter.payload, policy=policy.default) for letter in world.channel.transmitted]


def test_a_team_hears_once_without_consent_or_caps():
    world = world_of("- notify: {team: sales}\n  text: 'Call {{ contact.first_name }}\n\n    now'\n- wait: 1d")
    world.withdraw("ana", "email", at("30s"))
    world.ticks("1m", "1m", "2m")
    [letter] = letters(world)
    assert (letter["To"], letter["From"]) == ("sales@example.com", "Shop <shop@example.com>")
    assert letter["Subject"].startswith("[world] Call Ana")
    body = letter.get_body(("plain",)).get_content()
    assert "contact ana, workflow w" in body
    assert [detail["to"] for kind, detail in world.journal("ana") if kind == "notified"] == ["sales@example.com"]


def test_the_owner_hears_by_an_address_or_by_the_team():
    world = world_of("- notify: {owner: contact}\n  text: Hello", "a b c d")
    for key, owner in (("a", "tom"), ("b", "kim@example.com"), ("c", "stranger")):
        world.set(key, at("30s"), owner=owner)
    world.tick(at("1m"))
    assert [(letter["To"], letter["Subject"]) for letter in letters(world)] == [
        ("sales@example.com", "[world] For tom: Hello"),
        ("kim@example.com", "[world] Hello"),
    ]
    unheard = world.connection.execute("SELECT reply FROM notices WHERE recipient IS NULL").fetchall()
    assert unheard == [("nobody to tell has an address",)] * 2
    assert {state for state, _ in world.states()} == {"completed"}


def test_contact_values_cannot_add_headers():
    world = world_of("- notify: {team: sales}\n  text: 'Hi {{ contact.first_name }}'", "a")
    world.set("a", at("30s"), first_name="x\r\nBcc: evil@example.com")
    world.tick(at("1m"))
    [letter] = letters(world)
    assert letter["Bcc"] is None


def test_a_notice_is_retried_and_one_in_doubt_is_not():
    later = Receipt(outcome="retry", reply="450 busy", phase="rcpt")
    world = world_of("- notify: {team: sales}\n  text: Hello", channel=RecordingChannel([later]))
    world.ticks("1m")
    assert world.connection.execute("SELECT state, attempts FROM notices").fetchall() == [(0, 1)]
    world.ticks("3m")
    assert len(letters(world)) == 1
    doubt = Receipt(outcome="in_doubt", reply="lost", phase="body")
    world = world_of("- notify: {team: sales}\n  text: Hello", channel=RecordingChannel([doubt]))
    world.ticks("1m", "1h")
    assert len(letters(world)) == 1
    assert world.connection.execute("SELECT state FROM notices").fetchall() == [(4,)]


def test_alerts_feed_the_breaker_of_their_provider_and_ask_it():
    closing = Receipt(outcome="retry", reply="421 4.7.0 too much", phase="mail", scope="provider")
    world = world_of("- notify: {team: sales}\n  text: Hello", "a b c", channel=RecordingChannel([closing, closing]))
    world.tick(at("1m"))
    assert [(each.channel, each.until_at, each.refusals) for each in breakers(world.connection)] == [
        ("email", at("6m"), 1)
    ]
    world.ticks("2m", "5m")
    assert len(world.channel.asked) == 1  # one alert, not three, and nothing while it rests
    world.tick(at("6m"))
    assert [(each.until_at, each.refusals) for each in breakers(world.connection)] == [(at("16m"), 2)]
    assert world.connection.execute("SELECT DISTINCT state, attempts, ready_at FROM notices").fetchall() == [
        (0, 0, at("16m"))
    ]
    assert retry_channel(world.connection, "email", now=at("7m")) == 3
    world.tick(at("7m"))
    assert len(letters(world)) == 3
    assert breakers(world.connection) == []


def test_what_a_dead_process_was_transmitting_is_not_sent_again():
    world = world_of("- notify: {team: sales}\n  text: Hello")
    world.tick(at("1m"))
    world.connection.execute("UPDATE notices SET state = 1, settled_at = NULL")
    world.tick(at("2m"))
    assert len(letters(world)) == 1
    assert world.connection.execute("SELECT state FROM notices").fetchall() == [(4,)]


def test_apply_refuses_who_cannot_be_told():
    told = workflow("w", steps="- notify: {team: empty}\n  text: Hello")
    assert "neither `email:` nor `alert:`" in refusals(told, settings=TEAMS)[0]
    assert "has no `members:`" in refusals(workflow("w", steps="- assign: {team: empty}"), settings=TEAMS)[0]


# ----------------------------------------------------------------------------------------------------------------- task

CALL = """
- id: call
  task: {team: sales, title: 'Call {{ contact.first_name }}', timeout: 2d, outcomes: [called, no_answer]}
  then:
    - if: {data: {call.outcome: called}}
      then: [{set: {stage: customer}}]
      else: [{set: {stage: lead}}]
  on_timeout: [{set: {stage: loyal}}]
"""


def open_task(world, key="ana"):
    return next(task for task in tasks(world.connection) if task.contact == key)


@pytest.mark.parametrize(("outcome", "stage"), [("called", "customer"), ("no_answer", "lead")])
def test_a_contact_waits_until_a_person_acts(outcome, stage):
    world = world_of(CALL)
    world.ticks("1m", "1h")
    task = open_task(world)
    assert (task.title, task.team, task.until_at) == ("Call Ana", "sales", at("1m") + 2 * 86_400_000)
    done(world.connection, task.id, outcome, now=at("3h"))
    world.tick(at("4h"))
    assert world.value("ana", "stage") == stage
    assert world.ended("ana") == [("completed", None, 180)]
    assert tasks(world.connection) == []


def test_a_task_nobody_does_times_out_at_its_time():
    world = world_of(CALL)
    world.ticks("1m", "1h")
    number = open_task(world).id
    world.tick(at("5d"))
    assert world.value("ana", "stage") == "loyal"
    assert world.ended("ana")[0][2] == 1 + 2 * 24 * 60
    assert [task.state for task in tasks(world.connection, state=None)] == ["timed_out"]
    with pytest.raises(Failure, match="timed out"):
        done(world.connection, number, "called", now=at("5d"))


def test_a_task_done_exactly_at_its_end_wins_and_later_is_too_late():
    world = world_of(CALL)
    world.tick(at("1m"))
    task = open_task(world)
    with pytest.raises(Failure, match="timed out"):
        done(world.connection, task.id, "called", now=task.until_at + 1)
    done(world.connection, task.id, "called", now=task.until_at)
    world.tick(at("9d"))
    assert world.value("ana", "stage") == "customer"


def test_a_task_is_cancelled_with_its_journey_and_done_once_only():
    world = world_of(CALL, "ana ben", exit_when="[{event: purchase}]")
    world.tick(at("1m"))
    task = open_task(world)
    world.event("ana", "purchase", at("1h"))
    world.tick(at("1h"))
    assert [each.state for each in tasks(world.connection, state=None)] == ["cancelled", "open"]
    with pytest.raises(Failure, match="cancelled"):
        done(world.connection, task.id, "called", now=at("2h"))
    other = open_task(world, "ben").id
    done(world.connection, other, "called", now=at("2h"))
    with pytest.raises(Failure, match="done: called"):
        done(world.connection, other, "called", now=at("2h"))


def test_outcomes_are_known():
    world = world_of(CALL)
    world.tick(at("1m"))
    task = open_task(world)
    for outcome in ("caled", None):
        with pytest.raises(UsageFailure) as refused:
            done(world.connection, task.id, outcome, now=at("2m"))
        assert "called, no_answer" in refused.value.help
    with pytest.raises(UsageFailure, match="no task 99"):
        done(world.connection, 99, None, now=at("2m"))


def test_a_task_without_a_time_out_is_refused():
    assert "for ever" in refusals(workflow("w", steps="- task: {team: sales, title: x}"), settings=TEAMS)[0]


# ------------------------------------------------------------------------------------------------------------- advertise


def test_audiences_hold_who_joined_and_export_hashes():
    steps = (
        "- advertise: {add: meta}\n- wait: 1d\n- if: {field: stage, is: lead}\n  then: [{advertise: {remove: meta}}]"
    )
    world = world_of(steps, "a b c d")
    world.set("a", at("30s"), phone="+33612345678", country="FR", email=" Ana@Example.COM ".strip())
    world.set("b", at("30s"), stage="lead")
    world.withdraw("c", "email", at("30s"))
    world.suppress("d@example.com", at("30s"))
    world.ticks("1m", "2m")
    assert [(each.name, each.members) for each in audiences(world.connection)] == [("meta", 4)]
    world.tick(at("2d"))
    [ana] = hashed_members(world.connection, "meta")
    assert ana.email == hashlib.sha256(b"ana@example.com").hexdigest()
    assert ana.phone == hashlib.sha256(b"+33612345678").hexdigest()
    assert ana.country == "fr"
    with pytest.raises(UsageFailure, match="`mata`"):
        list(hashed_members(world.connection, "mata"))


# ------------------------------------------------------------------------------------------------- late ticks, versions


def test_a_late_tick_does_what_ticks_on_time_would_have_done():
    steps = (
        f"- assign: {{team: sales}}\n- advertise: {{add: meta}}\n- notify: {{owner: contact}}\n  text: Hello\n{CALL}"
    )

    def lived(*ticks):
        world = world_of(steps, "ana ben")
        world.event("ben", "purchase", at("3h"))
        world.ticks(*ticks)
        told = world.connection.execute("SELECT owner, recipient, at, text FROM notices ORDER BY id").fetchall()
        made = world.connection.execute(
            "SELECT contact_id, at, until_at, title, timed_out FROM tasks ORDER BY id"
        ).fetchall()
        return told, made, owners(world), world.value("ana", "stage"), world.ended("ana"), world.ended("ben")

    assert lived("1m", "5m", "1d", "2d", "3d") == lived("3d")


def test_members_follow_the_newest_release_and_contacts_keep_their_version():
    world = World(workflow("w", steps="- wait: 1h\n- assign: {team: sales}"), settings=TEAMS)
    world.contact("ana")
    world.event("ana", "signup", at("1m"))
    world.tick(at("1m"))
    world.apply(
        workflow("w", steps="- wait: 1h\n- assign: {team: sales}"), settings=TEAMS.replace("lea, tom, zoe", "kim")
    )
    world.tick(at("2h"))
    assert owners(world) == {"ana": "kim"}


def test_repeated_ticks_and_a_copy_of_the_store_change_nothing():
    world = world_of(
        f"- assign: {{team: sales}}\n- create: {{record: ticket}}\n- notify: {{team: sales}}\n  text: Hello\n{CALL}"
    )
    world.tick(at("1m"))
    tables = ("records", "tasks", "notices", "rotations")
    before = [world.connection.execute(f"SELECT * FROM {table}").fetchall() for table in tables]
    world.ticks("1m", "1m", "2m")
    assert [world.connection.execute(f"SELECT * FROM {table}").fetchall() for table in tables] == before


def test_queries_of_every_tick_use_their_indexes():
    world = world_of(CALL)
    world.tick(at("1m"))
    for query, index in (
        ("SELECT 1 FROM notices WHERE ready_at <= 5 LIMIT 1", "notices_ready"),
        ("SELECT 1 FROM notices WHERE state = 1 LIMIT 1", "notices_open"),
        ("SELECT 1 FROM fetches WHERE ready_at <= 5 LIMIT 1", "fetches_ready"),
        ("SELECT count(*) FROM contacts WHERE owner = 'lea'", "contacts_owner"),
        (
            "SELECT t.done_at FROM tasks t WHERE t.enrollment_id = 1 AND t.pc = 2 AND t.at = 3",
            "sqlite_autoindex_tasks_1",
        ),
    ):
        plan = " ".join(row[3] for row in world.connection.execute(f"EXPLAIN QUERY PLAN {query}"))
        assert index in plan, plan
