"""Composes letters: renders a message's templates for a contact and fills the result into a skeleton.

Its imports (jinja2, email) cost more than a tick with nothing to send: `letters` is the door, and brings it in when the
first letter is to be made.
"""

from __future__ import annotations

import functools
import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from flowctl.channels.address import NotAnAddress, wire_address
from flowctl.channels.channel import Letter
from flowctl.engine import mime
from flowctl.engine.attachments import BadAttachment, parts
from flowctl.engine.bodies import in_references, may_refer, squeezed, text_of
from flowctl.engine.called import Events, code
from flowctl.engine.languages import pick
from flowctl.engine.letters import Refused, no_files
from flowctl.engine.links import Claim
from flowctl.engine.sandbox import MissingName, Record, compiled, reason_of, render

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from jinja2 import Template

    from flowctl.engine.links import Links

_MAILS_MAX = 1_000  # contacts may say anything to be their language
_UNFIT_IN_FEEDBACK = re.compile(r"[^A-Za-z0-9_.-]+")
NO_PUBLIC_URL = "no unsubscribe link: flowctl.yaml has no public_url"


_NO_TRIGGER, _NO_DATA, _NO_INPUT = (Record(name, {}) for name in ("trigger", "data", "input"))


class _CannotBuild(Exception):
    """Inside only: the reason on its way out."""


class Composer:
    """Keeps the skeletons and compiled templates it has made. One a process or thread."""

    def __init__(self, links: Links | None, *, files: Callable[[str], bytes | None] = no_files) -> None:
        self._links = links  # None: the project has no public_url
        self._files = files
        self._mails: dict[tuple[Any, ...], _Mail] = {}
        self._links_used: dict[int, tuple[Mapping[str, Any], frozenset[str]]] = {}

    def build(
        self,
        message: Mapping[str, Any],
        *,
        channel: str,
        recipient: str,
        key: str,
        now: int,
        contact: Mapping[str, Any],
        zone: str = "UTC",
        trigger: Mapping[str, Any] | None = None,
        data: Mapping[str, Any] | None = None,
        inputs: Mapping[str, Any] | None = None,
        variant: str | None = None,
        coupons: Mapping[str, str] | None = None,
        events: Mapping[str, list[dict[str, Any]]] | None = None,
    ) -> Letter | Refused:
        """See `letters.Letters.build`."""
        written = message["variants"].get(variant, {}).get(channel) or message["channels"].get(channel)
        if written is None:
            return Refused(reason=f"message {message['name']} is not written for {channel}")
        try:
            links = self._link_variables(message, written, channel, key, contact)
            variables = {
                "contact": Record("contact", contact),
                "trigger": Record("trigger", trigger) if trigger else _NO_TRIGGER,
                "data": Record("data", data) if data else _NO_DATA,
                "input": Record("input", inputs) if inputs else _NO_INPUT,
                "now": _local(now, zone),
                **links,
                **self._functions(message, channel, key, contact, coupons or {}, events or {}),
            }
            if channel == "email":
                return self._email(message, written, variables, recipient=recipient, key=key, now=now, variant=variant)
            return _short(message, written, variables, channel=channel, recipient=recipient, key=key)
        except (_CannotBuild, NotAnAddress, BadAttachment) as error:
            return Refused(reason=str(error))
        except UnicodeError:
            return Refused(reason="a value holds characters that are no valid Unicode")

    def _functions(
        self,
        message: Mapping[str, Any],
        channel: str,
        key: str,
        contact: Mapping[str, Any],
        coupons: Mapping[str, str],
        events: Mapping[str, list[dict[str, Any]]],
    ) -> dict[str, Any]:
        """What the message's templates call."""
        made: dict[str, Any] = {}
        if message.get("surveys"):
            made["survey_url"] = functools.partial(self._survey_url, channel, key, contact["id"])
        if message.get("coupons"):
            made["coupon"] = functools.partial(code, coupons)
        if message.get("events"):
            made["events"] = Events(events)
        return made

    def _survey_url(self, channel: str, key: str, contact_id: int, survey: str) -> str:
        if self._links is None:
            reason = "no survey link: flowctl.yaml has no public_url"
            raise MissingName(reason)
        return self._links.url("survey", Claim(key=key, contact_id=contact_id, channel=channel, topic=survey))

    def _link_variables(
        self, message: Mapping[str, Any], written: Mapping[str, Any], channel: str, key: str, contact: Mapping[str, Any]
    ) -> dict[str, str]:
        """The links that the message uses; signing one takes as long as rendering a short text."""
        needed = message["purpose"] == "marketing" and channel == "email"
        if self._links is None:
            if needed:
                raise _CannotBuild(NO_PUBLIC_URL)
            return {}
        claim = Claim(key=key, contact_id=contact["id"], channel=channel, topic=message["topic"])
        used = self._used(written)
        made = {}
        if needed or "unsubscribe_url" in used:
            made["unsubscribe_url"] = self._links.url("unsubscribe", claim)
        if "preferences_url" in used:
            made["preferences_url"] = self._links.url("preferences", claim)
        return made

    def _used(self, written: Mapping[str, Any]) -> frozenset[str]:
        """Which links a message's channel names; `written` lives as long as its release is loaded."""
        known = self._links_used.get(id(written))
        if known is None or known[0] is not written:
            source = json.dumps(written)
            names = frozenset(name for name in ("unsubscribe_url", "preferences_url") if name in source)
            known = self._links_used[id(written)] = (written, names)
        return known[1]

    def _email(
        self,
        message: Mapping[str, Any],
        written: Mapping[str, Any],
        variables: dict[str, Any],
        *,
        recipient: str,
        key: str,
        now: int,
        variant: str | None,
    ) -> Letter:
        address = wire_address(recipient)
        mail = self._mail(message, written, variables["contact"].get("language"), variant)
        html = _run(mail.html, variables)
        text = text_of(html) if mail.text is None else squeezed(_run(mail.text, variables))
        if mail.inlines_css:
            html = _css_inlined(html)
        message_id = f"<{key}@{mail.domain}>"
        headers = (
            f"To: {address}\r\nSubject: {mime.encoded_value(_run(mail.subject, variables))}\r\n"
            f"Date: {mime.date_value(now)}\r\nMessage-ID: {message_id}\r\n"
        )
        if mail.marketing:
            headers += f"List-Unsubscribe: <{variables['unsubscribe_url']}>\r\n{mail.list_headers}"
        text_body, text_encoding = mime.body(text, mail.lines)
        html_body, html_encoding = (mime.html_body if mail.refers else mime.body)(html, mail.lines)
        attached = parts(mail.attach, variables["data"], self._files) if mail.attach else []
        skeleton = mail.skeleton((text_encoding, html_encoding), mixed=bool(attached))
        payload = skeleton.filled(headers.encode(), text_body, html_body, attached)
        return Letter(
            key=key,
            message_id=message_id,
            channel="email",
            sender=mail.sender,
            recipient=address,
            payload=payload,
            marketing=mail.marketing,
            wired=True,
            undotted=mime.is_undotted(payload),
        )

    def _mail(
        self, message: Mapping[str, Any], written: Mapping[str, Any], language: str | None, variant: str | None
    ) -> _Mail:
        """What the letters of a message in one language have in common; `written` lives as long as its release is loaded."""
        shape = (id(written), language, variant)
        known = self._mails.get(shape)
        if known is None or known.written is not written:
            if len(self._mails) >= _MAILS_MAX:
                self._mails.clear()
            subject, body = (_spoken(written[part], language, message) for part in ("subject", "bodies"))
            known = self._mails[shape] = _Mail(message, written, subject, body, variant)
        return known


class _Mail:
    """An e-mail in one language, ready to be filled: compiled once, for many letters."""

    def __init__(
        self,
        message: Mapping[str, Any],
        written: Mapping[str, Any],
        subject: str,
        body: Mapping[str, Any],
        variant: str | None,
    ) -> None:
        self.written = written
        self.marketing = message["purpose"] == "marketing"
        self.sender = wire_address(written["sender"]["address"])
        self.domain = self.sender.rpartition("@")[2].lower()
        self.subject = _template(subject, html=False)
        self.refers = _may_refer(body["html"])
        html = in_references(body["html"]) if self.refers else body["html"]
        self.html = _template(html, html=True, references=self.refers)
        self.text = None if body["text"] is None else _template(body["text"], html=False)
        self.lines = mime.quoted_lines(f"{html}\n{body['text'] or ''}")
        self.inlines_css: bool = body["inline_css"]
        self.attach: list[dict[str, Any]] = written.get("attach") or []
        said = (message["name"], variant or "", message["topic"] or "", message.get("feedback", ""))
        headers = [("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"), ("Feedback-ID", _feedback_id(*said))]
        self.list_headers = mime.header_lines(headers).decode()
        self._skeletons: dict[tuple[mime.Encoding, mime.Encoding, bool], mime.Skeleton] = {}

    def skeleton(self, encodings: tuple[mime.Encoding, mime.Encoding], *, mixed: bool) -> mime.Skeleton:
        """The parts around the bodies, by how these are encoded."""
        shape = (*encodings, mixed)
        if shape not in self._skeletons:
            sender = self.written["sender"]
            reply_to = wire_address(sender["reply_to"]) if sender["reply_to"] else None
            self._skeletons[shape] = mime.skeleton(
                name=sender["name"],
                address=self.sender,
                reply_to=reply_to,
                marketing=self.marketing,
                encodings=encodings,
                mixed=mixed,
            )
        return self._skeletons[shape]


def _short(
    message: Mapping[str, Any],
    written: Mapping[str, Any],
    variables: dict[str, Any],
    *,
    channel: str,
    recipient: str,
    key: str,
) -> Letter:
    """What is no e-mail: its texts, rendered."""
    language = variables["contact"].get("language")
    payload: dict[str, Any] = {
        name: _rendered(_spoken(texts, language, message), variables, html=False)
        for name, texts in written["fields"].items()
    }
    if written.get("parameters"):
        payload["parameters"] = [_rendered(text, variables, html=False) for text in written["parameters"]]
    if written.get("bodies"):
        body = _spoken(written["bodies"], language, message)
        html = _rendered(body["html"], variables, html=True)
        text = text_of(html) if body["text"] is None else squeezed(_rendered(body["text"], variables, html=False))
        payload = {"text": text.rstrip("\n"), **payload, "html": html}
    sender = written["sender"]["address"] or written["sender"]["name"]
    marketing = message["purpose"] == "marketing"
    return Letter(
        key=key,
        message_id="",
        channel=channel,
        sender=sender,
        recipient=recipient,
        payload=payload,
        marketing=marketing,
    )


def _feedback_id(*names: str) -> str:
    """`message:variant:topic:sender`, by which Gmail's Postmaster Tools tell campaigns apart; nobody's own data.

    https://support.google.com/a/answer/6254652: up to three names, then one of the sender's own of 5 to 15 characters.
    """
    return ":".join(_UNFIT_IN_FEEDBACK.sub("-", name)[:64] for name in names)


def _spoken(texts: Mapping[str, Any], language: str | None, message: Mapping[str, Any]) -> Any:
    key = _picked(tuple(texts), language, tuple(message["languages"]))
    if key is None:
        reason = f"message {message['name']} has no text"
        raise _CannotBuild(reason)
    return texts[key]


def _rendered(source: str, variables: dict[str, Any], *, html: bool) -> str:
    return _run(_template(source, html=html), variables)


def _may_refer(html: str) -> bool:
    try:
        return may_refer(html)
    except Exception as error:
        raise _CannotBuild(reason_of(error)) from error


def _template(source: str, *, html: bool, references: bool = False) -> Template:
    try:
        return compiled(source, html=html, references=references)
    except Exception as error:
        raise _CannotBuild(reason_of(error)) from error


def _run(template: Template, variables: dict[str, Any]) -> str:
    """A template filled; what stops it becomes the reason."""
    try:
        return render(template, variables)
    except Exception as error:  # a template's expressions can raise anything; it fails only its own letter
        raise _CannotBuild(reason_of(error)) from error


@functools.lru_cache(maxsize=1_000)
def _picked(keys: tuple[str, ...], language: str | None, languages: tuple[str, ...]) -> str | None:
    return pick(dict.fromkeys(keys), language, languages)


@functools.cache
def _inliner() -> Any:
    import css_inline  # noqa: PLC0415 - only for messages with a style sheet

    # Rules for screens and print stay in their <style>: they have no place in an attribute.
    return css_inline.CSSInliner(keep_at_rules=True, load_remote_stylesheets=False)


def _css_inlined(html: str) -> str:
    try:
        inlined: str = _inliner().inline(html)
    except Exception as error:  # whatever the Rust library raises for one message's CSS
        reason = f"its style sheet cannot be inlined: {error}"
        raise _CannotBuild(reason) from error
    return inlined


@functools.lru_cache(maxsize=1_000)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


@functools.lru_cache(maxsize=64)  # the letters of a batch are of one time
def _local(at: int, zone: str) -> datetime:
    """The contact's time of UTC milliseconds; UTC where the zone is none."""
    utc = datetime.fromtimestamp(at // 1000, UTC)
    try:
        return utc.astimezone(_zone(zone))
    except (ZoneInfoNotFoundError, ValueError):
        return utc
