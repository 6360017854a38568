"""Messages: what is said, one variant a channel, in each language."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StrictBool

from flowctl.language.arm import DEFAULT_ARM
from flowctl.language.conditions.reachable import Channel, Purpose
from flowctl.language.durations import Span
from flowctl.language.model import Model, SenderName, Slug
from flowctl.language.values import From

ByLanguage = Annotated[
    dict[str, str],
    BeforeValidator(
        lambda value: {"*": value} if isinstance(value, str) else value, json_schema_input_type=dict[str, str] | str
    ),
    Field(
        description="a text, or one a language: {fr: …, en: …}", examples=["Hello", {"fr": "Bonjour", "en": "Hello"}]
    ),
]
"""Texts by language; a text that serves all stands under `*`."""


class EmailVariant(Model):
    """Body as Markdown in place (`text`), or a file beside: .md, .html or .mjml, `{lang}` in its name."""

    from_: SenderName | None = Field(default=None, alias="from")
    reply_to: str | None = None
    subject: ByLanguage | None = None
    preheader: ByLanguage | None = None
    text: ByLanguage | None = None
    file: str | None = None
    attach: list[str | From] = []


class SmsVariant(Model):
    """Plain text."""

    from_: SenderName | None = Field(default=None, alias="from")
    text: ByLanguage | None = None


class WhatsappVariant(Model):
    """An approved template and its parameters."""

    from_: SenderName | None = Field(default=None, alias="from")
    template: str | None = None
    parameters: list[str] = []
    text: ByLanguage | None = None


class PushVariant(Model):
    """Title, text, where a tap leads."""

    title: ByLanguage | None = None
    text: ByLanguage | None = None
    url: str | None = None
    image: str | None = None


class OnPageVariant(Model):
    """Shown in the app or on the site when the contact next comes."""

    title: ByLanguage | None = None
    text: ByLanguage | None = None
    file: str | None = None
    url: str | None = None


class Variant(Model):
    """What differs, by channel; what it does not say is the message's own. A body (`text` or `file`) replaces the body."""

    email: EmailVariant | None = None
    sms: SmsVariant | None = None
    whatsapp: WhatsappVariant | None = None
    push: PushVariant | None = None
    web_push: PushVariant | None = None
    in_app: OnPageVariant | None = None
    on_site: OnPageVariant | None = None

    @property
    def channels(self) -> tuple[Channel, ...]:
        """The channels it is written for, in the order written (the language's order where made in Python)."""
        known: tuple[Channel, ...] = ("email", "sms", "whatsapp", "push", "web_push", "in_app", "on_site")
        written = [channel for channel in known if getattr(self, channel) is not None]
        node = self.node
        if node is not None and len(written) > 1:
            order = list(node.entries)
            written.sort(key=lambda channel: order.index(channel) if channel in order else len(order))
        return tuple(written)


def _not_default(variants: dict[str, Variant]) -> dict[str, Variant]:
    if DEFAULT_ARM in variants:
        message = f"`{DEFAULT_ARM}` is the message as it is written; give the variant another name"
        raise ValueError(message)
    return variants


class MessageBody(Variant):
    """A message without its name."""

    purpose: Purpose = "marketing"
    topic: str | None = None
    description: str | None = None
    owner: str | None = None
    once: Span | Literal["ever"] | None = None
    expire_after: Span | None = None
    track: StrictBool = True
    variants: Annotated[dict[Slug, Variant], AfterValidator(_not_default)] = Field(
        default={},
        description="A/B test: contacts get the message as written (`default`) or a variant, in equal shares, always the same one",
    )


class Message(MessageBody):
    """`message: NAME`, or `messages: {NAME: body}`."""

    message: Slug

    @property
    def name(self) -> str:
        """Its slug."""
        return self.message


def texts(message: MessageBody) -> list[tuple[str, dict[str, Any]]]:
    """Every text written in place: (`email.subject`, {language: text})."""
    found: list[tuple[str, dict[str, Any]]] = []
    for channel in message.channels:
        variant = vars(getattr(message, channel))  # not each has every key, and pydantic is slow to say so
        for key in ("subject", "preheader", "title", "text"):
            said = variant.get(key)
            if said:
                found.append((f"{channel}.{key}", said))
    return found
