"""Answers for contacts: what they do by themselves and what they make of messages, drawn by a seeded hand."""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any

from flowctl.language.durations import DAY_MS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from flowctl.language.assumptions import Assumptions, Consequence, Response
    from flowctl.language.settings import FieldType
    from flowctl.language.times import Rate

# A message that bounces or is complained about does so once; the order is that of the draws, so it must not change.
_ANSWERS = ("delivered", "dismissed", "complained", "unsubscribed")


@dataclass(frozen=True, kw_only=True, slots=True)
class Fact:
    """Something a contact does: an event with its properties. `at` is UTC milliseconds."""

    at: int
    contact_id: int
    event: str
    properties: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What a contact makes of a message that left: a status such as `opened`."""

    at: int
    key: str
    status: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Sent:
    """A message that left."""

    at: int
    contact_id: int
    key: str
    channel: str


class Behaviour:
    """What happens outside, in order of time; the same seed and the same messages give the same life."""

    def __init__(
        self, assumptions: Assumptions, *, seed: int, properties: Mapping[str, Mapping[str, FieldType]]
    ) -> None:
        self._said = assumptions
        self._random = Random(seed)  # noqa: S311 - a simulation wants to be repeatable
        self._properties = properties
        self._future: list[tuple[int, int, Fact | Answer]] = []
        self._drawn = 0

    def live(self, event: str, people: Sequence[int], start: int, end: int) -> None:
        """Draw how often these contacts do an event by themselves in [start, end): a Poisson process of their common rate."""
        said = self._said.events[event]
        if not people:
            return
        each_ms = _mean_gap_ms(said.rate)
        at = float(start)
        while (at := at + self._random.expovariate(len(people) / each_ms)) < end:
            contact_id = people[self._random.randrange(len(people))]
            self._put(
                Fact(
                    at=int(at),
                    contact_id=contact_id,
                    event=event,
                    properties=self._drawn_properties(event, said.properties),
                )
            )

    def receive(self, messages: Sequence[Sent]) -> None:
        """Draw what becomes of messages that left."""
        for message in messages:
            self._follow("sent", message, message.at)
            response: Response | None = getattr(self._said.responses, message.channel, None)
            if response is not None:
                self._respond(message, response)

    def until(self, now: int) -> list[Fact | Answer]:
        """Take what happens up to `now`, in order."""
        found: list[Fact | Answer] = []
        while self._future and self._future[0][0] <= now:
            found.append(heapq.heappop(self._future)[2])
        return found

    def _respond(self, message: Sent, response: Response) -> None:
        if self._chance(response.bounced):
            self._answer(message, "bounced", response)
            return
        for status in _ANSWERS:
            if self._chance(getattr(response, status)):
                self._answer(message, status, response)
        opened_at = self._answer(message, "opened", response) if self._chance(response.opened) else None
        if opened_at is not None:
            self._follow("opened", message, opened_at)
        if response.clicked is None:
            return
        if response.opened:  # who clicks has opened: the chance is of all messages, so it is greater among the opened
            clicks = opened_at is not None and self._chance(min(1.0, response.clicked / response.opened))
        else:
            clicks = self._chance(response.clicked)
        if clicks:
            self._follow("clicked", message, self._answer(message, "clicked", response, after=opened_at))

    def _answer(self, message: Sent, status: str, response: Response, *, after: int | None = None) -> int:
        """Something that happens to a message, after a time whose median is `response.after`; a click soon after the opening."""
        median_ms = response.after.elapsed_ms or 1
        if after is not None:
            at = after + 1 + int(self._random.expovariate(1 / 60_000))
        else:
            at = message.at + 1 + int(self._random.expovariate(math.log(2) / median_ms))
        self._put(Answer(at=at, key=message.key, status=status))
        return at

    def _follow(self, cause: str, message: Sent, at: int) -> None:
        said: Consequence | None = getattr(self._said.responses, cause)
        if said is None or not self._chance(said.chance):
            return
        then_at = at + 1 + int(self._random.random() * said.within.elapsed_ms)
        properties = self._drawn_properties(said.then, said.properties)
        self._put(Fact(at=then_at, contact_id=message.contact_id, event=said.then, properties=properties))

    def _chance(self, chance: float | None) -> bool:
        return chance is not None and self._random.random() < chance

    def _put(self, thing: Fact | Answer) -> None:
        self._drawn += 1
        heapq.heappush(self._future, (thing.at, self._drawn, thing))

    def _drawn_properties(self, event: str, said: Mapping[str, Any]) -> dict[str, Any]:
        types = self._properties.get(event, {})
        return {name: self._value(value, types.get(name, "text")) for name, value in said.items()}

    def _value(self, said: Any, type_: FieldType) -> Any:
        if isinstance(said, dict) and "choice" in said:
            return self._random.choice(said["choice"])
        if isinstance(said, dict) and "between" in said:
            low, high = said["between"]
            return self._random.randint(low, high) if type_ == "integer" else round(self._random.uniform(low, high), 2)
        return said


def _mean_gap_ms(rate: Rate) -> float:
    return rate.per.elapsed_ms / rate.count if rate.count else math.inf


def day_starts(start: int, days: int) -> list[int]:
    """The beginning of each simulated day: 24 hours each, from `start` on."""
    return [start + day * DAY_MS for day in range(days)]
