"""Whole ticks in process: an idle one must not notice how large the store is, one with changes hardly."""

from __future__ import annotations

import time
from random import Random
from typing import TYPE_CHECKING

from bench.ratio import Ratio
from bench.stores import NOW, copied
from flowctl.engine.tick import tick
from flowctl.store.database import open_store, transaction

if TYPE_CHECKING:
    from pathlib import Path

    from flowctl.store.database import Store

IDLE, CHANGED = "idle-tick", "changed-tick"
IDLE_GOAL, CHANGED_GOAL = 1.5, 2.0
LARGE, MEDIUM, SMALL = 1_000_000, 10_000, 1_000
EVENTS_EACH = 5
CHANGES = 1_000
IDLE_TICKS, CHANGED_TICKS = 200, 7  # so few that no contact of the smaller store changes twice
MINUTE_MS = 60_000


def run(*, quick: bool = False) -> list[Ratio]:
    """Ticks on stores of different sizes, in turns."""
    large = LARGE // 10 if quick else LARGE
    with copied(contacts=large, events=large * EVENTS_EACH) as path:
        ours = _Ticks(path)
        with copied(contacts=SMALL, events=SMALL * EVENTS_EACH) as other:
            idle = _in_turns(ours, _Ticks(other), IDLE_TICKS, changes=0)
        with copied(contacts=MEDIUM, events=MEDIUM * EVENTS_EACH) as other:
            changed = _in_turns(ours, _Ticks(other), CHANGED_TICKS, changes=CHANGES)
        ours.store.close()
    return [
        Ratio(name=IDLE, value=idle[0] / idle[1], goal=IDLE_GOAL, detail=_detail(idle, large, SMALL)),
        Ratio(
            name=CHANGED,
            value=changed[0] / changed[1],
            goal=CHANGED_GOAL,
            detail=f"{CHANGES} changed: {_detail(changed, large, MEDIUM)}",
        ),
    ]


def _detail(seconds: tuple[float, float], large: int, small: int) -> str:
    return f"{seconds[0] * 1000:.2f} ms at {large:,} contacts, {seconds[1] * 1000:.2f} ms at {small:,}"


def _in_turns(large: _Ticks, small: _Ticks, turns: int, *, changes: int) -> tuple[float, float]:
    """Seconds of a tick of both sides; the first ticks of each warm it up."""
    times: dict[str, list[float]] = {"large": [], "small": []}
    for turn in range(turns + 3):
        for side, ticks in (("large", large), ("small", small)):
            seconds = ticks.once(changes)
            if turn >= 3:
                times[side].append(seconds)
    small.store.close()
    return _typical(times["large"]), _typical(times["small"])


def _typical(times: list[float]) -> float:
    """The mean of the better half: other programs only ever make a tick slower."""
    better = sorted(times)[: (len(times) + 1) // 2]
    return sum(better) / len(better)


class _Ticks:
    """A store and the minutes of its ticks."""

    def __init__(self, path: Path) -> None:
        self.store: Store = open_store(path, create=False)
        self._now = NOW
        self._contacts = self.store.connection.execute("SELECT count(*) FROM contacts").fetchone()[0]
        self._chance = Random(1)
        self._unchanged = self._chance.sample(range(1, self._contacts + 1), min(self._contacts, SMALL * 10))
        tick(self.store, now=NOW, channels={})  # what building left

    def once(self, changes: int) -> float:
        """Seconds of the next minute's tick, with so many contacts changed before."""
        self._now += MINUTE_MS
        if changes:
            self._change(changes)
        begin = time.perf_counter()
        report = tick(self.store, now=self._now, channels={})
        elapsed_s = time.perf_counter() - begin
        assert report.slices <= 2 + (changes > 0), report
        return elapsed_s

    def _change(self, changes: int) -> None:
        """Half of them visited a page, half have a new engagement: about one in nine changes a segment. They lie anywhere in the store."""
        connection = self.store.connection
        who, self._unchanged = self._unchanged[:changes], self._unchanged[changes:]
        (visit,) = connection.execute("SELECT id FROM event_types WHERE name = 'visit'").fetchone()
        at = self._now - MINUTE_MS // 2
        with transaction(connection):
            connection.executemany(
                'INSERT INTO events (contact_id, type, at, props) VALUES (?, ?, ?, \'{"page": "home"}\')',
                ((contact, visit, at) for contact in who[::2]),
            )
            for contact in who[1::2]:
                (old,) = connection.execute("SELECT engagement FROM contacts WHERE id = ?", (contact,)).fetchone()
                new = old + self._chance.randint(-20, 20)
                connection.execute("UPDATE contacts SET engagement = ? WHERE id = ?", (new, contact))
                connection.execute(
                    "INSERT INTO contact_changes (contact_id, field, old, new, at) VALUES (?, 'engagement', ?, ?, ?)",
                    (contact, old, new, at),
                )
