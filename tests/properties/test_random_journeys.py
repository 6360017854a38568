"""Whatever the workflows and the history: ticks act once, nobody is in two states, segments are true, time may be cut anywhere."""

from __future__ import annotations

from hypothesis import HealthCheck, assume, given, reject, settings
from hypothesis import strategies as st

from flowctl.engine.localtime import refresh_zones
from flowctl.engine.runtime import Experiment, load
from flowctl.failure import ProblemsFound
from flowctl.store import statuses
from flowctl.store.database import transaction
from tests.engine.world import HOUR, MINUTE, T0, World
from tests.properties.journeys import SHOP, histories, people, projects, store

SLICE = 5 * MINUTE
END = T0 + 20 * HOUR
ANSWERS = Experiment(fetches={"api": {"count": 1}})
QUICK = settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)


def world_of(texts: list[str]) -> World:
    """A world of generated files; what validation or apply refuses is no example."""
    try:
        world = World(*texts, settings=SHOP)
    except (AssertionError, ProblemsFound):
        reject()
    people(world)
    return world


def dump(world: World) -> list:
    """Every row of every table but the marks of how far a tick looked."""
    tables = [
        name
        for (name,) in world.connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
        if name not in ("cursors", "sqlite_sequence")
    ]
    return [(name, world.connection.execute(f'SELECT * FROM "{name}" ORDER BY 1, 2').fetchall()) for name in tables]


def check_states(world: World) -> None:
    """Active: due or waiting, held on a send, awaiting a person or an answer, and one of them; over: none of them."""
    rows = world.connection.execute(
        "SELECT e.id, e.state, e.ended_at IS NULL, e.due_at IS NOT NULL, "
        "EXISTS (SELECT 1 FROM outbox o WHERE o.enrollment_id = e.id AND o.pc = e.pc AND o.visit = e.visit AND o.state < 3), "
        "EXISTS (SELECT 1 FROM fetches f WHERE f.enrollment_id = e.id AND f.state = 0), "
        "(SELECT count(*) FROM outbox o WHERE o.enrollment_id = e.id AND o.state < 3) FROM enrollments e"
    )
    for number, state, active, due, held, asked, open_ in rows:
        assert (state == 0) == bool(active), number
        if active:
            assert due + held + asked == 1 or (due and held == 0), (number, due, held, asked)
        else:
            assert not due, number
            assert not open_, number


def check_segments(world: World, now: int) -> None:
    """Members kept step by step are those that a look at everybody finds."""
    runtime = load(world.connection)
    assert runtime is not None
    refresh_zones(world.connection, now)
    for plan in runtime.segments:
        full = {row[0] for row in world.connection.execute(plan.full, {"now": now})}
        kept = {
            row[0]
            for row in world.connection.execute(
                "SELECT contact_id FROM segment_members WHERE segment_id = ?", (plan.id,)
            )
        }
        assert kept == full, plan.name


def click(world: World, now: int) -> None:
    """Somebody clicks the newest message that left."""
    row = world.connection.execute("SELECT key FROM outbox WHERE state = 3 ORDER BY id DESC LIMIT 1").fetchone()
    if row:
        sending = statuses.by_key(world.connection, row[0])
        with transaction(world.connection):
            statuses.record(
                world.connection, [statuses.Status(sending=sending, status=statuses.CLICKED, at=now)], now=now
            )


@QUICK
@given(texts=projects(sends=True), history=histories(changes=True), data=st.data())
def test_ticks_act_once_states_are_one_and_segments_are_true(texts, history, data):
    world = world_of(texts)
    waiting = list(history)
    now = T0
    while now < END:
        now = min(END, now + data.draw(st.sampled_from([SLICE, 20 * MINUTE, HOUR, 5 * HOUR])))
        while waiting and waiting[0][0] <= now:
            store(world, waiting.pop(0))
        if data.draw(st.booleans()):
            world.enroll("alpha", "ana", now, forced=True)
        report = world.tick(now, experiment=ANSWERS)
        assert report.failed == 0
        before = dump(world)
        again = world.tick(now, experiment=ANSWERS)
        assert (again.sent, again.entered) == (0, 0)
        assert dump(world) == before
        check_states(world)
        check_segments(world, now)
        if data.draw(st.booleans()):
            click(world, now)
    rows = "SELECT 1 FROM outbox WHERE state IN (3, 5) GROUP BY enrollment_id, pc, visit, channel, recipient HAVING count(*) > 1"
    assert world.connection.execute(rows).fetchall() == []


def outcome(world: World) -> dict:
    """What became of everybody, whatever the order in which rows were written."""
    connection = world.connection
    runs = connection.execute(
        "SELECT workflow, contact_id, entered_at, rkey, state, reason, ended_at, goal_at, pc, due_at, data FROM enrollments"
    ).fetchall()
    told = connection.execute(
        "SELECT j.contact_id, v.workflow, j.pc, j.at, k.name, j.detail FROM journal j JOIN journal_kinds k ON k.id = j.kind "
        "LEFT JOIN workflow_versions v ON v.id = j.version_id WHERE k.name NOT IN ('entered', 'refused')"
    ).fetchall()
    values = connection.execute(
        "SELECT id, visits, stage, interests, engagement, owner FROM contacts ORDER BY id"
    ).fetchall()
    met = connection.execute(
        "SELECT e.workflow, e.contact_id, e.entered_at, g.name, g.at FROM secondary_goals g JOIN enrollments e ON e.id = g.enrollment_id"
    ).fetchall()
    made = connection.execute("SELECT contact_id, kind, key, at FROM records").fetchall()
    return {
        "runs": sorted(runs, key=repr),
        "journal": sorted(told, key=repr),
        "values": values,
        "met": sorted(met),
        "records": sorted(made, key=repr),
    }


@QUICK
@given(texts=projects(sends=False), history=histories(), data=st.data())
def test_time_may_be_cut_anywhere(texts, history, data):
    """All facts stored beforehand: one late tick, ticks on time and any in between come to the same."""
    late = world_of(texts)
    for fact in history:
        store(late, fact)
    some, on_time = late.snapshot(), late.snapshot()
    report = late.tick(END, experiment=ANSWERS)
    assume(report.unfinished == 0)
    for now in range(T0 + SLICE, END + 1, SLICE):
        on_time.tick(now, experiment=ANSWERS)
    cuts = data.draw(st.sets(st.integers(1, (END - T0) // SLICE - 1), max_size=8))
    for cut in [*sorted(cuts), (END - T0) // SLICE]:
        some.tick(T0 + cut * SLICE, experiment=ANSWERS)
    expected = outcome(on_time)
    assert outcome(late) == expected
    assert outcome(some) == expected
