"""What `apply` refuses though every file is sound: what could not leave as it must."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowctl.language.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.project.project import Project


def refusals(project: Project) -> list[Problem]:
    """All of them, in no order."""
    return list(_of_messages(project))


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
