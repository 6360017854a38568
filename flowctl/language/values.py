"""Values in steps and conditions: literals, references to other values, and operators that compare with them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Discriminator, Field, StrictBool, StrictFloat, StrictInt, StrictStr, StringConstraints, Tag

from flowctl.language.durations import Duration, Span
from flowctl.language.model import Model

Literal = StrictBool | StrictInt | StrictFloat | StrictStr
Source = Annotated[
    str,
    StringConstraints(pattern=r"^(now|(trigger|contact|data|input)(\.[A-Za-z0-9_]+)+)$"),
    Field(examples=["contact.due_date", "trigger.cart_id", "now"]),
]
Path = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*$")]


class From(Model):
    """A value taken from elsewhere, with a span added or taken off."""

    from_: Source = Field(alias="from")
    plus: Duration | None = None
    minus: Duration | None = None


def _value_kind(value: Any) -> str:
    return "from" if isinstance(value, dict | From) else "literal"


Value = Annotated[Annotated[Literal, Tag("literal")] | Annotated[From, Tag("from")], Discriminator(_value_kind)]


class Comparison(Model):
    """The operators of a comparison; several together must all hold."""

    is_: Value | None = Field(default=None, alias="is")
    is_not: Value | None = None
    in_: list[Value] | None = Field(default=None, alias="in", min_length=1)
    not_in: list[Value] | None = Field(default=None, min_length=1)
    gt: Value | None = None
    gte: Value | None = None
    lt: Value | None = None
    lte: Value | None = None
    between: Annotated[list[Value], Field(min_length=2, max_length=2)] | None = None
    contains: StrictStr | None = None
    starts_with: StrictStr | None = None
    known: StrictBool | None = None
    has: StrictStr | None = None
    has_any: list[StrictStr] | None = Field(default=None, min_length=1)
    has_all: list[StrictStr] | None = Field(default=None, min_length=1)
    before: Value | None = None
    after: Value | None = None
    within_next: Span | None = None
    within_last: Span | None = None
    anniversary: StrictStr | None = Field(default=None, description="today, or an offset such as -7d")

    def operators(self) -> dict[str, Any]:
        """The operators written, by their YAML name, in the order of the language."""
        return {name: value for name in OPERATORS if (value := getattr(self, ATTRIBUTE_OF.get(name, name))) is not None}


OPERATORS = (
    "is", "is_not", "in", "not_in", "gt", "gte", "lt", "lte", "between", "contains", "starts_with", "known",
    "has", "has_any", "has_all", "before", "after", "within_next", "within_last", "anniversary",
)  # fmt: skip
ATTRIBUTE_OF = {"is": "is_", "in": "in_"}


def _where_kind(value: Any) -> str:
    return (
        "comparison" if isinstance(value, Comparison) or (isinstance(value, dict) and "from" not in value) else "value"
    )


Asked = Annotated[Annotated[Value, Tag("value")] | Annotated[Comparison, Tag("comparison")], Discriminator(_where_kind)]
"""What a `where` asks of one property: a value means `is`."""
Where = dict[str, Asked]


def comparison(asked: Any) -> Comparison:
    """A scalar as a condition means `is`."""
    return asked if isinstance(asked, Comparison) else Comparison(is_=asked)
