"""A contact as templates see it, read alone and read among many."""

from __future__ import annotations

from datetime import UTC, date, datetime

from flowctl.engine.contact import Fields, columns_of, contact_values
from tests.engine.world import SETTINGS, World, at, workflow

FIELDS = SETTINGS.replace("    visits: integer\n", "    visits: integer\n    vip: boolean\n    seen: datetime\n")


def test_reading_many_gives_what_reading_one_gives():
    world = World(workflow("w", steps="- wait: 1h"), settings=FIELDS)
    world.contact("bare", consent=())
    full = world.contact(
        "full",
        first_name="Zoé",
        engagement=1.5,
        visits=3,
        vip=0,
        seen=at("1h"),
        interests='["books", "toys"]',
        due_date="2026-03-04",
    )
    broken = world.contact("broken", seen=10**18, vip=1)  # a time that no calendar holds
    types = {
        "id": "integer", "key": "text", "first_name": "text", "engagement": "number", "visits": "integer", "vip": "boolean", "seen": "datetime",
        "interests": "tags", "due_date": "date", "created_at": "datetime", "declared since": "text",
    }  # fmt: skip
    columns = columns_of(world.connection, types)
    many = [Fields(types).values(row) for row in world.connection.execute(f"SELECT {columns} FROM contacts c")]
    alone = [contact_values(world.connection, said["id"], types)[0] for said in many]
    assert many == alone
    by_id = {said["id"]: said for said in many}
    assert (by_id[full]["vip"], by_id[full]["seen"]) == (False, datetime.fromtimestamp(at("1h") / 1000, UTC))
    assert (by_id[full]["interests"], by_id[full]["due_date"]) == (["books", "toys"], date(2026, 3, 4))
    assert (by_id[broken]["seen"], by_id[broken]["vip"], by_id[broken]["declared since"]) == (None, True, None)
