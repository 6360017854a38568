"""What was really sent: windows, segments, signs of fatigue; who is inside several workflows."""

import json

import pytest

from flowctl.report.pressure import EVERYBODY, Answers, _signs, open_versions, really_sent, together
from flowctl.store.database import transaction
from tests.engine.world import DAY, T0, World, at, workflow

STATUS = {"opened": 2, "clicked": 3, "complained": 6, "unsubscribed": 7}
SEGMENT = "segment: loyal\nmatch: {field: stage, is: loyal}\n"
TIPS = workflow(
    "tips",
    steps="- send: bye\n- wait: 1d\n- repeat: {every: 10d, max: 5}\n  steps:\n    - send: again\n- send: receipt\n- wait: 30d",
)


@pytest.fixture(scope="module")
def world():
    world = World(TIPS, SEGMENT)
    for number in range(50):
        world.contact(f"c{number}", stage="loyal" if number < 20 else "lead")
        world.event(f"c{number}", "signup", T0 + 1)
    for day in range(46):
        world.tick(T0 + 2 + day * DAY)
    return world


def answer(world, status, numbers, *, late):
    """Report a status of the first messages of the early or the late half."""
    half = f"counted_at {'>' if late else '<='} {world.now - 30 * DAY}"
    rows = world.connection.execute(
        f"SELECT id, contact_id, message, channel FROM outbox WHERE marketing = 1 AND state = 3 AND {half} ORDER BY contact_id, id LIMIT ?",
        (numbers,),
    ).fetchall()
    assert len(rows) == numbers
    with transaction(world.connection):
        world.connection.executemany(
            "INSERT INTO message_events (contact_id, message, status, at, outbox_id, channel) VALUES (?, ?, ?, ?, ?, ?)",
            [
                (contact, message, STATUS[status], world.now, outbox, channel)
                for outbox, contact, message, channel in rows
            ],
        )


def test_windows_and_segments_are_counted_from_what_left(world):
    everybody, loyal = really_sent(world.store, now=world.now, period_ms=60 * DAY)
    assert (everybody.segment, everybody.contacts, everybody.sent) == (EVERYBODY, 50, 300)  # a receipt is no marketing
    assert (loyal.segment, loyal.contacts, loyal.sent) == ("loyal", 20, 120)
    assert everybody.most == {1: 1, 7: 2, 30: 4}
    assert (everybody.earlier.sent, everybody.later.sent) == (150, 150)
    assert everybody.signs == ()


def test_only_the_period_counts(world):
    (everybody, _) = really_sent(world.store, now=world.now, period_ms=6 * DAY)
    assert everybody.sent == 50
    assert really_sent(world.store, now=T0, period_ms=DAY) == []


def test_signs_of_fatigue(world):
    copy = world.snapshot()
    answer(copy, "opened", 90, late=False)
    answer(copy, "opened", 40, late=True)
    answer(copy, "unsubscribed", 9, late=True)
    answer(copy, "complained", 1, late=False)
    everybody, _ = really_sent(copy.store, now=copy.now, period_ms=60 * DAY)
    assert everybody.share("opened") == pytest.approx(130 / 300)
    assert everybody.signs == (
        "opened falling: 60.00% to 26.67%",
        "unsubscribed rising: 0.00% to 6.00%",
        "complained 0.33%, over 0.1%",
        "unsubscribed 3.00%, over 0.5%",
    )


def test_chance_is_no_sign():
    assert list(_signs(Answers(sent=200, opened=60), Answers(sent=200, opened=55))) == []
    assert list(_signs(Answers(sent=50, opened=40), Answers(sent=50, opened=5))) == []  # too little to tell
    assert list(_signs(Answers(sent=60, unsubscribed=3), Answers())) == []


def test_who_is_inside_several_workflows_and_which_versions():
    tips, other = TIPS, workflow("other", steps="- wait: 9d\n- send: hello", triggers="[{event: cart_updated}]")
    world = World(tips, other)
    for key in ("ana", "bea", "col"):
        world.contact(key)
        world.event(key, "signup", T0 + 1)
    world.event("ana", "cart_updated", T0 + 2)
    world.tick(at("1h"))
    assert together(world.store) == {frozenset({"tips", "other"}): 1}
    world.apply(tips.replace("wait: 1d", "wait: 2d"), other)
    world.contact("dan")
    world.event("dan", "signup", at("2h"))
    world.tick(at("3h"))
    versions = open_versions(world.store)
    assert [(one.workflow, one.number, one.contacts) for one in versions] == [
        ("other", 1, 1),
        ("tips", 1, 3),
        ("tips", 2, 1),
    ]
    assert "wait: 1d" in json.dumps(versions[1].files)
    assert "wait: 2d" in json.dumps(versions[2].files)
