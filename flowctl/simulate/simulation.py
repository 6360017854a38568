"""Runs a project for some days on a copy of the store: the real engine, a virtual clock, nothing leaves and nothing is written."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowctl.channels.recording import RecordingChannel
from flowctl.engine.apply import apply
from flowctl.engine.runtime import Experiment
from flowctl.engine.tick import prepare, tick
from flowctl.language.assumptions import Assumptions
from flowctl.language.durations import DAY_MS
from flowctl.report.costs import by_channel
from flowctl.report.timeline import timeline
from flowctl.simulate import result
from flowctl.simulate.behaviour import Answer, Behaviour, Fact, Sent, day_starts
from flowctl.simulate.people import contacts_sql
from flowctl.simulate.result import SimulationResult
from flowctl.store import events, statuses
from flowctl.store.database import transaction

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowctl.channels.channel import Channel
    from flowctl.project.project import Project
    from flowctl.store.database import Store

# As if cron ran every half hour: people answer within hours, and a tick costs 5 ms even where nothing happens.
STEP_MS = 30 * 60_000
NOTHING = Assumptions(assumptions="nothing", description="Nobody does anything by themselves.")


def simulate(
    store: Store,
    project: Project,
    *,
    days: int,
    seed: int,
    now: int,
    assumptions: Assumptions = NOTHING,
    commit: str = "files",
    applied: bool = False,
    contact: str | None = None,
    step_ms: int = STEP_MS,
    on_day: Callable[[int], None] | None = None,
) -> SimulationResult:
    """Run the project's files (or what was `applied`) for some days from `now` (UTC milliseconds) on a copy of the store.

    `contact` adds that person's timeline; `on_day` is told the number of each day that passed.

    Raises:
        ProblemsFound: the engine does not run what the files say.
        Failure: there is no such contact.
    """
    plan = _Plan(days=days, seed=seed, start=now, step_ms=step_ms, assumptions=assumptions, commit=commit)
    copy = store.snapshot()
    try:
        if not applied:
            apply(copy, project, commit=commit, now=now)
        return _run(copy, project, plan, contact, on_day)
    finally:
        copy.close()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Plan:
    """What one run was asked for."""

    days: int
    seed: int
    start: int
    step_ms: int
    assumptions: Assumptions
    commit: str


def _run(
    copy: Store, project: Project, plan: _Plan, contact: str | None, on_day: Callable[[int], None] | None
) -> SimulationResult:
    connection = copy.connection
    first_journal_id = connection.execute("SELECT coalesce(max(id), 0) FROM journal").fetchone()[0]
    world = _World(copy, project, plan)
    for day, start in enumerate(day_starts(plan.start, plan.days), start=1):
        world.pass_day(start)
        if on_day is not None:
            on_day(day)
    end = plan.start + plan.days * DAY_MS
    return SimulationResult(
        commit=plan.commit,
        start=plan.start,
        end=end,
        days=plan.days,
        seed=plan.seed,
        assumptions=plan.assumptions.name,
        contacts=connection.execute("SELECT count(*) FROM contacts").fetchone()[0],
        ticks=world.ticks,
        sends=result.sends(connection, plan.start, project.settings.timezone),
        per_contact=result.per_contact(connection, plan.start),
        workflows=result.outcomes(connection, plan.start),
        held=result.held(connection, first_journal_id),
        skipped=result.skipped(connection, plan.start),
        failed=result.failed(connection, plan.start),
        facts=dict(sorted(world.facts.items())),
        answers=dict(sorted(world.answers.items())),
        costs=by_channel(connection, since=plan.start),
        timeline=timeline(copy, contact) if contact is not None else None,
    )


class _World:
    """The copy, its virtual clock, and everybody outside."""

    def __init__(self, copy: Store, project: Project, plan: _Plan) -> None:
        self.ticks = 0
        self.facts: Counter[str] = Counter()
        self.answers: Counter[str] = Counter()
        self._copy = copy
        self._connection = copy.connection
        self._plan = plan
        self._channels: dict[str, Channel] = {name: RecordingChannel() for name in project.settings.channels}
        properties = project.settings.event_properties
        self._behaviour = Behaviour(plan.assumptions, seed=plan.seed, properties=properties)
        self._people = {
            name: contacts_sql(self._connection, project, said.who) for name, said in plan.assumptions.events.items()
        }
        self._prepared = prepare(copy, Experiment())  # no network: `fetch` takes its sample
        self._seen = self._connection.execute("SELECT coalesce(max(id), 0) FROM message_events").fetchone()[0]

    def pass_day(self, start: int) -> None:
        """Live 24 hours, a step at a time."""
        for event, people in self._people.items():
            ids = [contact_id for (contact_id,) in self._connection.execute(people, {"now": start})]
            self._behaviour.live(event, ids, start, start + DAY_MS)
        for now in range(start, start + DAY_MS, self._plan.step_ms):
            self._happen(now)
            tick(
                self._copy,
                now=now,
                channels=self._channels,
                slice_ms=self._plan.step_ms,
                prepared=self._prepared,
                unasked=True,
            )
            self.ticks += 1
            self._behaviour.receive(self._sent())

    def _happen(self, now: int) -> None:
        """Store what happened outside since the last step."""
        things = self._behaviour.until(now)
        if not things:
            return
        with transaction(self._connection):
            for thing in things:
                if isinstance(thing, Fact):
                    self._store_fact(thing)
                else:
                    self._store_answer(thing, now)

    def _store_fact(self, fact: Fact) -> None:
        self.facts[fact.event] += 1
        self._connection.execute(
            "INSERT INTO events (contact_id, type, at, props) VALUES (?, ?, ?, ?)",
            (
                fact.contact_id,
                events.type_id(self._connection, fact.event),
                fact.at,
                json.dumps(fact.properties) if fact.properties else None,
            ),
        )

    def _store_answer(self, answer: Answer, now: int) -> None:
        sending = statuses.by_key(self._connection, answer.key)
        if sending is None:  # the engine keeps every message that left
            return
        self.answers[answer.status] += 1
        status = statuses.NAMES.index(answer.status)
        statuses.record(self._connection, [statuses.Status(sending=sending, status=status, at=answer.at)], now=now)

    def _sent(self) -> list[Sent]:
        rows = self._connection.execute(
            "SELECT m.id, m.at, m.contact_id, o.key, c.name FROM message_events m JOIN outbox o ON o.id = m.outbox_id "
            "JOIN names c ON c.id = o.channel WHERE m.id > ? AND m.status = ? ORDER BY m.id",
            (self._seen, statuses.SENT),
        ).fetchall()
        if rows:
            self._seen = rows[-1][0]
        return [
            Sent(at=at, contact_id=contact_id, key=key, channel=channel) for _, at, contact_id, key, channel in rows
        ]
