"""Where a position lies: in a circle or a polygon on the globe."""

from __future__ import annotations

import json
from functools import lru_cache
from math import asin, cos, radians, sin, sqrt
from typing import Any

EARTH_M = 6_371_008.8  # mean radius: https://iugg.org/ geodetic reference system 1980
_LAT_MAX, _LON_MAX = 90, 180


def geofenced(shape: str, lat: Any, lon: Any) -> int | None:
    """Whether a position in degrees lies in `{"center": [lat, lon], "radius": metres}` or `{"polygon": [[lat, lon], …]}`.

    1 or 0; None where the position is none. The edge of a circle is inside.
    """
    if (
        not isinstance(lat, int | float)
        or not isinstance(lon, int | float)
        or abs(lat) > _LAT_MAX
        or abs(lon) > _LON_MAX
    ):
        return None
    said = _shape(shape)
    if "center" in said:
        center_lat, center_lon = said["center"]
        return int(distance_m(center_lat, center_lon, lat, lon) <= said["radius"])
    return int(in_polygon(said["polygon"], lat, lon))


def distance_m(lat: float, lon: float, to_lat: float, to_lon: float) -> float:
    """The way over the globe in metres, by the haversine formula: within half a percent of the true ellipsoid."""
    phi, to_phi = radians(lat), radians(to_lat)
    half = sin((to_phi - phi) / 2) ** 2 + cos(phi) * cos(to_phi) * sin(radians(to_lon - lon) / 2) ** 2
    return 2 * EARTH_M * asin(min(1.0, sqrt(half)))


def in_polygon(corners: list[list[float]], lat: float, lon: float) -> bool:
    """Ray casting to the east. Longitudes count from the first corner, so that a polygon may lie across the date line."""
    inside, first = False, corners[0][1]
    east = (lon - first + 540) % 360 - 180
    points = [(corner[0], (corner[1] - first + 540) % 360 - 180) for corner in corners]
    for (lat_a, lon_a), (lat_b, lon_b) in zip(points, [*points[1:], points[0]], strict=True):
        if (lat_a > lat) != (lat_b > lat) and lon_a + (lat - lat_a) * (lon_b - lon_a) / (lat_b - lat_a) > east:
            inside = not inside
    return inside


@lru_cache(maxsize=1_000)
def _shape(text: str) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(text)
    return said
