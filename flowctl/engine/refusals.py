"""What a project says that the engine does not run yet: refused by `apply` where it stands, never ignored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowctl.channels.registry import ADAPTERS
from flowctl.language.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.language.model import Model
    from flowctl.project.project import Project

_HELP = "`flowctl validate` knows it and `apply` will take it once the engine runs it; leave it out until then"


def refusals(project: Project) -> list[Problem]:
    """All of them, in no order."""
    return [*_of_settings(project), *_of_messages(project)]


def _refused(model: Model, what: str, key: str | None = None) -> Problem:
    place = model.place_of_key(key) if key else model.place
    return Problem(code="RUN001", slug="does-not-run-yet", message=f"{what} not run yet", place=place, help=_HELP)


def _of_settings(project: Project) -> Iterator[Problem]:
    settings = project.settings
    for name, team in settings.teams.items():
        if team.alert is not None:
            yield _refused(team, f"team {name}: alerts leave by its `email:`; `alert` does", "alert")
    for record in settings.records.values():
        if record.service is not None:
            yield _refused(record, "pushing records to a `service` does", "service")
    for name, channel in settings.channels.items():
        if channel.adapter not in ADAPTERS:
            known = ", ".join(sorted(ADAPTERS))
            message = f"channel {name}: there is no adapter `{channel.adapter}` yet; there are {known}"
            yield Problem(
                code="RUN001", slug="does-not-run-yet", message=message, place=channel.place_of("adapter"), help=_HELP
            )


def _of_messages(project: Project) -> Iterator[Problem]:
    public_url = project.settings.public_url
    for message in project.messages.values():
        if message.email is None:
            continue
        if message.purpose == "marketing" and not public_url:
            text = f"marketing e-mail `{message.name}` needs one-click unsubscribe, and flowctl.yaml has no `public_url:` for its links"
            yield Problem(
                code="RUN002", slug="no-unsubscribe-url", message=text, place=message.place_of_key("email"),
                help="set `public_url:` to where unsubscribe requests are received, or declare the message transactional if it is",
            )  # fmt: skip
