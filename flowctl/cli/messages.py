"""`flowctl messages`: what would leave, and a real test of it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from flowctl import clock
from flowctl.cli.invocation import invocation
from flowctl.failure import Failure, UsageFailure
from flowctl.language.arm import DEFAULT_ARM

EXAMPLES = """\
flowctl messages render cart-reminder --contact ana@example.com
flowctl messages render cart-reminder --contact C-1042 --html > preview.html
flowctl messages render cart-reminder --contact C-1042 --variant short
flowctl messages render cart-reminder --contact C-1042 --raw          the whole mail, as it would leave
flowctl messages send-test cart-reminder --contact C-1042 --to me     by e-mail to git's user.email
flowctl messages send-test cart-reminder --contact C-1042 --channel sms --to +33612345678
"""
_HELP = "Render a message for a contact: what would leave; send a test of it."
app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help=_HELP)


@app.callback()
def _group() -> None:
    """Render a message for a contact: what would leave; send a test of it."""


@app.command("render")
def render_(
    ctx: typer.Context,
    message: Annotated[str, typer.Argument(metavar="MESSAGE", show_default=False)],
    contact: Annotated[str, typer.Option("--contact", metavar="X", help="Key, address or #id.", show_default=False)],
    channel: Annotated[
        str, typer.Option("--channel", help="Rather than the message's first.", show_default=False)
    ] = "",
    variant: Annotated[
        str, typer.Option("--variant", metavar="NAME", help="Rather than the message as written.", show_default=False)
    ] = "",
    html: Annotated[bool, typer.Option("--html", help="Only the HTML part.")] = False,
    raw: Annotated[bool, typer.Option("--raw", help="Everything, as it would leave.")] = False,
) -> int:
    """Show what a contact would get, from the files as they are now.

    A trigger's values are taken as unknown; what `fetch` would save is its sample.
    """
    from flowctl.cli.store import opened

    said = invocation(ctx)
    project = said.project()
    found = _message(project, message, variant)
    with opened(said) as store:
        letter = _letter(store, project, found, contact, channel or found.channels[0], variant)
    _show(letter.payload, html=html, raw=raw)
    if letter.channel == "sms":
        said.say(_length(str(letter.payload.get("text") or "")))
    return 0


@app.command("send-test")
def send_test_(
    ctx: typer.Context,
    message: Annotated[str, typer.Argument(metavar="MESSAGE", show_default=False)],
    contact: Annotated[str, typer.Option("--contact", metavar="X", help="Whose values it shows.", show_default=False)],
    to: Annotated[str, typer.Option("--to", metavar="ADDRESS", help="Where it goes; `me` is git's user.email.")] = "me",
    channel: Annotated[
        str, typer.Option("--channel", help="Rather than the message's first.", show_default=False)
    ] = "",
    variant: Annotated[
        str, typer.Option("--variant", metavar="NAME", help="Rather than the message as written.", show_default=False)
    ] = "",
) -> int:
    """Send a message, as a contact would get it, to an address of your own: now, by the real channel.

    The files as they are now count, with their channels and the secrets in the environment. Nothing of it enters the store, no
    cap and no quiet hours hold it, and its unsubscribe link is nobody's. A suppressed address gets nothing.
    """
    from flowctl.cli.store import opened
    from flowctl.engine.rehearsal import rehearsal_channels, send_test

    said = invocation(ctx)
    project = said.project()
    found = _message(project, message, variant)
    chosen = channel or found.channels[0]
    recipient = _test_address(project, chosen, to)
    with opened(said) as store:
        channels = rehearsal_channels(store, project)
        letter = _letter(store, project, found, contact, chosen, variant, recipient=recipient, signers=channels.signers)
        reply = send_test(store, channels, letter)
    said.say(f"sent to {letter.recipient} by {chosen}: {reply}")
    if chosen == "sms":
        said.say(_length(str(letter.payload.get("text") or "")))
    return 0


def _message(project: Any, message: str, variant: str) -> Any:
    found = project.messages.get(message)
    if found is None:
        import difflib

        near = difflib.get_close_matches(message, project.messages, 1)
        text = f"no message {message!r} in the files"
        raise UsageFailure(
            text, help=f"did you mean {near[0]!r}?" if near else "`flowctl validate` tells what is wrong with them"
        )
    if variant and variant not in (DEFAULT_ARM, *found.variants):
        text = f"message {message} has no variant {variant!r}"
        raise UsageFailure(text, help=f"there is {', '.join((DEFAULT_ARM, *found.variants))}")
    return found


def _length(text: str) -> str:
    """How long an SMS is, and what made it long."""
    from flowctl.language.sms import UCS2, segments

    parts, encoding, culprits = segments(text)
    why = f", for {' '.join(culprits)}" if encoding == UCS2 else ""
    return f"{len(text)} characters, {parts} segment{'s' if parts > 1 else ''} in {encoding.upper()}{why}"


def _test_address(project: Any, channel: str, to: str) -> str:
    """Where a test goes, in the form that its channel writes to."""
    import subprocess

    from flowctl.store.casting import CastError, phone

    if to == "me":
        if channel != "email":
            text = f"who is `me` on {channel}?"
            raise UsageFailure(text, help="say --to ADDRESS: a phone number, or a device's token")
        done = subprocess.run(
            ["git", "config", "user.email"], cwd=project.root, capture_output=True, text=True, check=False
        )
        if not done.stdout.strip():
            text = "git knows no user.email for `me`"
            raise UsageFailure(text, help="say --to ADDRESS")
        return done.stdout.strip()
    if channel not in ("sms", "whatsapp"):
        return to
    try:
        return phone(to, project.settings.country)
    except CastError as fault:
        text = f"--to {to}: {fault}"
        raise UsageFailure(text) from None


def _letter(
    store: Any,
    project: Any,
    message: Any,
    contact: str,
    channel: str,
    variant: str,
    *,
    recipient: str = "",
    signers: Any = None,
) -> Any:
    import hashlib
    from secrets import token_hex

    from flowctl.engine.attachments import files_of
    from flowctl.engine.contact import contact_values
    from flowctl.engine.letters import Letters, Refused
    from flowctl.engine.links import Links
    from flowctl.engine.templates import prepare
    from flowctl.store.contacts import resolve

    settings = project.settings
    snapshot = prepare(message, senders=settings.senders, languages=settings.languages, read=project.bodies.get)
    values, zone = contact_values(store.connection, resolve(store.connection, contact), project.field_types)
    address = values["phone"] if channel in ("sms", "whatsapp") else values.get(channel)
    links = Links(secret=store.secret, public_url=settings.public_url) if settings.public_url else None
    files = {hashlib.sha256(content).hexdigest(): content for content in files_of([snapshot], project.bodies)}
    called = _called(store, snapshot, values["id"])
    # The links of a test that was really sent must unsubscribe nobody.
    values = {**values, "id": 0} if recipient else values
    made = Letters(links, files=files.get, signers=signers).build(
        snapshot,
        channel=channel,
        recipient=recipient or address or f"nobody@{settings.project}.invalid",
        key=f"test-{token_hex(8)}" if recipient else "preview",
        now=clock.now(),
        contact=values,
        zone=zone or settings.timezone,
        data=_samples(project),
        variant=variant or None,
        **called,
    )
    if isinstance(made, Refused):
        text = f"message {message.name} cannot be made for {contact}: {made.reason}"
        raise Failure(text, help="a tick would mark it failed with this reason")
    return made


def _samples(project: Any) -> dict[str, Any]:
    """What `fetch` steps would save, by their samples; of one name the first."""
    import json
    import posixpath

    from flowctl.language.steps import FetchStep, walk

    found: dict[str, Any] = {}
    for workflow in project.workflows.values():
        for step in walk([*workflow.steps, *workflow.on_goal]):
            if isinstance(step, FetchStep) and step.fetch.sample:
                path = posixpath.normpath(posixpath.join(posixpath.dirname(step.fetch.place.path), step.fetch.sample))
                try:
                    found.setdefault(step.fetch.save_as, json.loads(project.bodies.get(path, "null")))
                except ValueError as error:
                    text = f"the sample `{path}` is no JSON: {error}"
                    raise Failure(text) from None
    return found


def _called(store: Any, snapshot: Any, contact_id: int) -> Any:
    """What its templates call for; a preview spends no coupon: where the contact has none yet, it shows a made-up code."""
    from flowctl.engine.building import called

    said = called(store.connection, snapshot, contact_id, clock.now())
    codes = {name: f"{name}-PREVIEW" for name in snapshot["coupons"]} | dict(said.get("coupons", {}))
    return {**said, "coupons": codes}


def _show(payload: bytes | dict[str, Any], *, html: bool, raw: bool) -> None:
    import sys

    from flowctl.cli import render

    if isinstance(payload, dict):
        print(render.json_text(payload, indent=2))
        return
    if raw:
        sys.stdout.buffer.write(payload)
        return
    from email import message_from_bytes, policy

    mail = message_from_bytes(payload, policy=policy.default)
    if not html:
        for name in ("From", "To", "Subject", "Message-ID", "List-Unsubscribe", "List-Unsubscribe-Post"):
            if mail[name]:
                print(render.printable(f"{name}: {mail[name]}"))
        print()
    part = mail.get_body(("html",) if html else ("plain",))
    text = part.get_content() if part else ""
    print(render.printable_lines(text) if render.is_terminal() else text)
