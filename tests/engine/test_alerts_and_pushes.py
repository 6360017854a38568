"""Alerts of teams and records for services, each against a local server that takes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowctl.engine.runtime import Experiment
from flowctl.engine.tick import tick
from flowctl.report.audit import audit
from tests.engine.world import SETTINGS, World, at, project, workflow
from tests.servers.apis import serving
from tests.servers.hooks import Crm, Hook, Slack, Teams

NASTY = '<!channel> [win](http://evil.example) & "Ana"'


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The project's: mail of a maildir channel goes there."""
    monkeypatch.chdir(tmp_path)


def real_tick(world, offset, **more):
    world.now = at(offset)
    report = tick(world.store, now=at(offset), base=Path(), **more)
    assert audit(world.store, now=at(offset)).differences == ()
    return report


def team(
    alert,
    monkeypatch,
    *,
    email=", email: sales@example.com",
    private="true",
    steps="- notify: {team: sales}\n  text: 'New: {{ contact.first_name }}'",
):
    monkeypatch.setenv("SALES_ALERT", alert)
    settings = (
        SETTINGS + f"teams: {{sales: {{members: [lea]{email}, alert: '${{SALES_ALERT}}', private: {private}}}}}\n"
    )
    world = World(workflow("w", steps=steps), settings=settings)
    world.contact("ana", first_name=NASTY)
    world.event("ana", "signup", at("1m"))
    return world


def states(world):
    return world.connection.execute("SELECT state, attempts, recipient FROM notices").fetchall()


def dump(world):
    return "\n".join(world.connection.iterdump())


# ---------------------------------------------------------------------------------------------------------------- alerts


def test_slack_gets_a_text_in_which_nothing_is_mark_up(monkeypatch):
    with serving(Slack) as room:
        world = team(f"slack+{room.url}{room.path}", monkeypatch)
        assert real_tick(world, "2m").notified == 1
        [said] = room.accepted
        assert said == {"text": 'New: &lt;!channel&gt; [win](http://evil.example) &amp; "Ana"\ncontact ana, workflow w'}
        assert states(world) == [(2, 1, "alert:sales")]
        # The address is a secret: it stands nowhere in the store.
        assert "XXXXXXXX" not in dump(world)
        assert (
            "notified",
            {"team": "sales", "owner": None, "to": "alert:sales", "text": f"New: {NASTY}"},
        ) in world.journal("ana")


def test_teams_gets_a_card_of_plain_runs(monkeypatch):
    with serving(Teams) as room:
        world = team(f"teams+{room.url}{room.path}", monkeypatch, email="")
        assert real_tick(world, "2m").notified == 1
        assert room.accepted == [[f"[world] New: {NASTY}", f"New: {NASTY}", "contact ana, workflow w"]]
        assert "s3cr3t-signature" not in dump(world)


def test_any_web_hook_gets_json(monkeypatch):
    with serving(Hook) as room:
        world = team(f"{room.url}/alerts?token=1", monkeypatch)
        real_tick(world, "2m")
        [said] = room.accepted
        assert said == {
            "title": f"[world] New: {NASTY}", "text": f"New: {NASTY}", "project": "world", "team": "sales", "contact": "ana", "workflow": "w",
            "key": said["key"],
        }  # fmt: skip


def test_a_room_that_is_gone_is_told_and_shows_no_address(monkeypatch):
    with serving(Slack) as room:
        world = team(f"slack+{room.url}/services/T0/B0/WRONGWRONGWRONG", monkeypatch)
        real_tick(world, "2m")
        assert states(world) == [(3, 1, "alert:sales")]
        (reply,) = world.connection.execute("SELECT reply FROM notices").fetchone()
        assert reply == "404 no_service"


def test_a_room_that_is_down_is_asked_again_and_a_doubt_is_not(monkeypatch):
    with serving(Hook) as room:
        world = team(f"{room.url}/x", monkeypatch)
        room.faults["*"] = [(429, {}, {"Retry-After": "60"})]
        assert real_tick(world, "2m").refusals == {"alert:sales": "429 {}"}
        assert real_tick(world, "4m").notified == 1
    with serving(Hook) as room:
        world = team(f"{room.url}/x", monkeypatch)
        room.faults["*"] = ["after:close"]
        for offset in ("2m", "10m", "1h"):
            real_tick(world, offset)
        assert states(world) == [(4, 1, "alert:sales")]
        assert len(room.accepted) == 1


def test_private_addresses_need_leave_and_a_missing_variable_waits(monkeypatch):
    with serving(Hook) as room:
        world = team(f"{room.url}/x", monkeypatch, private="false")
        report = real_tick(world, "2m")
        assert "private address" in report.refusals["alert:sales"]
        assert room.asked == []
        monkeypatch.delenv("SALES_ALERT")
        assert "SALES_ALERT is not set" in real_tick(world, "10m").refusals["alert:sales"]
        assert states(world)[0][:2] == (0, 0)


def test_an_owner_keeps_the_mailbox_and_a_team_has_its_room(monkeypatch):
    steps = "- assign: {team: sales}\n- notify: {owner: contact}\n  text: Yours\n- notify: {team: sales}\n  text: Ours"
    with serving(Hook) as room:
        world = team(f"{room.url}/x", monkeypatch, steps=steps)
        real_tick(world, "2m")
        assert [said["text"] for said in room.accepted] == ["Ours"]
        assert [row[2] for row in states(world)] == ["sales@example.com", "alert:sales"]


def test_an_experiment_alerts_nobody(monkeypatch):
    with serving(Hook) as room:
        world = team(f"{room.url}/x", monkeypatch)
        world.tick(at("2m"), experiment=Experiment())
        assert room.asked == []
        assert states(world)[0][0] == 2


@pytest.mark.parametrize("alert", ["slack://x", "ftp://x", "sales@example.com", "https://"])
def test_what_is_no_alert_is_told_where_it_stands(alert):
    settings = f"project: p\nteams:\n  sales: {{alert: '{alert}'}}\n"
    [problem] = [
        each
        for each in project(settings=settings, messages="messages: {}\n").problems
        if each.place.path == "flowctl.yaml"
    ]
    assert problem.place.line == 3
    assert "slack://A/B/C" in problem.message


# ---------------------------------------------------------------------------------------------------------------- pushes

DEAL = "- create: {record: deal, key: contact.key, values: {title: 'Deal with {{ contact.first_name }}', value: 12.5}}"


def crm(api, monkeypatch, *, people="ana", retries="", path="", steps=DEAL):
    monkeypatch.setenv("CRM_TOKEN", api.secret)
    settings = SETTINGS + (
        f"records: {{deal: {{fields: {{title: text, value: number}}, service: crm{path}}}, note: {{fields: {{title: text}}}}}}\n"
        f"services: {{crm: {{url: '{api.url}/api', private: true, timeout: 1s, headers: {{Authorization: 'Bearer ${{CRM_TOKEN}}'}}}}}}\n"
    )
    world = World(workflow("w", steps=steps), settings=settings)
    for key in people.split():
        world.contact(key, first_name=key.title())
        world.event(key, "signup", at("1m"))
    return world


def pushes(world):
    return world.connection.execute("SELECT state, attempts FROM record_pushes ORDER BY record_id").fetchall()


def test_a_service_is_told_of_a_record_once(monkeypatch):
    with serving(Crm) as api:
        world = crm(api, monkeypatch, steps=DEAL + "\n" + DEAL + "\n- create: {record: note, values: {title: x}}")
        assert real_tick(world, "2m").pushed == 1
        [(path, said)] = api.kept.values()
        assert path == "/api/deal"
        assert said == {
            "record": "deal", "id": 1, "key": "ana", "at": "2026-03-02T10:01:00Z", "workflow": "w",
            "contact": {"id": 1, "key": "ana", "email": "ana@example.com", "phone": None}, "values": {"title": "Deal with Ana", "value": 12.5},
        }  # fmt: skip
        for offset in ("3m", "1h"):
            real_tick(world, offset)
        assert len(api.asked) == 1
        assert pushes(world) == [(1, 1)]
        assert api.secret not in dump(world)


@pytest.mark.parametrize(
    "fault", ["close", "after:close", "silence", "after:half", (500, {}), (503, b"busy"), "garbage"], ids=str
)
def test_a_push_is_repeated_with_its_key_until_it_is_known(fault, monkeypatch):
    with serving(Crm) as api:
        world = crm(api, monkeypatch)
        api.faults["ana"] = [fault, fault]
        for offset in ("2m", "4m", "20m", "1h"):
            real_tick(world, offset)
        assert pushes(world) == [(1, 3)]
        assert len(api.kept) == 1
        assert len({asked.headers["idempotency-key"] for asked in api.asked}) == 1


def test_one_record_that_is_refused_stops_no_other(monkeypatch):
    with serving(Crm) as api:
        world = crm(api, monkeypatch, people="ana tom zoe")
        api.faults["tom"] = (422, {"error": "value is missing"})
        assert real_tick(world, "2m").pushed == 2
        assert pushes(world) == [(1, 1), (2, 1), (1, 1)]
        assert (
            world.connection.execute("SELECT reply FROM record_pushes WHERE state = 2").fetchone()[0].startswith("422")
        )


def test_a_service_that_is_down_is_not_asked_for_each(monkeypatch):
    with serving(Crm) as api:
        people = " ".join(f"p{n}" for n in range(20))
        world = crm(api, monkeypatch, people=people)
        api.faults["*"] = "close"
        report = real_tick(world, "2m")
        assert len(api.asked) == 3
        assert "records deal" in report.refusals
        api.faults.clear()
        real_tick(world, "3h")
        assert len(api.kept) == 20
    with serving(Crm) as api:
        world = crm(api, monkeypatch, people=people)
        monkeypatch.setenv("CRM_TOKEN", "wrong-s3cr3t")
        report = real_tick(world, "2m")
        assert len(api.asked) == 1
        assert "wrong-s3cr3t" not in str(report) + dump(world)


def test_imports_and_experiments_push_nothing(monkeypatch):
    with serving(Crm) as api:
        world = crm(api, monkeypatch)
        world.tick(at("2m"), experiment=Experiment())
        assert api.asked == []
        assert pushes(world) == [(1, 1)]


def test_the_path_is_the_record_s_own_where_it_says_one(monkeypatch):
    with serving(Crm) as api:
        world = crm(api, monkeypatch, path=", path: /v2/deals")
        real_tick(world, "2m")
        assert [path for path, _ in api.kept.values()] == ["/api/v2/deals"]


def test_what_waits_is_found_by_its_index():
    world = World()
    plan = world.connection.execute(
        "EXPLAIN QUERY PLAN SELECT 1 FROM record_pushes WHERE ready_at <= ? LIMIT 1", (1,)
    ).fetchall()
    assert "record_pushes_ready" in plan[0][3]
