"""`if:` and `choose:`: which way to go."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from flowctl.language.conditions import Condition
from flowctl.language.model import Model
from flowctl.language.steps import Step
from flowctl.language.steps.step import AnyStep


class IfStep(AnyStep):
    """Two ways."""

    verb: ClassVar[str] = "if"
    if_: Condition = Field(alias="if")
    then: list[Step] = []
    else_: list[Step] = Field(default=[], alias="else")


class Option(Model):
    """A condition and what to do where it is the first that holds."""

    when: Condition
    do: list[Step]


class ChooseStep(AnyStep):
    """The first option that holds, else `otherwise`."""

    verb: ClassVar[str] = "choose"
    choose: list[Option] = Field(min_length=1)
    otherwise: list[Step] = []
