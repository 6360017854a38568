"""What `explain` says of a message that quiet hours hold, or an environment keeps in."""

from __future__ import annotations

from flowctl.cli import explain
from flowctl.report.timeline import timeline
from tests.engine.world import SETTINGS, World, at, workflow


def test_quiet_hours_are_told_with_the_time_and_zone_at_which_they_end():
    hours = 'quiet_hours: {sms: {between: ["10:00", "20:00"]}}\n'
    world = World(workflow("w", steps="- send: hello\n  via: sms"), settings=SETTINGS + hours)
    world.contact("ana", phone="+447911123456", timezone="Europe/London")
    world.event("ana", "signup", at("12h"))
    world.ticks("12h5m")
    story = timeline(world.store, "ana")
    (held,) = [entry for entry in story.entries if entry.kind == "held"]
    assert explain.sentence(held, story.zone) == "held back hello: quiet hours until 2026-03-03 10:00 Europe/London"
    assert explain.values(held) == ""
    assert story.pending[0].messages == ("hello by sms: held (quiet hours)",)
    assert story.pending[0].again_at == at("24h")
    assert "hello by sms: held (quiet hours), looked at again 2026-03-03 10:00" in "\n".join(explain.drawn(story, 200))
    assert explain.as_data(story)["pending"][0]["again_at"] == "2026-03-03T10:00:00Z"
