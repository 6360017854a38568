"""`all`, `any` and `not`."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from flowctl.language.conditions import Condition
from flowctl.language.model import Model


class AllOf(Model):
    """Every part must hold."""

    subject: ClassVar[str] = "all"
    all_: list[Condition] = Field(alias="all", min_length=1)


class AnyOf(Model):
    """At least one part must hold."""

    subject: ClassVar[str] = "any"
    any_: list[Condition] = Field(alias="any", min_length=1)


class Not(Model):
    """The exact opposite: true where the part is not true."""

    subject: ClassVar[str] = "not"
    not_: Condition = Field(alias="not")
