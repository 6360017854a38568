"""What every trigger has."""

from __future__ import annotations

from flowctl.language.durations import Duration, Span
from flowctl.language.model import Model


class AnyTrigger(Model):
    """A trigger turns away facts older than `max_event_age`, so that importing history never sends."""

    max_event_age: Span = Duration(days=1)
