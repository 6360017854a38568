"""A workflow: who enters, what happens to them, when they are out."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, StrictBool, StrictInt, WithJsonSchema, model_validator

from flowctl.language.conditions import Condition
from flowctl.language.durations import Duration, NotADuration, Span, Wait, parse
from flowctl.language.model import Model, Slug, StepName
from flowctl.language.settings import Guard
from flowctl.language.steps import Step
from flowctl.language.times import LocalDate, Zone
from flowctl.language.triggers import ManualTrigger, MomentTrigger, ScheduleTrigger, Trigger
from flowctl.language.values import Source

Type = Literal[
    "follow-up",
    "activation",
    "nurturing",
    "lifecycle",
    "attribution",
    "record-creation",
    "internal-alert",
    "transactional",
]
InputType = Literal["text", "number", "integer", "boolean", "date", "datetime"]
State = Literal["draft", "live", "paused", "draining"]
DEFAULT_PRIORITY = 50


class Goal(Model):
    """What the workflow is for: a condition, by when, and whether it ends the journey."""

    condition: Condition
    within: Span | None = None
    ends: StrictBool = True


_GOAL_KEYS = {"within", "ends"}


def _goal(value: Any) -> Any:
    """`{event: …, within: 7d}` is a leaf with two keys of the goal's own beside it."""
    if isinstance(value, dict) and "condition" not in value:
        leaf = {key: inner for key, inner in value.items() if key not in _GOAL_KEYS}
        own = {key: inner for key, inner in value.items() if key in _GOAL_KEYS}
        return _placed({"condition": _placed(leaf, value), **own}, value)
    return value


def _placed(plain: dict[str, Any], like: Any) -> Any:
    if not hasattr(like, "node"):
        return plain
    block = type(like)(plain)
    block.node = like.node
    return block


def _gap(value: Any) -> Any:
    """A bare 0 needs no unit: no time is no time."""
    if value == "0" or (type(value) is int and value == 0):
        return Duration()
    try:
        return parse(value)
    except NotADuration as error:
        message = f"{error}, 0 for at once"
        raise NotADuration(message) from None


Gap = Annotated[
    Wait,
    BeforeValidator(_gap),
    WithJsonSchema(
        {
            "anyOf": [{"type": "string"}, {"const": 0}],
            "examples": ["7d", "30m", 0],
            "description": "a duration, or 0: at once, even by the fact that ended the last journey",
        }
    ),
]


class Reentry(Model):
    """Whether somebody may enter again, and what becomes of who is still inside."""

    after: Gap | Literal["never"] = "never"
    since: Literal["exit", "entry"] = "exit"
    while_active: Literal["ignore", "restart", "parallel"] = "ignore"
    key: Source | None = None


class Active(Model):
    """The days on which it runs; `until` is inclusive."""

    from_: LocalDate | None = Field(default=None, alias="from")
    until: LocalDate | None = None
    at_end: Literal["finish", "exit"] = "finish"

    @property
    def first(self) -> date | None:
        """The first day."""
        return self.from_


class Input(Model):
    """A value that `start` hands over."""

    type: InputType = "text"
    default: Any = None
    required: StrictBool = False


def _inputs(value: Any) -> Any:
    if isinstance(value, list):
        return {name: {} for name in value}
    if isinstance(value, dict):
        return {name: {"type": said} if isinstance(said, str) else said for name, said in value.items()}
    return value


def _conditions(value: Any) -> Any:
    return [value] if isinstance(value, dict) else value


class Workflow(Model):
    """One a file."""

    workflow: Slug
    description: str | None = None
    owner: str | None = None
    type: Type | None = None
    state: State = "live"
    timezone: Zone | None = None
    topic: str | None = None
    goal: Annotated[Goal, BeforeValidator(_goal)] | None = None
    on_goal: list[Step] = []
    secondary_goals: dict[str, Condition] = {}
    learn: str | None = None
    triggers: list[Trigger] = Field(min_length=1)
    audience: Condition | None = None
    leave_when_outside: StrictBool = False
    reentry: Reentry = Reentry()
    exit_when: Annotated[
        list[Condition], BeforeValidator(_conditions, json_schema_input_type=list[Condition] | Condition)
    ] = []
    exclusive_group: str | None = None
    priority: Annotated[StrictInt, Field(ge=0, le=100)] = DEFAULT_PRIORITY
    active: Active | None = None
    inputs: Annotated[
        dict[str, Input], BeforeValidator(_inputs, json_schema_input_type=dict[str, Input | InputType] | list[str])
    ] = {}
    holdout: StrictBool = True
    guards: list[Guard] = []
    move: dict[str, StepName] = {}
    preparation: dict[str, str] = {}
    lint: dict[str, Any] = {}
    steps: list[Step]

    @property
    def name(self) -> str:
        """Its slug."""
        return self.workflow

    @model_validator(mode="after")
    def _hangs_together(self) -> Self:
        if self.on_goal and self.goal and not self.goal.ends:
            message = "`on_goal` needs a goal that ends the journey: leave out `ends: false`"
            raise ValueError(message)
        if self.on_goal and not self.goal:
            message = "`on_goal` needs a `goal:`"
            raise ValueError(message)
        timed = [trigger for trigger in self.triggers if isinstance(trigger, MomentTrigger | ScheduleTrigger)]
        if timed and self.audience is None:
            message = f"a `{timed[0].kind}` trigger needs an `audience:`: it says who enters"
            raise ValueError(message)
        return self

    @property
    def is_manual(self) -> bool:
        """Whether only `enroll` and `start` put people in."""
        return all(isinstance(trigger, ManualTrigger) for trigger in self.triggers)
