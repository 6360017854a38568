"""A provider's HTTP interface, described: what to send for one message, and what its answers mean."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StrictBool, StrictInt, StrictStr

from flowctl.language.conditions.reachable import Channel
from flowctl.language.model import Model, Slug, SnakeCase

PLACEHOLDER = re.compile(r"\{([a-z][a-z0-9_.]*)\}")
# What a message gives; the provider's own `values:` and `lookups:` come beside them.
MESSAGE_NAMES = (
    "recipient", "recipient.digits", "sender", "text", "title", "url", "image", "template", "parameters", "parameters.json", "html",
    "key", "channel", "purpose", "encoding",
)  # fmt: skip
MEANINGS = {
    "sent": "the provider has the message",
    "refused": "this message will never be taken",
    "dead": "the address is none, or wants nothing more: it is suppressed",
    "account": "the account, its credit or its sender is refused: nothing is sent for a while",
    "down": "the provider takes nothing just now",
    "limited": "too fast: nothing is sent until its Retry-After, or for a while",
    "later": "this message may be tried again",
    "doubtful": "it may have left",
}
Meaning = Literal["sent", "refused", "dead", "account", "down", "limited", "later", "doubtful"]
Scalar = StrictBool | StrictInt | StrictStr


def _several(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


def _status(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool) and 100 <= value <= 599:  # noqa: PLR2004 - RFC 9110 §15
        return value
    if isinstance(value, str) and re.fullmatch(r"[1-5]xx", value):
        return value
    message = f"{value!r} is no status; write 200, or 4xx for all of them"
    raise ValueError(message)


Status = Annotated[StrictInt | StrictStr, BeforeValidator(_status)]
Path = Annotated[str, Field(pattern=r"^[^.\s]+(\.[^.\s]+)*$", examples=["messages.0.message-id"])]


class AnswerRule(Model):
    """What an answer means; all that is said must hold. A path leads into its JSON; `*` stands for every item of a list."""

    status: Annotated[list[Status], BeforeValidator(_several, json_schema_input_type=Status | list[Status])] = []
    where: dict[
        Path, Annotated[list[Scalar], BeforeValidator(_several, json_schema_input_type=Scalar | list[Scalar])]
    ] = {}
    known: list[Path] = Field(default=[], description="paths that lead to something")
    contains: str | None = Field(default=None, description="a text in the answer, whatever its case")
    means: Meaning


def _one_body(request: Request) -> Request:
    if request.json_ is not None and request.form is not None:
        message = "a request has one body: `json:` or `form:`"
        raise ValueError(message)
    return request


class Request(Model):
    """The request of one message. `{name}` stands for a value, encoded for its place; `{{` and `}}` are braces."""

    method: Literal["POST", "PUT", "PATCH", "GET"] = "POST"
    url: Annotated[str, Field(pattern=r"^https?://[^\s/{}]+")]
    headers: dict[str, str] = {}
    basic: Annotated[list[str], Field(min_length=2, max_length=2, description="user and password")] | None = None
    json_: Any = Field(default=None, alias="json")
    form: dict[str, Any] | None = None
    sign: Literal["ovh"] | None = None


class Lookup(Model):
    """A value that follows from another one."""

    of: str
    to: Annotated[dict[str, Scalar], Field(min_length=1)]
    otherwise: Scalar | None = None


class Provider(Model):
    """`provider: NAME`: a provider that `adapter: http` speaks to."""

    provider: Slug
    description: str | None = None
    documentation: str | None = None
    channels: Annotated[list[Channel], Field(min_length=1)]
    values: list[SnakeCase] = []
    optional: list[SnakeCase] = []
    lookups: dict[SnakeCase, Lookup] = {}
    request: Annotated[Request, AfterValidator(_one_body)]
    answers: Annotated[list[AnswerRule], Field(min_length=1)]
    id: Path | None = None
    reason: Path | None = None
    retry_after: str = "Retry-After"
    idempotency_header: str | None = None

    @property
    def name(self) -> str:
        """Its slug."""
        return self.provider

    @property
    def names(self) -> tuple[str, ...]:
        """Every name that stands between braces."""
        return (*MESSAGE_NAMES, *self.values, *self.optional, *self.lookups)


def placeholders(text: str) -> list[str]:
    """The names in braces of a text, doubled braces left out."""
    return PLACEHOLDER.findall(text.replace("{{", "\0").replace("}}", "\0"))
