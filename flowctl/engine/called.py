"""What templates call for: coupons, the newest events, survey links; and who answers them for the values of steps."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from flowctl.engine.links import Claim, Links
from flowctl.engine.sandbox import MissingName, Record

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from flowctl.language.problem import Place, Problem
    from flowctl.project.project import Project

# A survey link says on which channel it left. One made by a step left by none that is known here.
_NO_CHANNEL = 0


@dataclass(kw_only=True)
class Wanted:
    """What the templates of one step call for."""

    coupons: set[str] = field(default_factory=set)
    surveys: set[str] = field(default_factory=set)
    events: dict[str, int] = field(default_factory=dict)  # name → the most that one call asks for

    @classmethod
    def of(cls, templates: Iterable[Mapping[str, Any]]) -> Wanted:
        """From the templates of a compiled step; those of an older compiler say nothing and call for nothing."""
        wanted = cls()
        for said in templates:
            wanted.add(said.get("calls", {}))
        return wanted

    def add(self, calls: Mapping[str, Mapping[str, int]]) -> None:
        """Take in what one template calls for: name of the function → what → how many (see `templates.calls`)."""
        self.coupons |= set(calls.get("coupon", ()))
        self.surveys |= set(calls.get("survey_url", ()))
        for name, count in calls.get("events", {}).items():
            self.events[name] = max(self.events.get(name, 0), count)

    def faults(self, project: Project, place: Place, *, about: str = "") -> Iterator[Problem]:
        """Surveys and events that are not there, and survey links that would lead nowhere; `about` begins what is said."""
        from flowctl.language.problem import Problem  # noqa: PLC0415 - only before anything runs

        unknown = [
            *(("survey", name) for name in sorted(self.surveys) if name not in project.surveys),
            *(("event", name) for name in self.events if name not in project.settings.event_properties),
        ]
        for kind, name in unknown:
            text, help_ = f"{about}there is no {kind} `{name}`", f"declare the {kind}, or mend its name"
            yield Problem(code="REF001", slug="unknown-reference", message=text, place=place, help=help_)
        if self.surveys and not project.settings.public_url:
            text = f"{about}`survey_url` makes a link, and flowctl.yaml has no `public_url:` for it"
            help_ = "set `public_url:` to where answers are received"
            yield Problem(code="RUN003", slug="no-survey-url", message=text, place=place, help=help_)


class Calls:
    """Answers what the templates of a step call, for the rows at it. Inside the transaction of the batch."""

    def __init__(self, connection: sqlite3.Connection, wanted: Wanted, *, public_url: str | None) -> None:
        self._connection = connection
        self._wanted = wanted
        self._public_url = public_url
        self._links: Links | None = None

    def give(self, contacts: Iterable[int], *, now: int) -> None:
        """Codes are the contacts' before a template shows them, as for messages: whoever has one keeps it. `now` is UTC ms."""
        if self._wanted.coupons:
            from flowctl.store import coupons  # noqa: PLC0415 - only where a step gives codes

            known = list(contacts)
            for name in sorted(self._wanted.coupons):
                coupons.give(self._connection, name, known, now=now)

    def functions(
        self, made_of: Callable[[Any], Any], *, contact_id: int, at: int, place: tuple[int, int, int]
    ) -> dict[str, Any]:
        """The names that the templates of a row may call; what they yield goes through `made_of`.

        `at` is the row's logical time, UTC ms; `place` its enrollment, position and visit, which tell it from every other row.
        """
        made: dict[str, Any] = {}
        wanted = {"coupons": self._wanted.coupons, "events": self._wanted.events}
        from flowctl.engine.building import called  # noqa: PLC0415 - a process that renders has no store, and starts sooner

        said = called(self._connection, wanted, contact_id, at)
        if "coupons" in said:
            made["coupon"] = lambda name: made_of(code(said["coupons"], name))
        if "events" in said:
            made["events"] = Events({name: made_of(events) for name, events in said["events"].items()})
        if self._wanted.surveys:
            made["survey_url"] = lambda survey: made_of(self._survey_url(contact_id, place, survey))
        return made

    def _survey_url(self, contact_id: int, place: tuple[int, int, int], survey: str) -> str:
        """A link that stays the same however often the row is looked at."""
        if not self._public_url:
            reason = "no survey link: flowctl.yaml has no public_url"
            raise MissingName(reason)
        if self._links is None:
            (secret,) = self._connection.execute("SELECT secret FROM store").fetchone()
            self._links = Links(secret=secret, public_url=self._public_url)
        (key,) = self._connection.execute("SELECT message_key(?, ?, ?, ?, '')", (*place, _NO_CHANNEL)).fetchone()
        return self._links.url("survey", Claim(key=key, contact_id=contact_id, channel="", topic=survey))


class Events:
    """`events` in a template."""

    def __init__(self, newest: Mapping[str, list[dict[str, Any]]]) -> None:
        self._newest = newest

    def last(self, name: str, count: int = 1) -> list[Record]:
        """The contact's newest events of a name, the newest first, each with its properties and `at`."""
        return [Record(name, event) for event in self._newest.get(name, [])[:count]]


def code(codes: Mapping[str, str], name: str) -> str:
    """The code of a coupon. Raises MissingName where the contact has none."""
    if name not in codes:
        reason = f"no code is left of coupon {name}: `flowctl coupons import {name} FILE` brings more"
        raise MissingName(reason)
    return codes[name]
