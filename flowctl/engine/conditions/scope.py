"""What the names in a condition mean where it is asked, and the SQL around it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flowctl.language.settings import FieldType

ENTRY = "w.entered_at"
ARRIVAL = "w.at"  # at the step that asks


@dataclass(frozen=True, kw_only=True)
class Scope:
    """Where a condition is asked. The SQL around it has `c`, a row of contacts; in a workflow also `w`, the enrollment at work."""

    field_types: Mapping[str, FieldType]
    event_types: Mapping[str, int]  # name → event_types.id
    event_properties: Mapping[str, Mapping[str, FieldType]]
    segments: Mapping[str, int]  # name → segments.id
    messages: Mapping[str, int]  # name → names.id
    channels: Mapping[str, int]  # name → names.id
    zone: int  # zones.id for a contact without one: the workflow's, else the project's
    zone_name: str = "UTC"  # its IANA name: that of date and time literals
    surveys: Mapping[str, Mapping[str, FieldType]] = field(default_factory=dict)  # name → question → type of its answer
    survey_messages: Mapping[str, tuple[int, ...]] = field(default_factory=dict)  # survey → messages that link to it
    geofences: Mapping[str, str] = field(default_factory=dict)  # name → its shape as JSON
    enrollment: bool = False  # inside a workflow: `w` exists
    since: str | None = None  # SQL of the lower bound of event leaves without `since`; ENTRY bounds every event leaf


@dataclass(frozen=True, kw_only=True)
class Frame:
    """A scope and the shape wanted: for single contacts, or for everybody at once; and where the local date comes from."""

    scope: Scope
    full: bool = False
    date: str = ""  # SQL of the contact's local date, where it is not that of `zone_now`

    @property
    def zone(self) -> str:
        """SQL: the zone of `c`."""
        return f"coalesce(c._zone, {self.scope.zone:d})"

    @property
    def today(self) -> str:
        """SQL: the local date of `c`, as text."""
        return self.date or f"(SELECT z.today FROM zone_now z WHERE z.zone = {self.zone})"

    @property
    def offset(self) -> str:
        """SQL: local time minus UTC of `c`, in milliseconds, as it is now."""
        return f"(SELECT z.offset_ms FROM zone_now z WHERE z.zone = {self.zone})"
