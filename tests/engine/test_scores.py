"""Scores: what counts, once, within bounds; the field and the tier that follow, and who sees them."""

from __future__ import annotations

from flowctl.engine.tick import LOOKS_MAX
from flowctl.simulate.scenario import Bench
from tests.engine.world import DAY, HOUR, MINUTE, World, at, project, refusals, workflow

SCORE = """
score: engagement
rules:
  - {when: {event: purchase, where: {amount: {gte: 10}}}, add: 10}
  - {when: {event: signup}, add: 5, limit: 1 per 1d}
  - {when: {message: any, status: clicked}, add: 3}
  - {when: {field: stage, is: customer}, add: 20}
  - {when: {enters: readers}, add: 7}
  - {when: {exits: readers}, add: -50}
min: -30
max: 60
tiers: [{cold: -30}, {interested: 0}, {mql: 15}, {sql: 50}]
"""
READERS = """
segment: readers
match: {field: interests, has: books}
"""
WELCOME = workflow("welcome", steps="- send: hello\n- wait: 30d", triggers="[{field: engagement, rises_to: 15}]")


def ledger(world, key):
    return world.connection.execute(
        "SELECT l.rule, l.points, l.at FROM score_ledger l JOIN contacts c ON c.id = l.contact_id WHERE c.key = ? ORDER BY l.id",
        (key,),
    ).fetchall()


def points(world, key):
    return [row[1] for row in ledger(world, key)]


def test_new_facts_count_once_and_the_field_follows_with_its_time():
    world = World(SCORE, READERS)
    world.contact("ana")
    world.event("ana", "purchase", at("1h"), amount=12)
    world.event("ana", "purchase", at("1h"), amount=9)
    world.tick(at("2h"))
    world.tick(at("2h"))
    world.tick(at("3h"))
    assert (points(world, "ana"), world.value("ana", "engagement")) == ([10], 10)
    changes = world.connection.execute(
        "SELECT field, old, new, at FROM contact_changes WHERE field LIKE 'engagement%' ORDER BY id"
    ).fetchall()
    assert changes == [("engagement", 0, 10, at("1h"))]


def test_history_never_scores():
    world = World(READERS)
    world.contact("ana")
    world.event("ana", "purchase", at("1h"), amount=12)
    world.tick(at("2h"))
    world.apply(SCORE, READERS, now=at("3h"))
    world.event("ana", "purchase", at("2h30"), amount=12)  # came late, from before the score
    world.tick(at("4h"))
    assert points(world, "ana") == []
    world.event("ana", "purchase", at("5h"), amount=12)
    world.tick(at("5h"))
    assert points(world, "ana") == [10]


def test_a_limit_is_a_rolling_window():
    world = World(SCORE, READERS)
    world.contact("ana")
    for offset in ("1h", "2h", "24h", "25h", "26h", "3d"):
        world.event("ana", "signup", at(offset))
    world.tick(at("4d"))
    assert [row[2] for row in ledger(world, "ana")] == [at("1h"), at("25h"), at("3d")]


def test_bounds_and_tiers():
    world = World(SCORE, READERS)
    world.contact("ana", interests='["books"]')
    assert world.value("ana", "engagement_tier") is None
    world.tick(at("1m"))
    assert world.value("ana", "engagement_tier") == "interested"
    for hour in range(1, 9):
        world.event("ana", "purchase", at(hour * HOUR), amount=12)
    world.tick(at("9h"))
    assert (world.value("ana", "engagement"), world.value("ana", "engagement_tier")) == (60, "sql")
    world.set("ana", at("10h"), interests=None)
    world.tick(at("10h"))
    assert (world.value("ana", "engagement"), world.value("ana", "engagement_tier")) == (10, "interested")
    world.set("ana", at("11h"), engagement=-10)  # by whatever hand: the tier follows
    world.tick(at("11h"))
    assert world.value("ana", "engagement_tier") == "cold"


def test_clicks_field_changes_and_segments_score():
    world = World(SCORE, READERS, workflow("mail", steps="- send: hello"))
    world.contact("ana", stage="lead")
    world.event("ana", "signup", at("1h"))
    world.tick(at("1h"))
    clicked = (
        "INSERT INTO message_events (contact_id, message, status, at) SELECT contact_id, message, 3, ? FROM outbox"
    )
    world.connection.execute(clicked, (at("2h"),))
    world.set("ana", at("2h"), stage="customer", interests='["books"]')
    world.tick(at("2h"))
    assert sorted(points(world, "ana")) == [3, 5, 7, 20]
    world.set("ana", at("3h"), first_name="Ana")
    world.set("ana", at("3h"), stage="loyal")
    world.set("ana", at("3h"), stage="customer")
    world.tick(at("4h"))
    assert sorted(points(world, "ana")) == [3, 5, 7, 20, 20]


def test_triggers_segments_and_exits_see_what_was_scored_in_the_same_tick():
    hot = "segment: hot\nmatch: {field: engagement_tier, in: [mql, sql]}\n"
    chased = workflow("chased", steps="- wait: 30d", triggers="[{enters: hot}]")
    nursed = workflow("nursed", steps="- wait: 30d", exit_when="{segment: hot}")
    world = World(SCORE, READERS, WELCOME, hot, chased, nursed)
    world.contact("ana")
    world.event("ana", "signup", at("1h"))
    world.event("ana", "purchase", at("1h") + MINUTE, amount=12)
    world.tick(at("1h") + MINUTE)
    assert world.messages("ana") == ["hello"]
    assert [name for (name,) in world.connection.execute("SELECT workflow FROM enrollments ORDER BY workflow")] == [
        "chased",
        "nursed",
        "welcome",
    ]
    assert world.ended("ana")[0][:2] == ("exited", "exit_when hot")


def test_the_add_step_writes_the_ledger_and_minds_the_bounds():
    world = World(SCORE, READERS, workflow("gift", steps="- add: {engagement: 100}", reentry="{after: 1h}"))
    world.contact("ana")
    world.event("ana", "signup", at("1h"))
    world.tick(at("1h"))
    assert [row[:2] for row in ledger(world, "ana")][1:] == [("step", 100)]
    assert (world.value("ana", "engagement"), world.value("ana", "engagement_tier")) == (60, "sql")
    world.event("ana", "signup", at("3h"))
    world.tick(at("3h"))
    assert points(world, "ana").count(100) == 2


def test_a_score_that_moves_its_own_segment_stops():
    loop = "segment: low\nmatch: {field: visits, lt: 1}\n"
    score = "score: visits\nrules:\n  - {when: {enters: low}, add: 5}\n  - {when: {exits: low}, add: -5}\n"
    world = World(score, loop)
    world.contact("ana", visits=3)
    world.tick(at("1m"))
    world.set("ana", at("1h"), visits=0)
    assert world.tick(at("1h")).transitions == LOOKS_MAX


def test_a_rule_on_its_own_field_is_refused():
    assert refusals("score: visits\nrules: [{when: {field: visits, gte: 3}, add: 1}]\n") == [
        "a rule of `visits` cannot follow `visits`: it would feed itself"
    ]


def test_counts_in_a_rule_are_as_of_the_fact():
    score = "score: visits\nrules: [{when: {event: signup, count: {gte: 3}, since: 7d}, add: 1}]\n"
    world = World(score)
    world.contact("ana")
    for day in (1, 2, 3, 20):
        world.event("ana", "signup", at(day * DAY))
    world.tick(at(21 * DAY))
    assert [row[2] for row in ledger(world, "ana")] == [at(3 * DAY)]


def test_a_scenario_sees_score_and_tier():
    scenario = """
test: a purchase warms
of: welcome
contact: {email: ana@example.com}
start: 2026-03-02T09:00
timeline:
  - {at: +0h, event: purchase, properties: {amount: 20}}
  - {at: +1h, event: signup}
expect:
  - {until: +2h, sends: [hello], fields: {engagement: 15, engagement_tier: mql}}
"""
    made = project(SCORE, READERS, WELCOME, scenario)
    assert not made.errors, [each.message for each in made.errors]
    bench = Bench(made)
    outcome = bench.run("a purchase warms", made.scenarios["a purchase warms"])
    bench.close()
    assert outcome.passed, outcome.mismatches


def test_scoring_reads_no_whole_table():
    world = World(SCORE, READERS)
    world.connection.execute(
        "INSERT INTO contacts (created_at, _seed, _origin) SELECT 1, 1, 0 FROM json_each('[1, 2, 3, 4, 5, 6, 7, 8, 9]') a, json_each('[1, 2, 3, 4, 5, 6, 7, 8, 9]') b"
    )
    world.connection.execute(
        "INSERT INTO score_ledger (contact_id, score, rule, points, at, cause) SELECT id, 'engagement', 'r', 1, 1, 'x' FROM contacts"
    )
    world.contact("ana")
    world.tick(at("1m"))
    world.connection.execute("ANALYZE")
    for hour in (1, 2):
        world.event("ana", "signup", at(f"{hour}h"))
    world.set("ana", at("1h"), interests='["books"]')
    said: list[str] = []
    world.connection.set_trace_callback(said.append)
    world.tick(at("1h"))
    world.tick(at("2h"))
    world.connection.set_trace_callback(None)
    scored = [text for text in said if "score_ledger" in text or "rescored" in text]
    plans = [
        row[3]
        for text in scored
        if text.split()[0] in ("INSERT", "UPDATE", "DELETE", "SELECT")
        for row in world.connection.execute(f"EXPLAIN QUERY PLAN {text}")
    ]
    assert any("INSERT INTO score_ledger" in text for text in scored)
    assert [
        plan
        for plan in plans
        if plan.startswith("SCAN") and plan.split()[1] in ("score_ledger", "l", "c", "contacts", "contact_changes")
    ] == []


def test_a_late_tick_scores_as_ticks_on_time_would():
    worlds = []
    for on_time in (True, False):
        world = World(SCORE, READERS, WELCOME)
        world.contact("ana")
        for minute, (name, amount) in enumerate(
            (("signup", 0), ("purchase", 20), ("signup", 0), ("purchase", 30), ("purchase", 5)), start=1
        ):
            world.event("ana", name, at(f"{minute * 7}h"), **({"amount": amount} if amount else {}))
        if on_time:
            world.every("1h", "40h")
        world.tick(at("40h"))
        worlds.append(
            (
                ledger(world, "ana"),
                world.value("ana", "engagement"),
                world.value("ana", "engagement_tier"),
                world.entered(),
            )
        )
    assert worlds[0] == worlds[1]
    assert worlds[0][1] == 25
