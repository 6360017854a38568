"""Weekly windows of local time where the clocks change."""

from __future__ import annotations

from flowctl.clock import parse
from flowctl.engine.slots import Slots


def test_a_window_that_the_clocks_jump_over_opens_the_day_after():
    early = Slots(days=tuple(range(7)), from_=130, until=170)  # 02:10 to 02:50
    # On 29 March 2026 Paris goes from 02:00 to 03:00.
    assert early.next(parse("2026-03-28T22:00:00Z"), "Europe/Paris") == parse("2026-03-30T00:10:00Z")


def test_a_window_that_the_clocks_cut_opens_when_they_jumped():
    cut = Slots(days=tuple(range(7)), from_=130, until=240)
    assert cut.next(parse("2026-03-28T22:00:00Z"), "Europe/Paris") == parse("2026-03-29T01:00:00Z")
