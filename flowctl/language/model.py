"""The base of every model of the language, and the marks that tell what a name refers to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    StringConstraints,
    ValidationInfo,
    model_validator,
)

from flowctl.language.problem import Place
from flowctl.language.source import Block, Mapping

if TYPE_CHECKING:
    from flowctl.language.source import Entry

NOWHERE = Place(path="")


class Model(BaseModel):
    """A frozen piece of the language that knows where it was written.

    Keys are the YAML's; attributes that Python reserves carry a trailing underscore (`is_`, `in_`, `from_`, `not_`).
    Built lazily: importing the language costs no validator.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, defer_build=True, populate_by_name=True, arbitrary_types_allowed=True
    )

    _node: Mapping | None = PrivateAttr(default=None)

    @model_validator(mode="wrap")
    @classmethod
    def _remember_node(cls, data: Any, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo) -> Self:
        if info.context is not None and isinstance(data, Block):  # `reading` asks which model a faulty block was to be
            info.context.setdefault(id(data.node), []).append(cls)
        model = handler(data)
        if isinstance(data, Block) and model.__pydantic_private__ is not None:
            model.__pydantic_private__["_node"] = data.node  # past pydantic's own attribute access: ten times as fast
        return model

    @property
    def node(self) -> Mapping | None:
        """The mapping it was read from; None when made in Python, or written as one scalar."""
        private = self.__pydantic_private__
        return private["_node"] if private else None

    @property
    def place(self) -> Place:
        """Where the block stands, from its first key to its end; `NOWHERE` when made in Python."""
        node = self.node
        return node.place if node else NOWHERE

    def entry(self, key: str) -> Entry | None:
        """The `key: value` as written, by its YAML key."""
        node = self.node
        return node.entries.get(key) if node else None

    def place_of(self, key: str) -> Place:
        """Where a key's value stands; the block where the key was not written."""
        entry = self.entry(key)
        return entry.value.place if entry else self.place

    def place_of_key(self, key: str) -> Place:
        """Where a key itself stands; the block where it was not written."""
        entry = self.entry(key)
        return entry.key.place if entry else self.place


@dataclass(frozen=True, slots=True)
class Ref:
    """A mark on a name: what kind of thing it must name. `project.references` resolves it."""

    kind: str


Slug = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=64), Field(examples=["cart-recovery"])
]
SnakeCase = Annotated[
    str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=64), Field(examples=["first_name"])
]
StepId = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]*$", max_length=64), Field(examples=["reminder"])]

FieldName = Annotated[str, Ref("field")]
EventName = Annotated[str, Ref("event")]
SegmentName = Annotated[str, Ref("segment")]
WorkflowName = Annotated[str, Ref("workflow")]
MessageName = Annotated[str, Ref("message")]
SurveyName = Annotated[str, Ref("survey")]
GeofenceName = Annotated[str, Ref("geofence")]
RecordName = Annotated[str, Ref("record")]
TeamName = Annotated[str, Ref("team")]
ServiceName = Annotated[str, Ref("service")]
ProviderName = Annotated[str, Ref("provider")]
SenderName = Annotated[str, Ref("sender")]
StepName = Annotated[str, Ref("step")]
