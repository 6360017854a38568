"""Geofences: circles and polygons on the map."""

from __future__ import annotations

import re
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from flowctl.language.model import Model, Slug

_LENGTH = re.compile(r"(\d+(?:\.\d+)?)\s*(m|km)")


def _metres(value: Any) -> float:
    match = _LENGTH.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        message = f"{value!r} is no length; write it like 300m or 1.5km"
        raise ValueError(message)
    return float(match[1]) * (1000 if match[2] == "km" else 1)


def _point(value: Any) -> Any:
    if isinstance(value, list) and len(value) == 2 and all(isinstance(part, int | float) for part in value):  # noqa: PLR2004 - lat, lon
        lat, lon = value
        if -90 <= lat <= 90 and -180 <= lon <= 180:  # noqa: PLR2004 - degrees
            return (float(lat), float(lon))
    message = f"{value!r} is no point; write [latitude, longitude] in degrees, like [48.8566, 2.3522]"
    raise ValueError(message)


Point = Annotated[
    tuple[float, float],
    BeforeValidator(_point),
    WithJsonSchema(
        {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2, "examples": [[48.8566, 2.3522]]}
    ),
]
Metres = Annotated[float, BeforeValidator(_metres), WithJsonSchema({"type": "string", "examples": ["300m"]})]


class GeofenceBody(Model):
    """A centre and a radius in metres, or the corners of a polygon."""

    center: Point | None = None
    radius: Metres | None = None
    polygon: Annotated[list[Point], Field(min_length=3)] | None = None
    description: str | None = None

    @model_validator(mode="after")
    def _one_shape(self) -> Self:
        circle = self.center is not None and self.radius is not None
        if circle == (self.polygon is not None) or (self.polygon and (self.center or self.radius)):
            message = "a geofence is {center: [lat, lon], radius: 300m} or {polygon: [[lat, lon], …]}"
            raise ValueError(message)
        return self


class Geofence(GeofenceBody):
    """`geofence: NAME`, or `geofences: {NAME: body}`."""

    geofence: Slug

    @property
    def name(self) -> str:
        """Its slug."""
        return self.geofence
