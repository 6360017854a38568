"""flowctl.yaml: the project's settings."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    Tag,
    model_validator,
)

from flowctl.language.conditions.reachable import Channel
from flowctl.language.durations import Duration, Span
from flowctl.language.model import Model, ProviderName, ServiceName, Slug, SnakeCase, TeamName
from flowctl.language.money import Cost
from flowctl.language.sms import sender_fault
from flowctl.language.times import Days, Rate, TimeRange, Zone

FieldType = Literal["text", "number", "integer", "boolean", "date", "datetime", "choice", "tags", "email", "phone"]
BUILT_IN_FIELDS: dict[str, FieldType] = {
    "id": "integer", "key": "text", "email": "email", "phone": "phone", "language": "text", "timezone": "text", "country": "text",
    "created_at": "datetime", "owner": "text",
}  # fmt: skip
_MESSAGE_PROPERTIES: dict[str, FieldType] = {"key": "text", "message": "text", "link": "text"}
BUILT_IN_EVENTS: dict[str, dict[str, FieldType]] = {
    "position_reported": {"lat": "number", "lon": "number"},
    **{
        f"message_{status}": _MESSAGE_PROPERTIES
        for status in ("delivered", "opened", "clicked", "dismissed", "bounced", "complained", "unsubscribed")
    },
    "survey_opened": {"survey": "text"},
    "survey_answered": {"survey": "text", "answers": "text"},
    "sms_received": {"text": "text"},
}
BUILT_IN_RECORDS = ("task", "ticket", "opportunity")
EXPIRE_AFTER = Duration(days=3)
_COUNTRY = re.compile(r"[A-Z]{2}|default")


def _typed(value: Any) -> Any:
    return {"type": value} if isinstance(value, str) else value


class FieldDeclaration(Model):
    """A contact field or a property: its type, the values of a choice, a default."""

    type: FieldType
    values: list[str] | None = None
    default: StrictBool | StrictInt | StrictFloat | str | None = None
    description: str | None = None


Declared = Annotated[FieldDeclaration, BeforeValidator(_typed, json_schema_input_type=FieldDeclaration | FieldType)]


def _not_built_in(fields: dict[str, FieldDeclaration]) -> dict[str, FieldDeclaration]:
    for name in fields:
        if name in BUILT_IN_FIELDS:
            message = f"`{name}` is built in; leave it out or choose another name"
            raise ValueError(message)
    return fields


class Contacts(Model):
    """Typed fields of a contact."""

    fields: Annotated[dict[SnakeCase, Declared], AfterValidator(_not_built_in)] = {}


class EventDeclaration(Model):
    """One event of the tracking plan."""

    properties: dict[SnakeCase, Declared] = {}
    description: str | None = None


def _event(value: Any) -> Any:
    return {} if value is None else value


class RecordDeclaration(Model):
    """A kind of record."""

    fields: dict[SnakeCase, Declared] = {}
    service: ServiceName | None = Field(default=None, description="is told of every record that a workflow creates")
    path: Annotated[str, Field(pattern=r"^/[^/\s?#][^\s?#]*$")] | None = Field(
        default=None, description="at the service; the record's name unless said"
    )
    description: str | None = None


class Dkim(Model):
    """The domain that signs e-mail; with a `key` flowctl signs, without one the provider does."""

    domain: str
    selector: str | None = None
    key: str | None = Field(
        default=None, description="a private key, RSA or Ed25519, in PEM: ${NAME}, or the path of a file with mode 0600"
    )

    @model_validator(mode="after")
    def _selected(self) -> Self:
        if self.key and not self.selector:
            message = "a `key` needs the `selector` under which its public half stands in the DNS"
            raise ValueError(message)
        return self


def _sms_sender(sender: str) -> str:
    fault = "" if "${" in sender else sender_fault(sender)
    if fault:
        message = f"{sender!r} cannot send an SMS: {fault}"
        raise ValueError(message)
    return sender


class Sender(Model):
    """Who speaks."""

    name: str
    email: str | None = None
    sms: Annotated[str, AfterValidator(_sms_sender)] | None = None
    reply_to: str | None = None
    address: str | None = None
    dkim: Dkim | None = None


class ChannelSettings(Model):
    """An adapter and its settings; secrets only as ${NAME}."""

    adapter: str
    host: str | None = None
    port: StrictInt | str | None = None
    security: Literal["none", "starttls", "tls"] | None = None
    username: str | None = None
    password: str | None = None
    connections: Annotated[StrictInt, Field(ge=1, le=64)] | None = None
    rate: str | None = None
    timeout: Span | None = None
    reply_timeout: Span | None = None
    ca: str | None = None
    pipelining: StrictBool | None = Field(
        default=None, description="`false` for a mail server that offers it and gets out of step"
    )
    path: str | None = None
    account: str | None = None
    token: str | None = None
    callback: str | None = Field(default=None, description="where the provider reports what became of a message")
    url: str | None = Field(default=None, description="scheme, host and port in the place of the provider's own")
    private: StrictBool = Field(default=False, description="addresses inside the own network are fine")
    from_: str | None = Field(default=None, alias="from")
    provider: ProviderName | None = None
    values: dict[str, str] = {}
    dkim: Dkim | None = None
    spf: StrictBool | None = None
    cost: Cost | None = None


class Service(Model):
    """An HTTP service that `fetch` may ask."""

    url: str
    headers: dict[str, str] = {}
    timeout: Span = Duration(ms=5_000)
    retries: Annotated[StrictInt, Field(ge=0, le=10)] = 2
    private: StrictBool = False


_ALERT = re.compile(
    r"slack://[^/\s]+/[^/\s]+/[^/\s]+|(slack\+|teams\+)?https?://[^/\s]+\S*|teams://[^/\s]+/\S+|.*\$\{.*"
)


def _alert(address: str) -> str:
    if not _ALERT.fullmatch(address):
        message = "an alert goes to slack://A/B/C, slack+https://HOST/PATH, teams://HOST/PATH or https://HOST/PATH"
        raise ValueError(message)
    return address


class Team(Model):
    """The own people."""

    members: list[str] = []
    email: str | None = None
    alert: Annotated[str, AfterValidator(_alert)] | None = Field(
        default=None,
        description="where notices go instead of by e-mail: slack://A/B/C, teams://HOST/PATH, or https://… that takes JSON",
    )
    private: StrictBool = Field(default=False, description="an alert's address inside the own network is fine")


class Pressure(Model):
    """The cap: rolling windows, marketing only; `all` counts every channel."""

    email: list[Rate] = []
    sms: list[Rate] = []
    whatsapp: list[Rate] = []
    push: list[Rate] = []
    web_push: list[Rate] = []
    in_app: list[Rate] = []
    on_site: list[Rate] = []
    all_: list[Rate] = Field(default=[], alias="all")
    on_cap: Literal["defer", "skip"] = "defer"

    def of(self, channel: str) -> list[Rate]:
        """The windows of a channel, or of `all`."""
        rates: list[Rate] = getattr(self, "all_" if channel == "all" else channel)
        return rates


def _share(value: Any) -> float:
    if isinstance(value, str) and value.strip().endswith("%"):
        try:
            return float(value.strip()[:-1].replace(",", ".")) / 100
        except ValueError:
            pass
    found = "a block" if isinstance(value, dict | list) else repr(value)
    message = f"{found} is no share; write it like 2%"
    raise ValueError(message)


Share = Annotated[
    float,
    BeforeValidator(_share, json_schema_input_type=str),
    Field(ge=0, le=1, description="a percentage such as 2%", json_schema_extra={"type": "string"}),
]


class Guard(Model):
    """A workflow that tires people is paused and its team told."""

    unsubscribed: Share | None = None
    complained: Share | None = None
    bounced: Share | None = None
    over: Span
    at_least: Annotated[StrictInt, Field(ge=1)] = 200
    then: Literal["pause", "notify"] = "pause"
    notify: TeamName | None = None


class Hours(Model):
    """When marketing may leave, in the contact's zone."""

    days: Days = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
    between: TimeRange | None = None
    holidays: StrictBool = True
    subdivision: str | None = Field(
        default=None,
        description="whose public holidays: a code such as 57 for all contacts, or a field such as contact.postal_code",
        examples=["57", "contact.postal_code"],
    )


def _hours_kind(value: Any) -> str:
    if isinstance(value, Hours):
        return "hours"
    return "hours" if isinstance(value, dict) and ({"days", "between", "holidays"} & set(value)) else "countries"


def _countries(hours: dict[str, Hours]) -> dict[str, Hours]:
    for name in hours:
        if not _COUNTRY.fullmatch(name):
            message = f"`{name}` is no country; write its two letters in capitals, such as FR, or default"
            raise ValueError(message)
    return hours


QuietHours = dict[
    Channel,
    Annotated[
        Annotated[Hours, Tag("hours")]
        | Annotated[Annotated[dict[str, Hours], AfterValidator(_countries)], Tag("countries")],
        Discriminator(_hours_kind),
    ],
]


class Lint(Model):
    """The lint profile, what to leave out or to rank otherwise, thresholds."""

    profile: Literal["minimal", "standard", "strict"] = "standard"
    select: list[str] = []
    ignore: list[str] = []
    severity: dict[str, Literal["error", "warning", "info", "off"]] = {}
    max: dict[str, StrictInt] = {}
    options: dict[str, Any] = {}
    baseline: str | None = None
    cache: StrictBool = True  # keep what was found in .flowctl_cache, and show it again until a file changes


class Environment(Model):
    """What differs in one environment; other keys override the file's."""

    only_to: Annotated[
        list[str] | None,
        Field(
            description="patterns of addresses, `*` for any text: messages and alerts to all others are skipped",
            examples=[["*@maison-lune.example", "+336*"]],
        ),
    ] = None
    time_scale: Annotated[
        StrictInt | StrictFloat | None,
        Field(gt=0, description="how many times quicker waits, time-outs and windows pass", examples=[60]),
    ] = None
    store: str | None = None
    public_url: str | None = None
    channels: dict[Channel, ChannelSettings] = {}
    quiet_hours: QuietHours | None = None
    pressure: Pressure | None = None
    services: dict[str, Service] = {}


class Settings(Model):
    """The whole of flowctl.yaml."""

    project: Slug
    description: str | None = None
    store: str = "sqlite:///flowctl.db"
    timezone: Zone = "UTC"
    languages: Annotated[list[str], Field(min_length=1)] = ["en"]
    country: str | None = None
    contacts: Contacts = Contacts()
    events: dict[
        SnakeCase, Annotated[EventDeclaration, BeforeValidator(_event, json_schema_input_type=EventDeclaration | None)]
    ] = {}
    records: dict[SnakeCase, RecordDeclaration] = {}
    senders: dict[str, Sender] = {}
    channels: dict[Channel, ChannelSettings] = {}
    services: dict[str, Service] = {}
    teams: dict[str, Team] = {}
    pressure: Pressure | None = None
    guards: list[Guard] = []
    holdout: Share | None = None
    public_url: str | None = None
    quiet_hours: QuietHours = {}
    topics: dict[str, Any] | list[str] = {}
    lint: Lint = Lint()
    exclude: list[str] = []
    environments: dict[str, Environment] = {}
    assumptions: str | None = None

    @property
    def field_types(self) -> dict[str, FieldType]:
        """Every contact field, built in or declared, with its type."""
        return {**BUILT_IN_FIELDS, **{name: declared.type for name, declared in self.contacts.fields.items()}}

    @property
    def event_properties(self) -> dict[str, dict[str, FieldType]]:
        """Every event, built in or declared, with its properties' types."""
        declared = {
            name: {prop: said.type for prop, said in event.properties.items()} for name, event in self.events.items()
        }
        return {**BUILT_IN_EVENTS, **declared}
