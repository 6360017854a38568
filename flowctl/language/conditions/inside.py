"""`{inside: paris-store}`: whether a contact's last position lies in a geofence."""

from __future__ import annotations

from typing import ClassVar

from flowctl.language.model import GeofenceName, Model


class InsideLeaf(Model):
    """By the last reported position."""

    subject: ClassVar[str] = "inside"
    inside: GeofenceName
