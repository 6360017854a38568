"""Scenario tests: one contact's story on the real engine, in memory, on a virtual clock that jumps to whatever happens next."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from flowctl.channels.recording import RecordingChannel
from flowctl.engine.apply import apply
from flowctl.engine.by_hand import enroll
from flowctl.engine.compiled import CHANNELS, in_order
from flowctl.engine.horizon import Horizon
from flowctl.engine.localtime import instant
from flowctl.engine.observe import judge_in_full, start_cursors
from flowctl.engine.runtime import Experiment
from flowctl.engine.tick import Prepared, prepare, tick
from flowctl.failure import Failure, UsageFailure
from flowctl.language.durations import Duration
from flowctl.simulate.expectations import Actual, Mismatch, mismatches
from flowctl.simulate.office import Office
from flowctl.store import consents, contacts, coupons, events, replies, statuses, surveys, tasks
from flowctl.store.casting import CastError, Kind, cast
from flowctl.store.database import open_store, transaction, undone

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from flowctl.engine.runtime import Runtime
    from flowctl.language.model import Model
    from flowctl.language.scenario import Expectation, Fact, ScenarioBody
    from flowctl.project.project import Project
    from flowctl.report.timeline import Timeline
    from flowctl.store.database import Store

TICKS_MAX = 20_000  # a scenario that wants more is a journey that never rests
# Whose address is its own consent.
_ADDRESSED = {"email": "email", "sms": "phone", "whatsapp": "phone"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What became of one scenario."""

    name: str
    mismatches: tuple[Mismatch, ...]
    timeline: Timeline | None  # of a failed one
    ticks: int

    @property
    def passed(self) -> bool:
        """Whether everything was as expected."""
        return not self.mismatches


@dataclass(kw_only=True)
class Trail:
    """Which positions and ways of which workflows scenarios went through: (workflow, pc) and (workflow, pc, way)."""

    positions: set[tuple[str, int]] = field(default_factory=set)
    ways: set[tuple[str, int, str]] = field(default_factory=set)


class Bench:
    """A project applied once; every scenario runs on that store and is undone."""

    def __init__(self, project: Project) -> None:
        """Apply the project's files in memory.

        Raises:
            ProblemsFound: they have errors, or say what the engine does not run.
        """
        self._project = project
        self._base = open_store(":memory:", create=True)
        live = {
            name: workflow.model_copy(update={"state": "live"})
            for name, workflow in project.workflows.items()
            if workflow.state == "draft"
        }
        # Whom an environment writes to, and how quickly time passes there, is no part of what a journey is tested for.
        self._tested = replace(project, workflows={**project.workflows, **live}, environment="")
        apply(self._base, self._tested, commit="files", now=0)
        self._runtime = prepare(self._base).runtime
        for name in sorted(self._coupons()):
            coupons.add(self._base.connection, name, [f"{name}-TEST"])
        self.trail = Trail()

    def close(self) -> None:
        """Give the memory back."""
        self._base.close()

    def _coupons(self) -> set[str]:
        """The pools that messages and steps give from."""
        names = {name for said in self._runtime.said["messages"].values() for name in said["coupons"]}
        for (number,) in self._base.connection.execute("SELECT id FROM workflow_versions"):
            for instruction in self._runtime.versions[number].instructions:
                for template in instruction.get("templates", ()):
                    names.update(template.get("calls", {}).get("coupon", ()))
        return names

    def run(self, name: str, scenario: ScenarioBody) -> Outcome:
        """Live a scenario to the end of its expectations."""
        with undone(self._base.connection):
            return _Story(self._tested, self._base, self._runtime, name, scenario, self.trail).run()


class _Story:
    """One scenario under way."""

    def __init__(
        self, project: Project, store: Store, runtime: Runtime, name: str, scenario: ScenarioBody, trail: Trail
    ) -> None:
        self._project = project
        self._store = store
        self._connection = store.connection
        self._name = name
        self._scenario = scenario
        self._trail = trail
        self._zone = project.settings.timezone
        self._start = instant(scenario.start, self._zone)
        self._channels = dict.fromkeys(CHANNELS, RecordingChannel())
        self._experiment = Experiment(arms=dict(scenario.arms), fetches=dict(scenario.fetches))
        self._runtime = replace(runtime, states=dict(runtime.states), experiment=self._experiment)
        self._prepared = Prepared(runtime=self._runtime, horizon=Horizon(self._connection, self._runtime))
        self._now = self._start - 1
        self._ticks = 0
        self._wrong: list[Mismatch] = []

    def run(self) -> Outcome:
        self._contact = self._set_up()
        office = Office(
            connection=self._connection,
            contact_id=self._contact,
            scenario=self._scenario,
            start=self._start,
            zone=self._zone,
        )
        since = 0
        for at, thing in self._points():
            self._live_until(at)
            if not isinstance(thing, tuple):
                self._happen(thing, at)
                continue
            (expectation,) = thing
            actual = Actual.of(self._connection, self._contact, since)
            self._wrong += mismatches(
                self._project, self._scenario, expectation, actual, start=self._start, zone=self._zone
            )
            self._wrong += office.mismatches(expectation)
            if expectation.sends is not None:
                since = actual.last_outbox
        self._remember()
        return Outcome(
            name=self._name,
            mismatches=tuple(self._wrong),
            timeline=self._timeline() if self._wrong else None,
            ticks=self._ticks,
        )

    def _points(self) -> Iterator[tuple[int, Fact | tuple[Expectation]]]:
        """Facts and expectations in order of time; an expectation sees what happens at its instant, and keeps its place among others."""
        points: list[tuple[int, int, int, Fact | tuple[Expectation]]] = []
        for index, fact in enumerate(self._scenario.timeline):
            points.append((self._at(fact.at), 0, index, fact))
        latest = self._start
        for index, expectation in enumerate(self._scenario.expect):
            said = [self._at(moment) for moment in (expectation.until, expectation.at) if moment is not None]
            # An `at` beside a fact of the past asks when it was, and does not turn the clock back.
            latest = max([latest, *said])
            points.append((latest, 1, index, (expectation,)))
        for at, _, _, thing in sorted(points, key=lambda point: point[:3]):
            yield at, thing

    def _at(self, said: Duration | datetime) -> int:
        if isinstance(said, Duration):
            from flowctl.engine.localtime import local_plus  # noqa: PLC0415 - beside its one use

            return local_plus(self._start, self._zone, said)
        return instant(said, self._zone)

    def _set_up(self) -> int:
        scenario = self._scenario
        past = [self._start - fact.ago.elapsed_ms for fact in scenario.history]
        born = min([self._start, *past])
        values = {name: self._cast(scenario, name, value) for name, value in scenario.contact.items()}
        connection = self._connection
        with transaction(connection):
            contact = contacts.create(connection, values, origin=contacts.IMPORTED, now=born)
            consents.record(connection, list(self._consents(contact, values, born)), now=born)
            for fact, at in zip(scenario.history, past, strict=True):
                self._event(contact, fact.event, at, fact.properties, None)
            plans = {plan.name: plan for plan in self._runtime.segments}
            for segment in in_order(self._project.segments.values()):
                judge_in_full(connection, plans[segment.name], self._start - 1)
            start_cursors(connection, self._start - 1)
            connection.execute("UPDATE cursors SET value = ? WHERE name = 'tick'", (self._start - 1,))
            for entrance in self._runtime.entrances:
                for index, said in enumerate(entrance.triggers):
                    if said.get("existing"):  # the workflow is taken to have been applied long ago
                        pending = (f"existing:{index}:{entrance.workflow}", self._start)
                        connection.execute(
                            "INSERT INTO cursors (name, value) VALUES (?, ?) ON CONFLICT (name) DO NOTHING", pending
                        )
        return contact

    def _consents(self, contact: int, values: dict[str, Any], at: int) -> Iterator[consents.Statement]:
        said = self._scenario.consent
        for channel in CHANNELS:
            address = _ADDRESSED.get(channel)
            granted = said.get(channel, bool(address and values.get(address)))
            if granted or channel in said:
                yield consents.Statement(contact_id=contact, channel=channel, granted=granted, at=at, source="scenario")

    def _cast(self, model: Model, name: str, value: Any) -> Any:
        types = self._project.field_types
        if value is None or name not in types:
            return None
        declared = self._project.settings.contacts.fields.get(name)
        kind = Kind(type=types[name], values=tuple(declared.values or ()) if declared else ())
        try:
            if isinstance(value, bool | int | float) and kind.type in ("text", "choice"):
                value = str(value)
            return cast(kind.type, value, zone=ZoneInfo(self._zone))
        except CastError as fault:
            message = f"{model.place}: test {self._name!r}: `{name}`: {fault}"
            raise UsageFailure(message) from None

    def _live_until(self, end: int) -> None:
        """Tick at every instant at which something can happen, and at the end."""
        while self._ticks < TICKS_MAX:
            following = self._prepared.horizon.next(self._now)
            if following > end:
                break
            self._tick(following)
        if self._now < end:
            self._tick(end)

    def _tick(self, now: int) -> None:
        self._now = now
        self._ticks += 1
        tick(self._store, now=now, channels=self._channels, prepared=self._prepared, unasked=True)

    def _happen(self, fact: Fact, at: int) -> None:
        connection, contact = self._connection, self._contact
        with transaction(connection):
            if fact.event in statuses.EVENTS:
                self._reported(fact, "event", str(fact.properties.get("message")), statuses.EVENTS[fact.event], at)
            elif fact.event is not None:
                self._event(contact, fact.event, at, fact.properties, fact.id)
            elif fact.survey is not None:
                self._event(contact, "survey_answered", at, {"survey": fact.survey, "answers": fact.answers}, fact.id)
            elif fact.position is not None:
                lat, lon = fact.position
                self._event(contact, "position_reported", at, {"lat": lat, "lon": lon}, fact.id)
            elif fact.set is not None:
                contacts.change(
                    connection,
                    contact,
                    {name: self._cast(fact, name, value) for name, value in fact.set.items()},
                    now=at,
                )
            elif fact.unsubscribe is not None:
                channels = CHANNELS if fact.unsubscribe is True else [str(fact.unsubscribe)]
                said = [
                    consents.Statement(contact_id=contact, channel=channel, granted=False, at=at, source="scenario")
                    for channel in channels
                ]
                consents.record(connection, said, now=at)
            elif fact.enroll is not None:
                enroll(
                    connection,
                    self._runtime,
                    fact.enroll,
                    [contact],
                    step=None,
                    force=False,
                    now=at,
                    inputs=self._scenario.inputs,
                )
            elif fact.task is not None:
                self._act(fact, at)
            else:
                self._status(fact, at)
        self._now = at - 1  # the next look is at this very instant
        self._tick(at)

    def _event(self, contact: int, name: str, at: int, properties: dict[str, Any], own: str | None) -> None:
        identity = None if own is None else events.dedupe(f"id {own}")
        (newest,) = self._connection.execute("SELECT coalesce(max(id), 0) FROM events").fetchone()
        self._connection.execute(
            "INSERT INTO events (contact_id, type, at, props, dedupe) VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT (contact_id, dedupe) WHERE dedupe IS NOT NULL DO NOTHING",
            (
                contact,
                events.type_id(self._connection, name),
                at,
                json.dumps(properties) if properties else None,
                identity,
            ),
        )
        if name in surveys.EVENTS:
            surveys.record(self._connection, newest)
        if name == replies.EVENT:
            replies.record(self._connection, newest, now=at)

    def _act(self, fact: Fact, at: int) -> None:
        """A person does the contact's most urgent task."""
        still = tasks.tasks(self._connection, contact_id=self._contact, limit=1)
        try:
            if not still:
                expected, found = "an open task", "none"
            elif fact.task not in still[0].outcomes:
                expected, found = f"task {still[0].title!r}: {', '.join(still[0].outcomes)}", f"task: {fact.task}"
            else:
                tasks.done(self._connection, still[0].id, fact.task, now=at)
                return
        except Failure as failure:
            expected, found = "an open task", failure.message
        self._wrong.append(Mismatch(place=fact.place_of("task"), expected=expected, found=found))

    def _status(self, fact: Fact, at: int) -> None:
        for word in ("opened", "clicked", "bounced", "delivered", "dismissed"):
            message = getattr(fact, word)
            if message is not None:
                self._reported(fact, word, message, statuses.NAMES.index(word), at)
                return

    def _reported(self, fact: Fact, key: str, message: str, number: int, at: int) -> None:
        """What became of the newest message of that name, as an import of events would tell it."""
        sending = statuses.newest(self._connection, self._contact, message)
        if sending is None:
            expected = f"message {message} was sent before it is {statuses.NAMES[number]}"
            self._wrong.append(Mismatch(place=fact.place_of(key), expected=expected, found="it was not sent"))
            return
        link = fact.link or fact.properties.get("link")
        status = statuses.Status(sending=sending, status=number, at=at, link=link)
        statuses.record(self._connection, [status], now=at)

    def _remember(self) -> None:
        """What was gone through: from the positions executed and the ways journalled."""
        numbers = dict(self._connection.execute("SELECT id, workflow FROM workflow_versions"))
        self._trail.positions |= {(numbers[version], pc) for version, pc in self._experiment.visited}
        rows = self._connection.execute(
            "SELECT DISTINCT j.version_id, j.pc, k.name, j.detail ->> 'way' FROM journal j JOIN journal_kinds k ON k.id = j.kind "
            "WHERE j.pc IS NOT NULL AND k.name IN ('branch', 'woken', 'timed_out')"
        )
        self._trail.ways |= {
            (numbers[version], pc, way or {"woken": "then", "timed_out": "timeout"}[kind])
            for version, pc, kind, way in rows
        }

    def _timeline(self) -> Timeline:
        from flowctl.report.timeline import timeline  # noqa: PLC0415 - only failures are told

        return timeline(self._store, f"#{self._contact}")


def selected(project: Project, pattern: str) -> list[tuple[str, ScenarioBody]]:
    """The scenarios whose title or workflow holds a text, in the order of the files; all of them for ''."""
    wanted = pattern.lower()
    chosen: Iterable[tuple[str, ScenarioBody]] = sorted(project.scenarios.items(), key=lambda item: item[1].place)
    return [
        (name, scenario)
        for name, scenario in chosen
        if not wanted or wanted in name.lower() or any(wanted in of for of in scenario.of)
    ]
