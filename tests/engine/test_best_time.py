"""`wait_until: {best_time: …}`: the hour at which the contact, else everybody, reads."""

from __future__ import annotations

from tests.engine.world import DAY, HOUR, World, at, workflow

JOURNEY = workflow("w", steps="- wait_until: {best_time: {channel: email, within: 24h}}\n- send: hello")


def read(world: World, key: str, *hours_utc: int) -> None:
    """Opens on the days before T0, at hours of UTC."""
    for number, hour in enumerate(hours_utc, start=1):
        world.connection.execute(
            "INSERT INTO message_events (contact_id, message, status, at, channel) SELECT ?, m.id, 2, ?, c.id FROM names m, names c "
            "WHERE m.name = 'again' AND c.name = 'email'",
            (world.id_of(key), at(-number * DAY) - 10 * HOUR + hour * HOUR),
        )


def test_the_hour_of_most_of_the_contacts_own_reads():
    world = World(JOURNEY)
    world.contact("ana")
    read(world, "ana", 18, 18, 7)
    world.event("ana", "signup", at("1m"))
    world.ticks("5m", "7h55m", "8h")
    assert world.sent("ana") == [("hello", "email", 480)]


def test_everybodys_hour_where_the_contact_never_read_and_no_longer_than_within():
    world = World(JOURNEY.replace("24h", "3h"))
    world.contact("ana")
    world.contact("bob")
    read(world, "bob", 12)
    read(world, "bob", 12)
    world.event("ana", "signup", at("1m"))
    world.ticks("5m", "1h55m", "2h")
    assert world.sent("ana") == [("hello", "email", 120)]
    late = World(JOURNEY.replace("24h", "1h"))
    late.contact("ana")
    read(late, "ana", 20)
    late.event("ana", "signup", at("0m"))
    late.ticks("5m", "55m", "1h")
    assert late.sent("ana") == [("hello", "email", 60)]


def test_where_nobody_ever_read_nothing_is_waited_for():
    world = World(JOURNEY)
    world.contact("ana")
    world.event("ana", "signup", at("1m"))
    world.ticks("5m")
    assert world.sent("ana") == [("hello", "email", 5)]
