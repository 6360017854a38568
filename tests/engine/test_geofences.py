"""Geofences: who is inside by the last position, who arrives and leaves."""

from __future__ import annotations

import pytest

from flowctl.simulate.scenario import Bench
from flowctl.store.geography import distance_m, geofenced, in_polygon
from tests.engine.world import World, at, project, workflow

FENCES = """
geofences:
  paris-store: {center: [48.8566, 2.3522], radius: 300m}
  marais: {polygon: [[48.85, 2.35], [48.85, 2.37], [48.87, 2.37], [48.87, 2.35]]}
"""
INSIDE, OUTSIDE = (48.8568, 2.3524), (48.9, 2.3524)
ARRIVED = workflow(
    "arrived", steps="- wait: 1d", triggers="[{arrives: paris-store}]", reentry="{after: 1h, while_active: parallel}"
)
LEFT = workflow(
    "left", steps="- wait: 1d", triggers="[{leaves: paris-store}]", reentry="{after: 1h, while_active: parallel}"
)


def report(world, key, when, position):
    world.event(key, "position_reported", when, lat=position[0], lon=position[1])


def test_distance_by_haversine():
    assert distance_m(48.8566, 2.3522, 51.5074, -0.1278) == pytest.approx(343_556, rel=1e-3)  # Paris, London
    assert distance_m(0, 179.999, 0, -179.999) == pytest.approx(222.4, rel=1e-2)


def test_polygons_by_ray_casting():
    square = [[0, 0], [0, 10], [10, 10], [10, 0]]
    assert in_polygon(square, 5, 5)
    assert not in_polygon(square, 5, 11)
    notched = [[0, 0], [10, 0], [10, 10], [5, 5], [0, 10]]
    assert (in_polygon(notched, 5, 2), in_polygon(notched, 5, 8)) == (True, False)
    across = [[-5, 175], [-5, -175], [5, -175], [5, 175]]
    assert (in_polygon(across, 0, 179), in_polygon(across, 0, -179), in_polygon(across, 0, 0)) == (True, True, False)


def test_a_position_that_is_none_is_nowhere():
    shape = '{"center": [0, 0], "radius": 1000}'
    assert [geofenced(shape, lat, lon) for lat, lon in ((0, 0), (1, 1), (None, 0), ("a", 0), (91, 0))] == [
        1,
        0,
        None,
        None,
        None,
    ]


def test_arriving_and_leaving():
    world = World(FENCES, ARRIVED, LEFT)
    world.contact("ana")
    for hour, position in enumerate((OUTSIDE, INSIDE, INSIDE, OUTSIDE, OUTSIDE, INSIDE)):
        report(world, "ana", at(f"{hour}h") + 60_000, position)
    world.tick(at("6h"))
    assert world.entered("arrived") == [("ana", 61), ("ana", 301)]
    assert world.entered("left") == [("ana", 181)]


def test_the_first_position_arrives_and_a_late_one_counts_where_it_belongs():
    world = World(FENCES, ARRIVED, LEFT)
    world.contact("ana")
    report(world, "ana", at("2h"), INSIDE)
    world.tick(at("2h"))
    report(world, "ana", at("1h"), INSIDE)  # arrives late: he had come an hour earlier
    report(world, "ana", at("3h"), INSIDE)
    world.tick(at("3h"))
    assert world.entered("arrived") == [("ana", 60), ("ana", 120)]
    assert world.entered("left") == []


def test_inside_by_the_last_position():
    segment = "segments:\n  near: {match: {inside: paris-store}}\n  far: {match: {not: {inside: marais}}}\n"
    world = World(FENCES, segment)
    world.contact("ana")
    world.contact("bea")

    def members():
        query = "SELECT s.name, c.key FROM segment_members m JOIN segments s ON s.id = m.segment_id JOIN contacts c ON c.id = m.contact_id"
        return sorted(world.connection.execute(query).fetchall())

    world.tick(at("1m"))
    assert members() == [("far", "ana"), ("far", "bea")]
    report(world, "ana", at("1h"), INSIDE)
    report(world, "bea", at("1h"), OUTSIDE)
    world.tick(at("1h"))
    assert members() == [("far", "bea"), ("near", "ana")]
    report(world, "ana", at("2h"), OUTSIDE)
    world.tick(at("2h"))
    assert members() == [("far", "ana"), ("far", "bea")]
    assert (
        world.connection.execute(
            "SELECT lat, lon FROM positions WHERE contact_id = ?", (world.id_of("ana"),)
        ).fetchone()
        == OUTSIDE
    )


@pytest.mark.parametrize("lat", [r"CAST(x'22ff22' AS TEXT)", "'\"48.85\"'", "'{}'", "'null'"])
def test_a_position_that_another_program_wrote_stops_nobody(lat):
    """Text that is no UTF-8 fails a function of ours before it is asked."""
    world = World(FENCES, ARRIVED, "segments:\n  near: {match: {inside: paris-store}}\n")
    for key in ("ana", "bea"):
        world.contact(key)
        report(world, key, at("1m"), INSIDE)
    world.connection.execute(
        f"UPDATE events SET props = '{{\"lon\": 2.3, \"lat\": ' || {lat} || '}}' WHERE contact_id = ?",
        (world.id_of("ana"),),
    )
    world.tick(at("2m"))
    assert world.entered("arrived") == [("bea", 1)]


def test_a_scenario_moves():
    scenario = """
test: at the door
of: arrived
contact: {email: ana@example.com}
start: 2026-03-02T09:00
timeline:
  - {at: +1h, position: [48.9, 2.3]}
  - {at: +2h, position: [48.8567, 2.3523]}
expect: [{until: +1h30, enrolled: false}, {until: +3h, enrolled: true}]
"""
    made = project(FENCES, ARRIVED, scenario)
    assert not made.errors, [each.message for each in made.errors]
    bench = Bench(made)
    outcome = bench.run("at the door", made.scenarios["at the door"])
    bench.close()
    assert outcome.passed, outcome.mismatches
