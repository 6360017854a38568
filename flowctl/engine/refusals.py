"""What `apply` refuses though every file is sound: what could not leave as it must."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowctl.language.problem import Problem
from flowctl.language.sms import sender_fault

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowctl.project.project import Project


def refusals(project: Project) -> list[Problem]:
    """All of them, in no order."""
    return [*_of_messages(project), *_of_senders(project)]


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


def _of_senders(project: Project) -> Iterator[Problem]:
    """SMS whose sender no phone could show: without `sms:` a sender goes by its name."""
    channel = project.settings.channels.get("sms")
    senders = project.settings.senders
    if channel is None or channel.from_ or channel.adapter not in ("twilio", "http"):
        return
    for message in project.messages.values():
        if message.sms is None:
            continue
        name = message.sms.from_ or (next(iter(senders)) if len(senders) == 1 else None)
        sender = senders.get(name or "")
        fault = sender_fault(sender.name) if sender is not None and not sender.sms else ""
        if sender is not None and fault:
            text = f"the SMS of `{message.name}` would come from {sender.name!r}, and cannot: {fault}"
            yield Problem(
                code="RUN005", slug="no-sms-sender", message=text, place=sender.place,
                help=f"give sender `{name}` an `sms:`: at most 11 letters and digits, a number or a short code",
            )  # fmt: skip
