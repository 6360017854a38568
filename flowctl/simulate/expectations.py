"""What a scenario expects against what the store says happened."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from flowctl.engine.contact import contact_values
from flowctl.engine.localtime import instant, local_plus
from flowctl.language.durations import Duration

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    from flowctl.language.problem import Place
    from flowctl.language.scenario import Expectation, ExpectedSend, ScenarioBody
    from flowctl.project.project import Project

ALL = "all"
_MINUTE_MS = 60_000  # times in a test are written to the minute


@dataclass(frozen=True, kw_only=True, slots=True)
class Mismatch:
    """One expectation that did not hold."""

    place: Place
    expected: str
    found: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Send:
    """A message that left. `at` is UTC ms."""

    message: str
    channel: str
    at: int
    workflow: str
    variant: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Enrollment:
    """A way through a workflow; `ended` is the word an expectation uses: goal, completed, or the exit's reason."""

    workflow: str
    ended: str | None
    ended_at: int | None


@dataclass(frozen=True, kw_only=True)
class Actual:
    """What the store says of a contact: messages since an expectation, enrollments, fields, segments."""

    sends: tuple[Send, ...]
    enrollments: tuple[Enrollment, ...]
    last_outbox: int  # the newest message event seen
    connection: sqlite3.Connection
    contact_id: int

    @classmethod
    def of(cls, connection: sqlite3.Connection, contact_id: int, since: int) -> Actual:
        """Read it."""
        rows = connection.execute(
            "SELECT e.id, m.name, ch.name, e.at, v.workflow, o.variant FROM message_events e JOIN outbox o ON o.id = e.outbox_id "
            "JOIN names m ON m.id = e.message JOIN names ch ON ch.id = o.channel JOIN workflow_versions v ON v.id = o.version_id "
            "WHERE e.contact_id = ? AND e.status = 0 AND e.id > ? ORDER BY e.at, e.id",
            (contact_id, since),
        ).fetchall()
        (last,) = connection.execute("SELECT coalesce(max(id), 0) FROM message_events").fetchone()
        enrolled = connection.execute(
            "SELECT workflow, CASE state WHEN 0 THEN NULL WHEN 1 THEN 'completed' WHEN 4 THEN 'goal' ELSE reason END, ended_at "
            "FROM enrollments WHERE contact_id = ? ORDER BY id",
            (contact_id,),
        ).fetchall()
        return cls(
            sends=tuple(
                Send(message=row[1], channel=row[2], at=row[3], workflow=row[4], variant=row[5]) for row in rows
            ),
            enrollments=tuple(Enrollment(workflow=row[0], ended=row[1], ended_at=row[2]) for row in enrolled),
            last_outbox=last,
            connection=connection,
            contact_id=contact_id,
        )


def mismatches(
    project: Project, scenario: ScenarioBody, expected: Expectation, actual: Actual, *, start: int, zone: str
) -> Iterator[Mismatch]:
    """Every way in which an expectation does not hold. `start` is UTC ms; times in tests are in the project's `zone`."""
    watch = _Watch(project, scenario, start, zone)
    if expected.sends is not None:
        yield from watch.sends(expected, actual)
    if expected.exit is not None:
        yield from watch.exit(expected, actual)
    if expected.enrolled is not None:
        yield from watch.enrolled(expected, actual)
    if expected.fields is not None:
        yield from watch.fields(expected, actual)
    if expected.segments is not None:
        yield from watch.segments(expected, actual)


class _Watch:
    """The scenario's point of view: which workflows it is about, how it writes times."""

    def __init__(self, project: Project, scenario: ScenarioBody, start: int, zone: str) -> None:
        self._project = project
        self._of = None if ALL in scenario.of else set(scenario.of)
        self._start = start
        self._zone = zone

    def _mine(self, workflow: str) -> bool:
        return self._of is None or workflow in self._of

    def sends(self, expected: Expectation, actual: Actual) -> Iterator[Mismatch]:
        """The complete ordered list since the previous expectation."""
        found = [send for send in actual.sends if self._mine(send.workflow)]
        wanted = expected.sends or []
        if len(found) == len(wanted) and all(self._is(send, want) for send, want in zip(found, wanted, strict=True)):
            return
        yield Mismatch(
            place=expected.place_of("sends"),
            expected=f"sends: {self._list([self._wanted(want) for want in wanted])}",
            found=f"sends: {self._list([self._found(send, wanted) for send in found])}",
        )

    def _is(self, send: Send, want: ExpectedSend) -> bool:
        if send.message != want.message or (want.channel is not None and send.channel != want.channel):
            return False
        if want.variant is not None and send.variant != want.variant:
            return False
        return want.at is None or self._same_minute(send.at, self._at(want.at))

    def exit(self, expected: Expectation, actual: Actual) -> Iterator[Mismatch]:
        """Some enrollment of the workflows in question ended so, at that time where one is said."""
        ended = [each for each in actual.enrollments if self._mine(each.workflow) and each.ended is not None]
        at = self._at(expected.at) if expected.at is not None else None
        if any(
            each.ended == expected.exit and (at is None or self._same_minute(each.ended_at or 0, at)) for each in ended
        ):
            return
        told = [f"{each.ended} at {self._when(each.ended_at or 0)}" for each in ended]
        inside = sum(self._mine(each.workflow) and each.ended is None for each in actual.enrollments)
        yield Mismatch(
            place=expected.place_of("exit"),
            expected=f"exit: {expected.exit}{f' at {self._when(at)}' if at is not None else ''}",
            found=self._list(told) if told else "still inside" if inside else "never entered",
        )

    def enrolled(self, expected: Expectation, actual: Actual) -> Iterator[Mismatch]:
        """How often somebody entered: true at least once, false never, a number exactly."""
        said = expected.enrolled
        asked = said if isinstance(said, dict) else {None: said}
        for name, want in asked.items():
            count = sum(each.workflow == name if name else self._mine(each.workflow) for each in actual.enrollments)
            holds = count == want if isinstance(want, int) and not isinstance(want, bool) else bool(count) == want
            if not holds:
                of = f" {name}" if name else ""
                yield Mismatch(
                    place=expected.place_of("enrolled"),
                    expected=f"enrolled{of}: {json.dumps(want)}",
                    found=f"entered {count} times",
                )

    def fields(self, expected: Expectation, actual: Actual) -> Iterator[Mismatch]:
        """Values as the language writes them."""
        values, _ = contact_values(actual.connection, actual.contact_id, self._project.field_types)
        for name, want in (expected.fields or {}).items():
            found = _written(values.get(name))
            if found != _written(want) and not (
                isinstance(want, list) and sorted(map(str, want)) == sorted(map(str, found or []))
            ):
                yield Mismatch(
                    place=expected.place_of("fields"),
                    expected=f"{name}: {json.dumps(want, default=str)}",
                    found=json.dumps(found, default=str),
                )

    def segments(self, expected: Expectation, actual: Actual) -> Iterator[Mismatch]:
        """Who is in now."""
        inside = {
            name
            for (name,) in actual.connection.execute(
                "SELECT s.name FROM segment_members m JOIN segments s ON s.id = m.segment_id WHERE m.contact_id = ?",
                (actual.contact_id,),
            )
        }
        for name, want in (expected.segments or {}).items():
            if (name in inside) != want:
                yield Mismatch(
                    place=expected.place_of("segments"),
                    expected=f"{name}: {json.dumps(want)}",
                    found="inside" if name in inside else "not inside",
                )

    def _at(self, said: Duration | datetime) -> int:
        return local_plus(self._start, self._zone, said) if isinstance(said, Duration) else instant(said, self._zone)

    def _same_minute(self, one: int, other: int) -> bool:
        return one // _MINUTE_MS == other // _MINUTE_MS

    def _when(self, at: int) -> str:
        moment = datetime.fromtimestamp(at / 1000, UTC).astimezone(ZoneInfo(self._zone))
        days, rest = divmod(at - self._start, 86_400_000)
        return f"{moment:%Y-%m-%d %H:%M} (+{days}d{rest // 3_600_000:02d}h{rest // 60_000 % 60:02d})"

    def _wanted(self, want: ExpectedSend) -> str:
        at = f" at {self._when(self._at(want.at))}" if want.at is not None else ""
        variant = f" ({want.variant})" if want.variant else ""
        return f"{want.message}{variant}{f' by {want.channel}' if want.channel else ''}{at}"

    def _found(self, send: Send, wanted: list[ExpectedSend]) -> str:
        timed = any(want.at is not None for want in wanted)
        variant = f" ({send.variant})" if send.variant and any(want.variant is not None for want in wanted) else ""
        return f"{send.message}{variant} by {send.channel}{f' at {self._when(send.at)}' if timed else ''}"

    def _list(self, words: list[str]) -> str:
        return ", ".join(words) if words else "nothing"


def _written(value: Any) -> Any:
    """A value as YAML says it."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return str(value) if hasattr(value, "isoformat") else value
