"""What a scenario expects of the own people's side: records made, tasks given, notices sent."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from flowctl.engine.localtime import instant, local_plus
from flowctl.language import durations
from flowctl.simulate.expectations import ALL, Mismatch
from flowctl.store.records import Record, records

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    from flowctl.language.scenario import Expectation, ScenarioBody

_MINUTE_MS = 60_000  # times in a test are written to the minute
_TASKS = (
    "SELECT t.id, v.workflow, t.at, t.title, json_object('title', t.title, 'team', t.team, 'step', t.step, 'outcome', t.outcome) "
    "FROM tasks t JOIN workflow_versions v ON v.id = t.version_id WHERE t.contact_id = ? AND t.id > ? ORDER BY t.id"
)
_NOTICES = (
    "SELECT n.id, v.workflow, n.at, coalesce(n.team, n.owner), json_object('team', n.team, 'owner', n.owner, 'text', n.text, 'to', n.recipient) "
    "FROM notices n JOIN workflow_versions v ON v.id = n.version_id WHERE n.contact_id = ? AND n.id > ? AND n.recipient IS NOT NULL ORDER BY n.id"
)
_WITHIN = ("text", "title")  # of which a part may be expected


@dataclass(frozen=True, kw_only=True, slots=True)
class _Thing:
    """A task or a notice: `name` (of a task also its step) is what a bare word expects, `said` what a mapping does. `at` is UTC ms."""

    name: str
    at: int
    said: dict[str, Any]


@dataclass(kw_only=True)
class Office:
    """One scenario's tasks and notices, each told once: lists are complete since the previous expectation that has them."""

    connection: sqlite3.Connection
    contact_id: int
    scenario: ScenarioBody
    start: int
    zone: str
    _seen: dict[str, int] = field(default_factory=dict)

    def mismatches(self, expected: Expectation) -> Iterator[Mismatch]:
        """Every way in which an expectation does not hold."""
        for kind, wanted in (expected.records or {}).items():
            yield from self._records(expected, kind, wanted)
        if expected.tasks is not None:
            yield from self._list(expected, "tasks", expected.tasks, _TASKS)
        if expected.notifies is not None:
            yield from self._list(expected, "notifies", expected.notifies, _NOTICES)

    def _records(self, expected: Expectation, kind: str, wanted: Any) -> Iterator[Mismatch]:
        """True: some; a number: so many; a mapping: one like it; a list: these and no others."""
        found = list(records(self.connection, kind=kind, contact_id=self.contact_id))
        match wanted:
            case bool():
                holds = bool(found) == wanted
            case int():
                holds = len(found) == wanted
            case dict():
                holds = any(_holds(_values(record), wanted) for record in found)
            case list():
                holds = len(found) == len(wanted) and all(map(_holds, map(_values, found), wanted))
            case _:
                holds = False
        if not holds:
            told = ", ".join(json.dumps(_values(record), ensure_ascii=False) for record in found) or "none"
            said = json.dumps(wanted, ensure_ascii=False, default=str)
            yield Mismatch(place=expected.place_of("records"), expected=f"{kind}: {said}", found=f"{kind}: {told}")

    def _list(self, expected: Expectation, key: str, wanted: list[Any], query: str) -> Iterator[Mismatch]:
        rows = self.connection.execute(query, (self.contact_id, self._seen.get(key, 0))).fetchall()
        if rows:
            self._seen[key] = rows[-1][0]
        mine = [row for row in rows if ALL in self.scenario.of or row[1] in self.scenario.of]
        found = [_Thing(name=row[3], at=row[2], said=json.loads(row[4])) for row in mine]
        if len(found) == len(wanted) and all(map(self._is, found, wanted)):
            return
        told = ", ".join(json.dumps(_known(thing.said), ensure_ascii=False) for thing in found) or "nothing"
        said = ", ".join(json.dumps(want, ensure_ascii=False, default=str) for want in wanted) or "nothing"
        yield Mismatch(place=expected.place_of(key), expected=f"{key}: {said}", found=f"{key}: {told}")

    def _is(self, thing: _Thing, want: Any) -> bool:
        if not isinstance(want, dict):
            return want in (thing.name, thing.said.get("step"))
        asked = dict(want)
        at = asked.pop("at", None)
        if at is not None and self._at(str(at)) // _MINUTE_MS != thing.at // _MINUTE_MS:
            return False
        return _holds(thing.said, asked)

    def _at(self, said: str) -> int:
        """A span after the start, or a local time; a time that is neither is no time anything happened at."""
        try:
            return (
                local_plus(self.start, self.zone, durations.parse(said.lstrip("+")))
                if said.strip("+") != "0h"
                else self.start
            )
        except ValueError:
            pass
        try:
            return instant(datetime.fromisoformat(said), self.zone)
        except ValueError:
            return -1


def _values(record: Record) -> dict[str, Any]:
    return {**record.values, **({} if record.key is None else {"key": record.key})}


def _known(said: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in said.items() if value not in (None, "")}


def _holds(found: dict[str, Any], wanted: Any) -> bool:
    """Everything wanted is there; of texts that people read, a part is enough."""
    if not isinstance(wanted, dict):
        return False
    return all(
        found.get(name) == want or (name in _WITHIN and isinstance(want, str) and want in str(found.get(name) or ""))
        for name, want in wanted.items()
    )
